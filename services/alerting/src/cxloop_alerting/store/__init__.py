"""All SQL of alerting. Tables are made in `migrations/`; every upsert is sorted by key, so that none deadlock.

Lock order of every transaction: facts by document, identities by identifier, cards by customer, then subjects
by name; all other rows are written under their subject's lock alone.
"""
