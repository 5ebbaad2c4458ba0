"""What is decided for each event. Everything here but `udfs.flink` is pure."""
