"""A Kafka and a PostgreSQL of a benchmark's own, in a temporary folder, and what it needs of them."""

import asyncio
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.broker import Broker
from cxloop_embedded import EmbeddedKafka, EmbeddedPostgres

PARTITIONS = 6


@dataclass(frozen=True)
class Backends:
    """What a benchmark runs against; everything is gone when it is over."""

    folder: Path
    kafka: EmbeddedKafka
    postgres: EmbeddedPostgres

    @property
    def broker(self) -> Broker:
        """The broker, to be asked and filled."""
        return Broker(self.kafka.bootstrap)

    def environment(self, *, database: str | None = None, prefix: str = "") -> dict[str, str]:
        """Give the variables that point a service here."""
        return {
            "CXLOOP_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "CXLOOP_DATABASE_URL": self.url(database),
            "CXLOOP_PARTITIONS": str(PARTITIONS),
            "CXLOOP_TOPIC_PREFIX": prefix,
            "CXLOOP_LOG_LEVEL": "warning",
            "CXLOOP_METRICS_OPEN": "true",
        }

    def url(self, database: str | None = None) -> str:
        """Give the URL of a database of this server."""
        parts = urlsplit(self.postgres.url)
        return urlunsplit(parts if database is None else parts._replace(path=f"/{database}"))

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Run statements, each in a transaction of its own."""

        async def go() -> None:
            connection = await asyncpg.connect(self.url(database))
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(go())


@contextmanager
def backends() -> Generator[Backends]:
    """Start both, and end and delete them afterwards."""
    with tempfile.TemporaryDirectory(prefix="cxloop-bench-") as name:
        folder = Path(name)
        # PostgreSQL runs as another user where we are root, and has to pass through.
        folder.chmod(0o711)
        with EmbeddedPostgres(folder / "postgres") as postgres, EmbeddedKafka(folder / "kafka") as kafka:
            yield Backends(folder, kafka, postgres)
