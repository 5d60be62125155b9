"""Turns low scores into cases with an owner, a deadline and proof of recovery."""
