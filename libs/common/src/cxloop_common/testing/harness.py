"""A whole service inside a test: its application, workers and API, on real Kafka and PostgreSQL."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import asyncpg
import httpx
from pydantic import SecretStr

from cxloop_common.events import CloudEvent, encode_event
from cxloop_common.kafka.admin import Admin
from cxloop_common.kafka.consumer import Reader
from cxloop_common.kafka.producer import Producer
from cxloop_common.kafka.records import Message, Record
from cxloop_common.processor.processor import Probe
from cxloop_common.security import Scope
from cxloop_common.service import Foundation, Role, Service, make_app, make_foundation
from cxloop_common.settings import ServiceSettings
from cxloop_common.topics import NORMALISED, Topic, TopicNames
from cxloop_common.topics.provision import ensure_topics

PARTITIONS = 3
PATIENCE_S = 60.0
SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


async def _no_probe(_: str) -> None:
    return


@dataclass
class RunningService(Generic[SettingsT]):
    """A service that runs in this process."""

    foundation: Foundation[SettingsT]
    client: httpx.AsyncClient
    """Calls the API with an admin token."""
    anonymous: httpx.AsyncClient
    """Calls the API without one."""
    app: Any

    @property
    def names(self) -> TopicNames:
        """Names of its topics."""
        return self.foundation.names

    async def produce(self, events: Iterable[CloudEvent], topic: Topic | None = None) -> None:
        """Write events to their topics, or all to one."""
        messages: list[Message] = []
        for event in events:
            key, value, headers = encode_event(event)
            name = self.names.name(topic or NORMALISED[event.TYPE])
            messages.append(Message(name, key, value, tuple(headers)))
        await self.send(messages)

    async def send(self, messages: Iterable[Message]) -> None:
        """Write messages as they are; their topics are full names on the broker."""
        await (await self.foundation.producer.send_all(list(messages)))

    async def settle(self, *topics: Topic) -> None:
        """Wait until the service has committed everything in these topics, and announced what follows.

        Without topics: everything in all topics that it has positions in.
        """
        deadline = time.monotonic() + PATIENCE_S
        while behind := await self._behind(topics):
            if time.monotonic() > deadline:
                message = f"not settled within {PATIENCE_S:g} s: {behind}"
                raise TimeoutError(message)
            await asyncio.sleep(0.02)

    async def _behind(self, topics: Iterable[Topic]) -> str | None:
        wanted = {self.names.name(topic) for topic in topics}
        async with await self.connect() as connection:
            rows = await connection.fetch("SELECT topic, partition, next_offset, paused FROM offsets")
            waiting = await connection.fetchval("SELECT count(*) FROM outbox")
        at = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        paused = {(row["topic"], row["partition"]) for row in rows if row["paused"] is not None}
        if not at or wanted - {topic for topic, _ in at}:
            return "no positions yet"
        reader = Reader(self.foundation.settings.kafka_bootstrap)
        await reader.start()
        try:
            places = await reader.assign(wanted or {topic for topic, _ in at}, from_start=True)
            ends = await reader.ends(places)
        finally:
            await reader.stop()
        lag = {p: end - at.get(p, 0) for p, end in ends.items() if p not in paused and end > at.get(p, 0)}
        if lag or not places:
            return f"lag {lag}"
        return f"{waiting} outbox rows" if waiting else None

    async def read(self, topic: Topic) -> list[Record]:
        """Read a topic whole."""
        reader = Reader(self.foundation.settings.kafka_bootstrap)
        await reader.start()
        try:
            return await reader.read_all([self.names.name(topic)])
        finally:
            await reader.stop()

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[asyncpg.Connection]:
        connection = await self.foundation.database.connect()
        try:
            yield connection
        finally:
            await connection.close()

    async def connect(self) -> Any:
        """Give a context with a connection of its own to the service's schema."""
        return self._connection()

    async def ready(self) -> None:
        """Wait until `/readyz` answers 200."""
        deadline = time.monotonic() + PATIENCE_S
        while (answer := await self.anonymous.get("/readyz")).status_code != 200:  # noqa: PLR2004  # HTTP OK
            if time.monotonic() > deadline:
                message = f"not ready within {PATIENCE_S:g} s: {answer.text}"
                raise TimeoutError(message)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(  # each is one thing a test may want to differ in
    service: Service[SettingsT],
    *,
    kafka: str,
    database_url: str,
    names: TopicNames,
    role: Role = "all",
    now: Callable[[], datetime] | None = None,
    probe: Probe = _no_probe,
    settings: Mapping[str, Any] | None = None,
    wait: bool = True,
) -> AsyncGenerator[RunningService[SettingsT]]:
    """Migrate, start and stop a service; what it needs of topics is made under the test's prefix."""
    token = secrets.token_urlsafe(16)
    scopes = [scope.value for scope in Scope]
    values: dict[str, Any] = {
        "kafka_bootstrap": kafka,
        "database_url": database_url,
        "topic_prefix": names.prefix,
        "partitions": PARTITIONS,
        "session_timeout_s": 6,
        "rebalance_timeout_s": 15,
        "heartbeat_interval_s": 1,
        "shutdown_s": 2,
        "api_tokens": SecretStr(
            f'[{{"name": "test", "token": "{token}", "scopes": {scopes}, "sources": ["*"]}}]'.replace(
                "'", '"'
            )
        ),
        **(settings or {}),
    }
    foundation = make_foundation(service, service.settings(**values), now=now, probe=probe)
    await foundation.database.migrate(service.migrations)
    app = make_app(service, foundation, role)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url="http://service.test", headers={"Authorization": f"Bearer {token}"}
        ) as client,
        httpx.AsyncClient(transport=transport, base_url="http://service.test") as anonymous,
    ):
        instance = RunningService(foundation, client, anonymous, app)
        if wait:
            await instance.ready()
        yield instance


async def make_topics(kafka: str, names: TopicNames, topics: Iterable[Topic]) -> None:
    """Make topics under a prefix, for tests without a service."""
    async with Admin(kafka) as admin:
        await ensure_topics(admin, topics, names, partitions=PARTITIONS)


async def started_producer(kafka: str) -> Producer:
    """Give a producer that is connected."""
    producer = Producer(kafka, client_id="cxloop-test")
    await producer.start()
    return producer
