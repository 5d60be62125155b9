"""Links every touchpoint to one customer."""
