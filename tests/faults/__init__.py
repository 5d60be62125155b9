"""Fault runs: real processes are killed, stalled and cut off under load, and an oracle says what must be true."""
