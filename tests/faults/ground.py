"""A broker and a database server of our own: started for a run, killed and restarted by it, gone with it."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from cxloop_common.database import Database
from cxloop_common.kafka.admin import Admin
from cxloop_common.topics import (
    DEAD_LETTERS,
    DELIVERIES,
    JOURNEYS,
    SCORES,
    SCORING_LINKS,
    SURVEYS,
    TICKETS,
    TOPICS,
    TopicNames,
)
from cxloop_common.topics.provision import ensure_topics
from cxloop_embedded import EmbeddedKafka, EmbeddedPostgres
from tests.faults.wire import delete_topics
from tests.faults.worker import SUBJECTS, service_of

PARTITIONS = 4
__all__ = [
    "DEAD_LETTERS",
    "DELIVERIES",
    "JOURNEYS",
    "PARTITIONS",
    "SCORES",
    "SCORING_LINKS",
    "SURVEYS",
    "TICKETS",
    "Ground",
]

_BROKER = {
    # A restart reads every log again: those of earlier runs should be gone by then.
    "log.segment.delete.delay.ms": "1000",
    "num.recovery.threads.per.data.dir": "4",
}
KEPT = ("CXLOOP_CACHE_DIR", "CXLOOP_MAVEN_URL")


def forget_environment() -> None:
    """Forget every setting of ours: a run that kills brokers must never meet one that others use."""
    for name in list(os.environ):
        if name.startswith("CXLOOP_") and name not in KEPT:
            del os.environ[name]


class Ground:
    """Kafka and PostgreSQL of a run, with a prepared database for each subject."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kafka = EmbeddedKafka(folder / "kafka", settings=_BROKER)
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self._made = 0

    @property
    def bootstrap(self) -> str:
        """Address of the broker, the same after a restart."""
        return self.kafka.bootstrap

    async def start(self) -> None:
        """Start both, and prepare a database to copy for each subject."""
        await asyncio.gather(asyncio.to_thread(self.kafka.start), asyncio.to_thread(self.postgres.start))
        for subject in SUBJECTS:
            await self._create(f"prepared_{subject}", "template1")
            service = service_of(subject)
            async with Database(self._url(f"prepared_{subject}"), schema=service.name) as database:
                await database.migrate(service.migrations)

    async def stop(self) -> None:
        """Stop both."""
        await asyncio.to_thread(self.kafka.stop)
        await asyncio.to_thread(self.postgres.stop)

    async def database(self, subject: str) -> str:
        """Make a fresh database of a subject and give its URL."""
        self._made += 1
        name = f"run_{self._made}"
        await self._create(name, f"prepared_{subject}")
        return self._url(name)

    async def drop(self, url: str) -> None:
        """Drop a database: a server that was killed syncs every file it has before it starts again."""
        name = urlsplit(url).path.removeprefix("/")
        connection = await asyncpg.connect(self.postgres.url, timeout=10)
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()

    async def topics(self, prefix: str) -> None:
        """Make the topics of a run."""
        async with Admin(self.bootstrap) as admin:
            await ensure_topics(admin, TOPICS, TopicNames(prefix), partitions=PARTITIONS)

    async def forget(self, prefix: str) -> None:
        """Delete the topics of a run."""
        await asyncio.to_thread(delete_topics, self.bootstrap, prefix)

    def environment(self, prefix: str, database_url: str) -> Mapping[str, str]:
        """Give what a worker must know of the ground."""
        return {
            "CXLOOP_KAFKA_BOOTSTRAP": self.bootstrap,
            "CXLOOP_DATABASE_URL": database_url,
            "CXLOOP_TOPIC_PREFIX": prefix,
            "CXLOOP_PARTITIONS": str(PARTITIONS),
        }

    def _url(self, name: str) -> str:
        return urlunsplit(urlsplit(self.postgres.url)._replace(path=f"/{name}"))

    async def _create(self, name: str, template: str) -> None:
        connection = await asyncpg.connect(self.postgres.url, timeout=10)
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        finally:
            await connection.close()
