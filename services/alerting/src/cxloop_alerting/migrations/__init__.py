"""Migrations of alerting's schema."""
