"""Configuration files: YAML with positions, complaints all at once, and the files that services share."""
