"""The rules of scoring: facts, folds, observations, buckets, statistics. No clock, no I/O, no framework."""
