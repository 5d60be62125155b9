"""What a delivery is, whether to believe it, and which events it holds: pure, time is an argument."""
