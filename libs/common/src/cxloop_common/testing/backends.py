"""Where tests find Kafka and PostgreSQL: an external address, a container, or the embedded ones."""

import os
import socket
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
def _kafka_container() -> Generator[str]:
    """Run the project's own image of Kafka, the one of docker-compose.yml, on a free port."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415  # slow to import, and not needed without Docker
    from testcontainers.core.waiting_utils import wait_for_logs  # noqa: PLC0415  # as above

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The broker tells clients where it is, so the port must be known before it starts.
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": "EXTERNAL://:9094,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"EXTERNAL://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "EXTERNAL",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    container = DockerContainer("apache/kafka:4.3.1").with_bind_ports(9094, port)
    for name, value in settings.items():
        container = container.with_env(name, value)
    with container as started:
        wait_for_logs(started, "Kafka Server started", timeout=60)
        yield f"127.0.0.1:{port}"


@contextmanager
def kafka() -> Generator[str]:
    """Give the bootstrap address of a broker for this test run."""
    if address := os.environ.get("CXLOOP_KAFKA_BOOTSTRAP"):
        yield address
    elif docker_answers():
        with _kafka_container() as address:
            yield address
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
