"""Where tests find Kafka and PostgreSQL: an external address, a container, or the embedded ones."""

import os
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def docker_answers() -> bool:
    """Tell whether a Docker engine can be asked to run containers."""
    if os.environ.get("CXLOOP_TEST_NO_DOCKER"):
        return False
    try:
        answer = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)  # noqa: S607  # whichever docker the user has
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


@contextmanager
def kafka() -> Generator[str]:
    """Give the bootstrap address of a broker for this test run."""
    if address := os.environ.get("CXLOOP_KAFKA_BOOTSTRAP"):
        yield address
    elif docker_answers():
        from testcontainers.kafka import KafkaContainer  # noqa: PLC0415  # not needed, and slow to import, without Docker

        with KafkaContainer("apache/kafka:4.1.0") as container:
            yield container.get_bootstrap_server()
    else:
        from cxloop_embedded import EmbeddedKafka  # noqa: PLC0415  # only where there is nothing else

        with (
            tempfile.TemporaryDirectory(prefix="cxloop-kafka-") as folder,
            EmbeddedKafka(Path(folder)) as broker,
        ):
            yield broker.bootstrap


@contextmanager
def postgres() -> Generator[str]:
    """Give the URL of a PostgreSQL server for this test run."""
    if url := os.environ.get("CXLOOP_DATABASE_URL"):
        yield url
    elif docker_answers():
        from testcontainers.postgres import PostgresContainer  # noqa: PLC0415  # as above

        with PostgresContainer("postgres:18", driver=None) as container:
            yield container.get_connection_url()
    else:
        from cxloop_embedded import EmbeddedPostgres  # noqa: PLC0415  # as above

        with (
            tempfile.TemporaryDirectory(prefix="cxloop-pg-") as folder,
            EmbeddedPostgres(Path(folder)) as server,
        ):
            yield server.url
