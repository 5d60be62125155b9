"""A Kafka and a PostgreSQL of a benchmark's own, in a temporary folder, and what it needs of them."""

import asyncio
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cxloop_embedded import EmbeddedKafka, EmbeddedPostgres

PARTITIONS = 6
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Backends:
    """What a benchmark runs against; everything is gone when it is over."""

    folder: Path
    kafka: EmbeddedKafka
    postgres: EmbeddedPostgres

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

    def log_end(self, topic: str) -> int:
        """Count the records ever appended to a topic."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": "bench-ends"})
        try:
            found = cast("Any", consumer.list_topics(topic, timeout=TIMEOUT_S)).topics[topic].partitions
            return sum(
                cast("tuple[int, int]", consumer.get_watermark_offsets(TopicPartition(topic, number), TIMEOUT_S))[1]
                for number in found
            )
        finally:
            consumer.close()

    def admin(self) -> AdminClient:
        """Make an admin client. It has to be let go while the broker still runs, or its end waits for ever."""
        return AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})

    def create_topic(self, name: str) -> None:
        """Create a topic as a broker makes it by default."""
        admin = self.admin()
        for answer in admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
            answer.result(TIMEOUT_S)

    def delete_topics(self, part: str) -> None:
        """Delete the topics whose names hold `part`."""
        admin = self.admin()
        known = cast("Any", admin.list_topics(timeout=TIMEOUT_S)).topics
        for answer in admin.delete_topics([name for name in known if part in name]).values():
            answer.result(TIMEOUT_S)

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
