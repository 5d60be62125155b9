"""What the CX Loop services share: events, topics, the Kafka processor, database and HTTP foundations."""
