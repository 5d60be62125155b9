"""Which identifiers belong to which customer, kept in PostgreSQL."""

import random
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import asyncpg
import pytest_asyncio

from cxloop_common.database import Database
from cxloop_common.events import JourneyChanged, encode_event
from cxloop_common.events.outcomes import IdentifierVersion, JourneyChange
from cxloop_common.kafka.records import Message, Partition, Record
from cxloop_common.processor import Batch
from cxloop_common.topics import JOURNEYS
from cxloop_scoring.domain.customers import hash_of
from cxloop_scoring.domain.observations import customer_of
from cxloop_scoring.identities import IdentityHandler

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SHARDS = {Partition(JOURNEYS.name, 0): 1}


def change(customer: str, versions: dict[str, int], *, into: str | None = None) -> JourneyChanged:
    version = max(versions.values(), default=0)
    return JourneyChanged(
        id=f"{customer}-{version}",
        source="journey",
        time=NOON,
        customer_id=customer,
        version=version,
        change=JourneyChange.LINKED,
        merged_into=into,
        identifiers=tuple(IdentifierVersion(id=id_, version=number) for id_, number in versions.items()),
    )


class OpenTransaction:
    """A transaction on a real connection, for a handler that announces nothing."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    def publish(self, messages: Sequence[Message]) -> None:
        raise AssertionError(f"identities announce nothing, yet sent {len(messages)}")

    enqueue = publish


class Identities:
    """A handler on a schema of its own; batches are cut by the test."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.now = NOON
        self.parked: list[str] = []
        self._handler = IdentityHandler(lambda: self.now)
        self._offsets = count()

    def record(self, message: Message) -> Record:
        return Record(
            message.topic,
            0,
            next(self._offsets),
            message.key,
            message.value,
            dict(message.headers),
            timestamp_ms=0,
        )

    async def deliver(self, *events: JourneyChanged) -> None:
        encoded = [encode_event(event) for event in events]
        await self.batch(
            [
                self.record(Message(JOURNEYS.name, key, value, tuple(headers)))
                for key, value, headers in encoded
            ]
        )

    async def batch(self, records: Sequence[Record]) -> None:
        batch = Batch(records, SHARDS)
        async with self.connection.transaction():
            await self._handler.handle(batch, OpenTransaction(self.connection))
        self.parked += [str(error) for error in batch.parked.values()]

    async def customers(self) -> dict[int, tuple[int, int]]:
        rows = await self.connection.fetch("SELECT identifier, customer, version FROM customers")
        return {row[0]: (row[1], row[2]) for row in rows}


@pytest_asyncio.fixture
async def identities(database_url: str) -> AsyncGenerator[Identities]:
    async with Database(database_url, schema="scoring") as database:
        await database.migrate("cxloop_scoring.migrations")
        connection = await database.connect()
        yield Identities(connection)
        await connection.close()


def test_an_identifier_is_hashed_as_observations_name_their_customer() -> None:
    for text in ("email:ana@example.com", "zendesk-eu.requester:7", "user:u-1"):
        assert customer_of((text,)).hash == hash_of(text)


async def test_the_highest_version_of_each_identifier_counts(identities: Identities) -> None:
    await identities.deliver(change("cus_b", {"email:a@example.com": 7}))
    await identities.deliver(change("cus_a", {"email:a@example.com": 3, "user:1": 3}))
    assert await identities.customers() == {
        hash_of("email:a@example.com"): (hash_of("cus_b"), 7),
        hash_of("user:1"): (hash_of("cus_a"), 3),
    }


async def test_identifiers_of_a_customer_merged_away_are_the_survivors(identities: Identities) -> None:
    await identities.deliver(change("cus_b", {"user:1": 4}, into="cus_a"))
    assert await identities.customers() == {hash_of("user:1"): (hash_of("cus_a"), 4)}


async def test_history_keeps_when_each_version_was_first_met(identities: Identities) -> None:
    first = change("cus_a", {"user:1": 1})
    await identities.deliver(first)
    identities.now += timedelta(hours=1)
    await identities.deliver(first, change("cus_b", {"user:1": 2}))
    rows = await identities.connection.fetch(
        "SELECT version, customer, recorded_at FROM customer_history ORDER BY version"
    )
    assert [tuple(row) for row in rows] == [
        (1, hash_of("cus_a"), NOON),
        (2, hash_of("cus_b"), NOON + timedelta(hours=1)),
    ]


async def test_duplicates_write_nothing(identities: Identities) -> None:
    known = [change("cus_a", {"user:1": 1, "user:2": 1}), change("cus_b", {"user:1": 2})]
    await identities.deliver(*known)
    before = await identities.connection.fetch("SELECT xmin::text, ctid::text FROM customers")
    history = await identities.connection.fetch("SELECT xmin::text, ctid::text FROM customer_history")
    await identities.deliver(*known, *known)
    await identities.deliver(known[0])
    assert await identities.connection.fetch("SELECT xmin::text, ctid::text FROM customers") == before
    assert await identities.connection.fetch("SELECT xmin::text, ctid::text FROM customer_history") == history


async def test_any_order_and_repetition_give_the_same_customers(identities: Identities) -> None:
    for seed in range(30):
        chance = random.Random(seed)  # noqa: S311 - shuffles, reproducible by their seed
        names = [f"user:{number}" for number in range(6)]
        events = [
            change(
                f"cus_{chance.randrange(4)}",
                # Few versions, so that some contradict each other.
                {name: chance.randrange(5) for name in chance.sample(names, chance.randint(1, 4))},
                into=chance.choice([None, None, "cus_0"]),
            )
            for _ in range(12)
        ]
        found: list[tuple[object, object]] = []
        for _ in range(3):
            await identities.connection.execute("TRUNCATE customers, customer_history")
            waiting = [*events, *chance.choices(events, k=4)]
            chance.shuffle(waiting)
            while waiting:
                size = chance.randint(1, 6)
                await identities.deliver(*waiting[:size])
                waiting = waiting[size:]
            history = await identities.connection.fetch(
                "SELECT identifier, version, customer FROM customer_history ORDER BY 1, 2"
            )
            found.append((await identities.customers(), history))
        assert found[0] == found[1] == found[2]


async def test_an_unreadable_record_is_parked_and_its_neighbours_count(identities: Identities) -> None:
    key, value, headers = encode_event(change("cus_a", {"user:1": 1}))
    good = Message(JOURNEYS.name, key, value, tuple(headers))
    bad = Message(JOURNEYS.name, b"k", b"{", (("ce_id", b"x"),))
    await identities.batch([identities.record(bad), identities.record(good)])
    assert len(identities.parked) == 1
    assert list(await identities.customers()) == [hash_of("user:1")]
