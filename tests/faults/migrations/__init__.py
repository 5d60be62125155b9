"""Tables of the strict tally."""
