"""The cxloop command: up, demo, send, tail, sources."""
