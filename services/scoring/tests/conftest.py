"""A scoring worker without Kafka: batches are cut by the test, everything else is real."""

import json
import random
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import asyncpg
import pytest_asyncio

from cxloop_common.database import Database
from cxloop_common.events import CloudEvent, encode_event
from cxloop_common.kafka.records import Message, Partition, Record
from cxloop_common.processor import Batch, Transaction
from cxloop_common.topics import (
    ALERTS,
    NORMALISED,
    SCORES,
    SCORING_LINKS,
    SURVEYS,
    TICKETS,
    TOUCHPOINTS,
    TopicNames,
)
from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.facts import Facts, decode_facts
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.generations import rules_of
from cxloop_scoring.store.months import make_months
from cxloop_scoring.worker import Counters, ScoringHandler

PARTITIONS = 3
_TOPICS = (TICKETS, SURVEYS, SCORING_LINKS, TOUCHPOINTS, ALERTS)
SHARDS = {
    Partition(topic.name, number): shard
    for shard, (topic, number) in enumerate((t, n) for t in _TOPICS for n in range(PARTITIONS))
}


class OpenTransaction:
    """The transaction of one batch on a real connection; what is published is kept for the test to read."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.published: list[Message] = []

    @property
    def connection(self) -> asyncpg.Connection:
        return self._connection

    def publish(self, messages: Sequence[Message]) -> None:
        self.published.extend(messages)

    def enqueue(self, messages: Sequence[Message]) -> None:
        raise AssertionError(f"scoring has no outbox rows, yet wrote {len(messages)}")


class Count:
    """A counter that can be read."""

    def __init__(self) -> None:
        self.n = 0.0

    def inc(self, amount: float = 1) -> None:
        self.n += amount


class Counts(defaultdict[str, Count]):
    """Counters by label that can be read."""

    def labels(self, *values: str) -> Count:
        return self[values[0]]


class Settled:
    """Rules that nobody changes."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    async def at_least(self, generation: int) -> Rules:
        del generation
        return self.rules


