"""The doors of the service: webhooks, events, and what operators look at."""
