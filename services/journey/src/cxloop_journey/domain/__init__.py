"""What a customer is and what happened to them: pure functions of events, time as an argument."""
