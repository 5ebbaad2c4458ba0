"""The real local stack: Kafka, Cassandra and Flink as plain processes, for trials, tests and benches."""
