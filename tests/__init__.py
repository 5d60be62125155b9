"""Tests of the whole: contract, integration, end to end, faults."""
