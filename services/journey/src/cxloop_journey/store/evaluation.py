"""The second stage: dirty customers are read under their buckets, and what changed goes to the outbox."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from cxloop_common.events import ContextCard, IdentifierVersion, JourneyChange, JourneyChanged
from cxloop_common.identifiers import derive_id
from cxloop_journey.domain.card import card_of, stage_of
from cxloop_journey.domain.identity import customer_id
from cxloop_journey.domain.stages import StageAnswer
from cxloop_journey.store.customers import Customer, load
from cxloop_journey.store.identities import Connection, lock_components
from cxloop_journey.store.timeline import Day

SOURCE: Final = "journey"

_TAKE: Final = """
DELETE FROM dirty WHERE id = ANY(ARRAY(SELECT id FROM dirty ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING anchor, day, stage, n
"""
_FOLD: Final = """
INSERT INTO anchor_days AS d (anchor, day, stage, n)
SELECT * FROM unnest($1::bigint[], $2::date[], $3::text[], $4::bigint[])
ON CONFLICT (anchor, day, stage) DO UPDATE SET n = d.n + excluded.n
"""
_OWNERS: Final = """
SELECT i.id, i.hash, i.customer, f.hash AS founder FROM identifiers i JOIN identifiers f ON f.id = i.customer
WHERE i.id = ANY($1::bigint[])
"""
_PUBLISHED: Final = """
SELECT customer, merged_into, links_hash, published_hash FROM journeys WHERE customer = ANY($1::bigint[])
"""
_NOTE: Final = """
INSERT INTO journeys AS j (customer, stage, next_check_at, merged_into, links_hash, published_hash, version)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bigint[])
ON CONFLICT (customer) DO UPDATE SET stage = excluded.stage, next_check_at = excluded.next_check_at,
  merged_into = excluded.merged_into, links_hash = excluded.links_hash,
  published_hash = excluded.published_hash, version = excluded.version
"""
_VERSIONS: Final = "SELECT nextval('journey_versions') FROM generate_series(1, $1)"
_DUE: Final = """
WITH due AS (
  SELECT customer FROM journeys WHERE next_check_at <= $1 ORDER BY next_check_at LIMIT $2 FOR UPDATE SKIP LOCKED),
visited AS (UPDATE journeys SET next_check_at = NULL WHERE customer IN (SELECT customer FROM due) RETURNING customer)
INSERT INTO dirty (anchor) SELECT customer FROM visited RETURNING anchor
"""


@dataclass(frozen=True, slots=True)
class _Published:
    merged_into: int | None
    links: bytes
    content: bytes


@dataclass(frozen=True)
class _State:
    """What there is to say of one customer id now."""

    customer: int
    hash: bytes
    answer: StageAnswer | None
    merged_into: tuple[int, bytes] | None
    links: Mapping[str, int]
    card: ContextCard | None

    @cached_property
    def links_hash(self) -> bytes:
        parts = [f"{text}={version}" for text, version in sorted(self.links.items())]
        return bytes.fromhex(derive_id("links", *parts))

    @cached_property
    def content_hash(self) -> bytes:
        card = "" if self.card is None else self.card.model_dump_json()
        into = "" if self.merged_into is None else self.merged_into[1].hex()
        return bytes.fromhex(derive_id("journey", into, card))


def _change(state: _State, before: _Published | None) -> JourneyChange | None:
    """Say what changed since the last announcement; None if nothing did."""
    if state.merged_into is not None:
        # What was never announced need not be called back.
        same = before is None or before.content == state.content_hash
        return None if same else JourneyChange.MERGED
    if before is None:
        return JourneyChange.LINKED
    if before.merged_into is not None:
        return JourneyChange.SPLIT
    if before.links != state.links_hash:
        return JourneyChange.LINKED
    return JourneyChange.CARD if before.content != state.content_hash else None


async def revisit_due(connection: Connection, now: datetime, limit: int) -> int:
    """Mark the customers whose stage can have changed by the clock alone; gives how many."""
    return len(await connection.fetch(_DUE, now, limit))


async def evaluate(connection: Connection, now: datetime, limit: int) -> tuple[int, list[JourneyChanged]]:
    """Take up to `limit` dirty rows; give how many there were, and what is to be announced.

    Within the caller's transaction. Versions are drawn under the buckets of the customers, so that of two
    announcements of one customer the later state has the higher version, however many evaluators there are.
    """
    rows = await connection.fetch(_TAKE, limit)
    if not rows:
        return 0, []
    changes: Counter[Day] = Counter()
    for anchor, day, stage, n in rows:
        if day is not None:
            changes[Day(anchor, day, stage)] += n
    anchors = sorted({row["anchor"] for row in rows})
    await lock_components(connection, anchors, also_shared=anchors)
    await _fold(connection, changes)
    states, published = await _states(connection, anchors, now)
    changed = [
        (state, change) for state in states if (change := _change(state, published.get(state.customer)))
    ]
    checks = [
        state for state in states if state.answer is not None and state.answer.next_check_at is not None
    ]
    versions = [row[0] for row in await connection.fetch(_VERSIONS, len(changed))]
    await _note(connection, [(state, version) for (state, _), version in zip(changed, versions, strict=True)])
    await _note_checks(connection, checks)
    events = [
        _event(state, change, version, now)
        for (state, change), version in zip(changed, versions, strict=True)
    ]
    return len(rows), events


async def _fold(connection: Connection, changes: Mapping[Day, int]) -> None:
    days = sorted(day for day, n in changes.items() if n)
    if days:
        columns = [day.anchor for day in days], [day.day for day in days], [day.stage for day in days]
        await connection.execute(_FOLD, *columns, [changes[day] for day in days])


async def _states(
    connection: Connection, anchors: Collection[int], now: datetime
) -> tuple[list[_State], dict[int, _Published]]:
    owners = await connection.fetch(_OWNERS, list(anchors))
    customers = {row["customer"] for row in owners}
    published = {
        row["customer"]: _Published(row["merged_into"], row["links_hash"], row["published_hash"])
        for row in await connection.fetch(_PUBLISHED, sorted(customers | set(anchors)))
    }
    merged = [
        _State(row["id"], row["hash"], None, (row["customer"], row["founder"]), {}, None)
        for row in owners
        if row["customer"] != row["id"] and row["id"] in published
    ]
    found = await load(connection, customers)
    live = [_live(customer, now) for _, customer in sorted(found.items())]
    return [*merged, *live], published


def _live(customer: Customer, now: datetime) -> _State:
    answer = stage_of(customer.facts, now)
    return _State(
        customer.id, customer.founder, answer, None, customer.versions, card_of(customer.facts, now)
    )


async def _note(connection: Connection, states: Iterable[tuple[_State, int]]) -> None:
    chosen = sorted(states, key=lambda one: one[0].customer)
    if not chosen:
        return
    await connection.execute(
        _NOTE,
        [state.customer for state, _ in chosen],
        ["" if state.answer is None else state.answer.stage.value for state, _ in chosen],
        [None if state.answer is None else state.answer.next_check_at for state, _ in chosen],
        [None if state.merged_into is None else state.merged_into[0] for state, _ in chosen],
        [state.links_hash for state, _ in chosen],
        [state.content_hash for state, _ in chosen],
        [version for _, version in chosen],
    )


async def _note_checks(connection: Connection, states: Iterable[_State]) -> None:
    """Note when to look again at customers of whom nothing is announced now."""
    due = {state.customer: state.answer.next_check_at for state in states if state.answer is not None}
    if due:
        keys = sorted(due)
        await connection.execute(
            """UPDATE journeys j SET next_check_at = n.at
            FROM unnest($1::bigint[], $2::timestamptz[]) AS n(customer, at) WHERE j.customer = n.customer""",
            keys,
            [due[key] for key in keys],
        )


def _event(state: _State, change: JourneyChange, version: int, now: datetime) -> JourneyChanged:
    name = customer_id(state.hash)
    return JourneyChanged(
        id=derive_id("journey", name, str(version)),
        source=SOURCE,
        time=now,
        customer_id=name,
        version=version,
        change=change,
        merged_into=None if state.merged_into is None else customer_id(state.merged_into[1]),
        identifiers=tuple(
            IdentifierVersion(id=text, version=number) for text, number in sorted(state.links.items())
        ),
        card=state.card,
    )
