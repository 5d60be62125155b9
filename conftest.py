"""Fixtures for every package's tests: real Kafka and PostgreSQL."""

pytest_plugins = ["cxloop_common.testing.plugin"]
