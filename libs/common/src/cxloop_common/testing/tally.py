"""A tally: the smallest service there is, to prove what the processor promises to all."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any

import asyncpg

from cxloop_common.database import Database
from cxloop_common.database.foundation import METADATA
from cxloop_common.kafka.producer import Producer
from cxloop_common.kafka.records import Message
from cxloop_common.processor import Batch, PoisonError, PoisonReason, Transaction
from cxloop_common.processor.processor import Processor
from cxloop_common.settings import ServiceSettings
from cxloop_common.telemetry import Telemetry
from cxloop_common.testing.harness import make_topics
from cxloop_common.topics import DEAD_LETTERS, SCORES, TICKETS, TopicNames

TALLY = """
CREATE TABLE tally.seen (id text PRIMARY KEY, n int NOT NULL DEFAULT 1);
CREATE TABLE tally.sums (shard int, key text, n bigint NOT NULL, sum bigint NOT NULL, PRIMARY KEY (shard, key));
"""


class TallyHandler:
    """Adds up `key=value` records, once for each id; announces each in the way it is told to."""

    def __init__(self, names: TopicNames, announce: str | None = None) -> None:
        self.output = names.name(SCORES)
        self.announce = announce
        self.before: Callable[[Batch], Awaitable[None]] | None = None
        self.batches: list[int] = []

    async def handle(self, batch: Batch, transaction: Transaction) -> None:
        """Count a batch; "unreadable" is parked, "crash" is a bug, "overflow" is refused by the database."""
        self.batches.append(len(batch))
        if self.before is not None:
            await self.before(batch)
        connection = transaction.connection
        out: list[Message] = []
        for record in batch:
            event = record.headers["ce_id"].decode()
            text = (record.value or b"").decode()
            if text == "unreadable":
                batch.park(record, PoisonError(PoisonReason.UNREADABLE, "not a number"))
                continue
            if text == "crash":
                raise KeyError("a bug")
            amount = 10**12 if text == "overflow" else int(text)
            new = await connection.fetchval(
                "INSERT INTO seen (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING 1", event
            )
            if new:
                await connection.execute(
                    "INSERT INTO sums VALUES ($1, $2, 1, $3::bigint::int) ON CONFLICT (shard, key) "
                    "DO UPDATE SET n = sums.n + 1, sum = sums.sum + excluded.sum",
                    batch.shard(record),
                    (record.key or b"").decode(),
                    amount,
                )
                out.append(Message(self.output, record.key, record.value, (("ce_id", event.encode()),)))
        if self.announce == "publish":
            transaction.publish(out)
        elif self.announce == "enqueue":
            transaction.enqueue(out)


class Tally:
    """The parts of a tally worker, and what it counted."""

    service = "scoring"

    def __init__(self, kafka: str, names: TopicNames, settings: ServiceSettings) -> None:
        self.kafka = kafka
        self.names = names
        self.settings = settings
        self.database = Database(
            settings.database_url, schema="tally", transaction_timeout_s=settings.transaction_timeout_s
        )
        self.producer = Producer(kafka, client_id="cxloop-tally")
        self.telemetry = Telemetry("scoring")

    @property
    def topic(self) -> str:
        """Name of the topic it reads."""
        return self.names.name(TICKETS)

    async def send(self, values: Iterable[tuple[str, str, str]]) -> None:
        """Write (id, key, value) records."""
        messages = [
            Message(self.topic, key.encode(), value.encode(), (("ce_id", event.encode()),))
            for event, key, value in values
        ]
        await (await self.producer.send_all(messages))

    @contextlib.asynccontextmanager
    async def working(self, handler: TallyHandler, **options: Any) -> AsyncGenerator[Processor]:
        """Run a processor for a while."""
        processor = Processor(self, handler=handler, topics=[TICKETS], **options)
        task = asyncio.create_task(processor.run())
        try:
            yield processor
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=20)

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """Run a query on a connection of its own."""
        connection = await self.database.connect()
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    async def totals(self) -> dict[str, tuple[int, int]]:
        """Return (count, sum) by key."""
        rows = await self.fetch("SELECT key, sum(n)::int, sum(sum)::int FROM sums GROUP BY key")
        return {row[0]: (row[1], row[2]) for row in rows}

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110  # what is waited for happens in another process's rows
                await asyncio.sleep(0.02)

    async def count_is(self, n: int) -> None:
        """Wait until at least n distinct ids were counted."""

        async def done() -> bool:
            return (await self.fetch("SELECT count(*) FROM seen"))[0][0] >= n

        await self.until(done)


def distinct(n: int, keys: int = 7) -> list[tuple[str, str, str]]:
    """Make n records with ids of their own."""
    run = secrets.token_hex(3)
    return [(f"{run}-{i}", f"key-{i % keys}", str(i % 100)) for i in range(n)]


def expected(records: Iterable[tuple[str, str, str]]) -> dict[str, tuple[int, int]]:
    """Add up what should be there."""
    sums: dict[str, tuple[int, int]] = {}
    for _, key, value in {record[0]: record for record in records}.values():
        n, total = sums.get(key, (0, 0))
        sums[key] = (n + 1, total + int(value))
    return sums


@contextlib.asynccontextmanager
async def make_tally(
    kafka: str, database_url: str, names: TopicNames, **settings: Any
) -> AsyncGenerator[Tally]:
    """Make topics and tables of a tally."""
    await make_topics(kafka, names, [TICKETS, SCORES, DEAD_LETTERS["scoring"]])
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE SCHEMA tally")
    await connection.execute(TALLY)
    await connection.close()
    values: dict[str, Any] = {
        "kafka_bootstrap": kafka,
        "database_url": database_url,
        "topic_prefix": names.prefix,
        "session_timeout_s": 6,
        "rebalance_timeout_s": 15,
        "heartbeat_interval_s": 0.5,
        "transaction_timeout_s": 10,
        "poison_limit": 5,
        **settings,
    }
    tally = Tally(kafka, names, ServiceSettings(**values))
    async with tally.database.engine.begin() as engine:
        await engine.run_sync(METADATA.create_all)
    await tally.producer.start()
    yield tally
    await tally.producer.stop()
    await tally.database.close()
