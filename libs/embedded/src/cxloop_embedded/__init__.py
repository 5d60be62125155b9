"""Apache Kafka and PostgreSQL as child processes, and the supervisor behind cxloop up."""
