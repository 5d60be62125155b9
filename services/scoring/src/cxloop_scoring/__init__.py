"""Keeps rolling service and experience metrics that are exact and explainable."""
