"""Measured claims: each prints a ratio to a peer or a ceiling from the same run."""
