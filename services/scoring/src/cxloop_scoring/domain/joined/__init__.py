"""Metrics in which documents meet: one customer's contacts, sends and answers, scores and cases."""
