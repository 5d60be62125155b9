"""What is generated from the code: API documents, schemas, topic definitions and settings tables."""
