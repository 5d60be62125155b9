"""All SQL of this service: its tables, the one-transaction batch, and what is read from them."""
