"""Alerting on a real database and a clock that tests turn by hand; records are handed to it batch by batch."""

import random
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from cxloop_alerting.api.cases import CaseDesk
from cxloop_alerting.api.schemas import Acknowledge, Assign, Body, CaseView, Contact, Note, Reopen, Resolve
from cxloop_alerting.casework import Casework
from cxloop_alerting.config_files import read_sources
from cxloop_alerting.domain.facts import ActionKind
from cxloop_alerting.store import cases as case_store
from cxloop_alerting.store.configs import ConfigurationStore
from cxloop_alerting.timers import Timers
from cxloop_alerting.worker import CaseHandler
from cxloop_common.database import Database
from cxloop_common.events import (
    CloudEvent,
    ContextCard,
    IdentifierVersion,
    JourneyChange,
    JourneyChanged,
    Scale,
    ScoreRecorded,
    encode_event,
)
from cxloop_common.kafka.producer import Producer
from cxloop_common.kafka.records import Partition, Record
from cxloop_common.processor import Batch
from cxloop_common.processor.outbox import enqueue
from cxloop_common.processor.transaction import BatchTransaction
from cxloop_common.security import Principal, Scope
from cxloop_common.topics import ALERTS, JOURNEYS, SCORES, TopicNames

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = {name: number for number, name in enumerate(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])}
ROUTES = """
people: {ana: {name: Ana}, ben: {}, lea: {name: Lea}}
teams: {care: {members: [ana, ben]}}
chains: {up: [{hand_over: person:lea}]}
fallback: person:lea
route:
  owner: person:ana
  chain: up
  deadlines: {acknowledge: 1h, contact: 4h, resolve: 3d}
  routes:
    - {name: shared, match: [channel=mail], owner: team:care}
"""
OPS = Principal("ops", frozenset(Scope))
BODIES: Mapping[ActionKind, Body] = {
    ActionKind.ACKNOWLEDGE: Acknowledge(),
    ActionKind.CONTACT: Contact(channel="phone"),
    ActionKind.RESOLVE: Resolve(root_cause="price", no_contact_reason="no address"),
    ActionKind.REOPEN: Reopen(),
    ActionKind.NOTE: Note(text="called twice"),
    ActionKind.ASSIGN: Assign(owner="person:ben"),
}
Seen = tuple[str, str, str, str, tuple[str, ...], str, str | None]


def moment(text: str, week: int = 0) -> datetime:
    """`Tue 16:30` of the first week, or `+2w Tue 16:30`."""
    if text.startswith("+"):
        head, text = text.split(" ", 1)
        week = int(head[1:-1])
    day, clock = text.split(" ")
    hour, minute = clock.split(":")
    return MONDAY + timedelta(weeks=week, days=DAYS[day], hours=int(hour), minutes=int(minute))


def score(
    number: int,
    raw: int,
    at: datetime,
    *,
    hint: str | None = "email:ana@example.com",
    revision: int = 1,
    channel: str = "chat",
) -> ScoreRecorded:
    return ScoreRecorded(
        id=f"score-{number}-{revision}",
        source="scoring",
        time=at,
        document=f"response:typeform-eu:{number}",
        revision=(1, revision),
        event_time=at,
        event_ids=(f"e{number}",),
        metric="csat",
        raw=raw,
        scale=Scale(min=1, max=5),
        normalised=(raw - 1) * 2500,
        band="low" if raw <= 2 else "high",
        customer_hint=hint,
        dimensions={"channel": channel},
    )


def link(
    customer: str, version: int, *identifiers: str, at: datetime = MONDAY, card: bool = False
) -> JourneyChanged:
    shown = ContextCard(stage="use", first_seen=at, last_seen=at, touchpoints=1) if card else None
    return JourneyChanged(
        id=f"{customer}-{version}",
        source="journey",
        time=at,
        customer_id=customer,
        version=version,
        change=JourneyChange.LINKED,
        identifiers=tuple(IdentifierVersion(id=name, version=version) for name in identifiers),
        card=shown,
    )


