"""The real local stack: Kafka, Cassandra and Flink as plain processes of this machine."""
