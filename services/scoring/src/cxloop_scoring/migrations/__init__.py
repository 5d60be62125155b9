"""Migrations of the service's schema, one file a revision."""
