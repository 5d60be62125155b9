"""Revisions of the ingest schema."""