def seed_random(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # repeatable on purpose


@dataclass
class Alerting:
    """The parts of the service, on one database, without Kafka in between."""

    database: Database
    casework: Casework
    names: TopicNames = field(default_factory=TopicNames)
    clock: datetime = MONDAY
    events: list[CloudEvent] = field(default_factory=list[CloudEvent])
    offsets: Any = field(default_factory=count)
    read_up_to: int = 0

    def __post_init__(self) -> None:
        self.handler = CaseHandler(self.casework, self.names, lambda: self.clock)
        self.timers = Timers(self.database, self.casework, lambda: self.clock, poll_s=60)
        self.desk = CaseDesk(self.database, self.casework, lambda: self.clock)
        self.producer = Producer("127.0.0.1:1", client_id="never-started")

    def record(self, event: CloudEvent) -> Record:
        key, value, headers = encode_event(event)
        topic = self.names.name(SCORES if isinstance(event, ScoreRecorded) else JOURNEYS)
        return Record(topic, zlib.crc32(key) % 3, next(self.offsets), key, value, dict(headers), 0)

    async def deliver(self, *events: CloudEvent) -> None:
        """One batch, one transaction."""
        async with self.uncommitted(*events):
            pass

    @asynccontextmanager
    async def uncommitted(self, *events: CloudEvent) -> AsyncGenerator[None]:
        """Handle one batch; it is committed at the end of the context."""
        records = [self.record(event) for event in events]
        batch = Batch(records, {Partition(record.topic, record.partition): 0 for record in records})
        connection = await self.database.connect()
        try:
            async with connection.transaction():
                transaction = BatchTransaction(connection, self.producer)
                await self.handler.handle(batch, transaction)
                await enqueue(connection, transaction.outbox)
                yield
        finally:
            await connection.close()
        assert not batch.parked
        self.events.extend(events)

    async def advance(self, until: datetime) -> None:
        """Turn the clock, firing each timer at its own time."""
        async with self.connection() as connection:
            while (due := await case_store.next_due(connection)) is not None and due <= until:
                self.clock = max(self.clock, due)
                await self.timers.fire_due()
        self.clock = max(self.clock, until)

    async def act(self, case_id: str, kind: str, body: Body | None = None) -> CaseView:
        view = await self.desk.show(case_id)
        action = ActionKind(kind)
        return await self.desk.act(
            view.case_id,
            action,
            body or BODIES[action],
            caller=OPS,
            if_match=f'"{view.version}"',
            key=None,
        )

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[asyncpg.Connection]:
        connection = await self.database.connect()
        try:
            yield connection
        finally:
            await connection.close()

    async def somebody_waits(self) -> None:
        """Return once a session of this database waits for a lock."""
        async with self.connection() as connection:
            while not await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ):
                pass

    async def rows(self) -> list[case_store.CaseRow]:
        async with self.connection() as connection:
            return await case_store.list_cases(connection, limit=1000, after=None, filters={})

    async def state(self) -> set[Seen]:
        """What must not depend on arrival: ids, standing, owners, triggers, customers."""
        return {
            (
                row.case_id,
                row.status,
                row.reason,
                row.owner_id,
                tuple(row.triggers),
                row.severity,
                row.customer_id,
            )
            for row in await self.rows()
        }

    async def announced(self) -> list[dict[str, Any]]:
        """Alert records since the last call."""
        async with self.connection() as connection:
            rows = await connection.fetch(
                "SELECT id, value FROM outbox WHERE id > $1 AND topic = $2 ORDER BY id",
                self.read_up_to,
                self.names.name(ALERTS),
            )
        self.read_up_to = max([self.read_up_to, *(row["id"] for row in rows)])
        return [msgspec.json.decode(row["value"]) for row in rows]

    async def forget_all_but_the_log(self) -> None:
        async with self.connection() as connection:
            await connection.execute(
                "TRUNCATE facts, identities, cards, subjects, cases, case_triggers, timers, outbox"
            )

    async def forget_everything(self) -> None:
        await self.forget_all_but_the_log()
        async with self.connection() as connection:
            await connection.execute("TRUNCATE log, configs")
        self.events.clear()
        self.clock = MONDAY

    async def replay(self, events: Sequence[CloudEvent], rng: random.Random, *, double: float = 0.5) -> None:
        """Deliver events shuffled, some twice, in batches of another cut; a document's own order is Kafka's."""
        doubled = [event for event in events if rng.random() < double]
        again = [*events, *doubled]
        rng.shuffle(again)
        places: dict[str, list[CloudEvent]] = {}
        for event in sorted(
            events, key=lambda event: getattr(event, "revision", (0, getattr(event, "version", 0)))
        ):
            places.setdefault(event.key, []).append(event)
        # What is read a second time comes after all of its key's, however old it is.
        rng.shuffle(doubled)
        for event in doubled:
            places[event.key].append(event)
        ordered = [places[event.key].pop(0) for event in again]
        while ordered:
            size = rng.randint(1, 5)
            await self.deliver(*ordered[:size])
            ordered = ordered[size:]


@dataclass
class Story:
    """A time line: what happens when, and what is announced at that moment and not before."""

    alerting: Alerting
    numbers: Any = field(default_factory=lambda: count(1))

    async def response(self, at: str, csat: int, *, met: str | None = None, **more: Any) -> int:
        """A response of `at` that arrives then, or later (`met`). Returns its number."""
        number = more.pop("number", None) or next(self.numbers)
        await self.alerting.advance(moment(met or at))
        await self.alerting.deliver(score(number, csat, moment(at), **more))
        return number

    async def act(self, at: str, kind: str, body: Body | None = None) -> None:
        await self.alerting.advance(moment(at))
        latest = max(await self.alerting.rows(), key=lambda row: row.opened_at)
        await self.alerting.act(latest.case_id, kind, body)

    async def expect(self, at: str, *changes: str, **fields: Any) -> None:
        """Exactly these changes were announced since the last look; the last one has these fields."""
        await self.alerting.advance(moment(at))
        announced = await self.alerting.announced()
        assert [record["change"] for record in announced] == list(changes)
        for name, value in fields.items():
            shown = {**announced[-1], "owner": announced[-1]["owner"]["id"]}
            assert shown.get(name) == value, name
        if changes:
            assert announced[-1]["at"] == moment(at).isoformat().replace("+00:00", "Z")

    async def expect_nothing(self, until: str) -> None:
        await self.expect(until)

    async def check(self) -> None:
        """Again with every event doubled and shuffled, under the same log."""
        alerting = self.alerting
        first = await alerting.state()
        events = list(alerting.events)
        for seed in range(3):
            await alerting.forget_all_but_the_log()
            await alerting.replay(events, seed_random(seed), double=1)
            assert await alerting.state() == first


@pytest_asyncio.fixture
async def alerting(database_url: str, tmp_path: Path) -> AsyncGenerator[Alerting]:
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES)
    rules_source, routes_source = read_sources(None, routes)
    async with Database(database_url, schema="alerting") as database:
        await database.migrate("cxloop_alerting.migrations")
        store = ConfigurationStore(rules_source, routes_source)
        yield Alerting(database, Casework(store, TopicNames(), timedelta(seconds=31)))


@pytest.fixture
def story(alerting: Alerting) -> Story:
    return Story(alerting)


@pytest.fixture
def make_score() -> Any:
    return score


@pytest.fixture
def make_link() -> Any:
    return link


@pytest.fixture
def seeded() -> Any:
    return seed_random
