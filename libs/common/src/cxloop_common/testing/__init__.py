"""Test support: real Kafka and PostgreSQL for every test, isolated by topic prefix and database.

Enabled in the root `conftest.py` with `pytest_plugins = ["cxloop_common.testing.plugin"]`. Addresses come from
CXLOOP_KAFKA_BOOTSTRAP and CXLOOP_DATABASE_URL where they are set, else from containers where a Docker engine
answers, else from the embedded broker and database.
"""

from cxloop_common.testing.harness import RunningService, running

__all__ = ["RunningService", "running"]
