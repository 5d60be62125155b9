"""All SQL of the service: documents, ledger, buckets, dimension values, and the questions asked of them."""