class Worker:
    """A handler and its schema."""

    def __init__(self, database: Database, connection: asyncpg.Connection) -> None:
        self.database = database
        self.connection = connection
        self.now = datetime(2026, 3, 20, 12, tzinfo=UTC)
        self.published: list[Message] = []
        self.parked: list[str] = []
        self.rules = rules_of(None)
        self._offsets = count()
        self.restart()

    def restart(self) -> None:
        """Start a new handler, with nothing in its memory."""
        self.conflicts = Count()
        self.anomalies = Counts(Count)
        self.values = Counts(Count)
        counters = Counters(self.conflicts, self.anomalies, self.values)
        self.handler = ScoringHandler(
            self.database, TopicNames(), lambda: self.now, Settled(self.rules), counters
        )

    def record(self, message: Message) -> Record:
        """Turn a message into the record that a consumer reads."""
        partition = zlib.crc32(message.key or b"") % PARTITIONS
        return Record(
            message.topic,
            partition,
            next(self._offsets),
            message.key,
            message.value,
            dict(message.headers),
            timestamp_ms=0,
        )

    def records(self, events: Iterable[CloudEvent]) -> list[Record]:
        """Encode events as the normaliser and alerting do."""
        found: list[Record] = []
        for event in events:
            key, value, headers = encode_event(event)
            topic = NORMALISED.get(event.TYPE, ALERTS)
            found.append(self.record(Message(topic.name, key, value, tuple(headers))))
        return found

    async def batch(self, records: Sequence[Record]) -> list[Message]:
        """Process one batch in one transaction; give what it published."""
        batch = Batch(records, SHARDS)
        async with self.connection.transaction():
            transaction = OpenTransaction(self.connection)
            checked: Transaction = transaction
            await self.handler.handle(batch, checked)
        self.published += transaction.published
        self.parked += [str(error) for error in batch.parked.values()]
        return transaction.published

    async def deliver(
        self, events: Iterable[CloudEvent], seed: int | None = None, largest: int = 1_000_000
    ) -> None:
        """Process events, and the links that follow from them, in batches of any size up to `largest`.

        With a seed they are shuffled, some of them doubled, and links arrive between them in any order.
        """
        waiting = self.records(events)
        chance = random.Random(seed)  # noqa: S311 - shuffles, reproducible by their seed
        if seed is not None:
            waiting += [chance.choice(waiting) for _ in range(len(waiting) // 3)]
        while waiting:
            if seed is not None:
                chance.shuffle(waiting)
            size = largest if seed is None else chance.randint(1, largest)
            part, waiting = waiting[:size], waiting[size:]
            for message in await self.batch(part):
                if message.topic == SCORING_LINKS.name:
                    waiting += [self.record(message)] * (1 if seed is None else chance.randint(1, 2))

    async def reset(self) -> None:
        """Empty the tables."""
        await self.connection.execute(
            "TRUNCATE documents, ledger, bucket_hour, bucket_day, dimensions, dimension_values, case_links"
        )
        self.published.clear()
        self.parked.clear()
        self.restart()

    async def documents(self) -> dict[str, tuple[int, Facts]]:
        """Read all documents."""
        rows = await self.connection.fetch("SELECT id, generation, facts FROM documents")
        return {row[0]: (row[1], decode_facts(row[2])) for row in rows}

    async def case_links(self) -> set[tuple[int, str, str]]:
        """Read which scores and cases belong to which case."""
        rows = await self.connection.fetch(
            "SELECT kind, subject, case_document FROM case_links WHERE forgotten_at IS NULL"
        )
        return {(row[0], row[1], row[2]) for row in rows}

    async def booked_at(self) -> dict[str, list[datetime]]:
        """Read the times that documents keep for what no fact of theirs dates."""
        rows = await self.connection.fetch("SELECT id, booked_at FROM documents WHERE booked_at IS NOT NULL")
        return {row[0]: row[1] for row in rows}

    async def words(self) -> dict[int, tuple[int, str]]:
        """Read dimension number and value by value id."""
        rows = await self.connection.fetch("SELECT id, dimension, value FROM dimension_values")
        return {row[0]: (row[1], row[2]) for row in rows}

    async def dimension_names(self) -> dict[int, str]:
        """Read the names of dimensions by number."""
        rows = await self.connection.fetch("SELECT id, name FROM dimensions")
        named = dict(enumerate((*COLUMNS, "tag"), start=1))
        return named | {row[0]: row[1] for row in rows}

    async def net_ledger(self) -> dict[tuple[Any, ...], int]:
        """Read the ledger net of signs, with dimensions as sets of (name, value)."""
        words, names = await self.words(), await self.dimension_names()
        net: Counter[tuple[Any, ...]] = Counter()
        for row in await self.connection.fetch("SELECT * FROM ledger"):
            ids = [row[name] for name in COLUMNS if row[name] is not None] + list(row["more"] or ())
            dimensions = frozenset((names[words[value][0]], words[value][1]) for value in ids)
            key = (row["document"], row["metric"], row["value"], row["band"], row["at"], row["customer"])
            net[*key, dimensions, row["ticket"]] += row["sign"]
        return {key: times for key, times in net.items() if times}

    def highest_scores(self) -> dict[str, tuple[Any, ...]]:
        """Give id, time and value of the highest revision published of each document."""
        highest: dict[str, tuple[Any, ...]] = {}
        for message in self.published:
            if message.topic != SCORES.name:
                continue
            data = json.loads(message.value or b"")
            headers = dict(message.headers)
            found = (tuple(data["revision"]), headers["ce_id"], headers["ce_time"], message.value)
            known = highest.get(data["document"])
            if known is None or found[0] >= known[0]:
                assert known is None or found[0] > known[0] or known == found
                highest[data["document"]] = found
        return highest


@pytest_asyncio.fixture
async def worker(database_url: str) -> AsyncGenerator[Worker]:
    async with Database(database_url, schema="scoring") as database:
        await database.migrate("cxloop_scoring.migrations")
        await make_months(database, datetime(2026, 3, 20, tzinfo=UTC))
        connection = await database.connect()
        yield Worker(database, connection)
        await connection.close()
