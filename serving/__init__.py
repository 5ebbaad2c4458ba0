"""What answers questions about segments. Imports neither Flink nor the job."""
