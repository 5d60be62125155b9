"""Takes signed webhooks from ticketing and survey systems and normalises them into canonical events."""
