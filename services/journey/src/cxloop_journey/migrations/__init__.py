"""Migrations of the schema `journey`."""
