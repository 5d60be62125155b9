"""One adapter a sender: a pure function from a delivery and its source to canonical events."""
