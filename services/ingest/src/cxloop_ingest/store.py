"""What became of deliveries, and the bodies that wait in quarantine: all tables and SQL of this service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import (
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    and_,
    func,
    or_,
    select,
    true,
    values,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from cxloop_ingest.domain.delivery import Delivery, Via
from cxloop_ingest.domain.drafts import Status
from cxloop_ingest.domain.outcome import Outcome

METADATA: Final = MetaData()

Connection = asyncpg.Connection | PoolConnectionProxy

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column("delivery_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, comment="the first time it was posted"),
    Column("attempt", Integer, nullable=False, comment="replays before the outcome that counts"),
    Column("standing", SmallInteger, nullable=False, comment="0 quarantined, 1 ignored, 2 normalised"),
    Column("tie", Text(collation="C"), nullable=False, comment="decides between equal standings"),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("items", JSONB, nullable=False, comment="[{index, reason, detail}] of what gave no event"),
    Column("event_ids", JSONB, nullable=False),
    Index("deliveries_source", "source", "received_at"),
    Index("deliveries_received", "received_at"),
    Index(
        "deliveries_event_ids",
        "event_ids",
        postgresql_using="gin",
        postgresql_ops={"event_ids": "jsonb_path_ops"},
    ),
)

QUARANTINE: Final = Table(
    "quarantine",
    METADATA,
    Column("delivery_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("items", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("via", Text, nullable=False),
    Column("first_seen", DateTime(timezone=True), nullable=False, comment="its received_at"),
    Column("attempts", Integer, nullable=False, comment="replays so far"),
    Index("quarantine_source", "source"),
    Index("quarantine_first_seen", "first_seen", "delivery_id"),
)

_UPSERT: Final = """
INSERT INTO deliveries AS d (delivery_id, source, received_at, attempt, standing, tie, status, reason, items,
                             event_ids)
SELECT delivery_id, source, received_at, attempt, standing, tie, status, reason, items::jsonb, event_ids::jsonb
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::int[], $5::smallint[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::text[])
     AS new(delivery_id, source, received_at, attempt, standing, tie, status, reason, items, event_ids)
ON CONFLICT (delivery_id) DO UPDATE
SET received_at = least(d.received_at, excluded.received_at), attempt = excluded.attempt,
    standing = excluded.standing, tie = excluded.tie, status = excluded.status, reason = excluded.reason,
    items = excluded.items, event_ids = excluded.event_ids
WHERE (excluded.attempt, excluded.standing, excluded.tie) > (d.attempt, d.standing, d.tie)
"""

_EARLIER: Final = """
UPDATE deliveries AS d SET received_at = new.received_at
FROM unnest($1::text[], $2::timestamptz[]) AS new(delivery_id, received_at)
WHERE d.delivery_id = new.delivery_id AND new.received_at < d.received_at
"""

_QUARANTINE: Final = """
INSERT INTO quarantine AS q (delivery_id, source, reason, detail, items, body, content_type, headers, via,
                             first_seen, attempts)
SELECT new.delivery_id, new.source, new.reason, new.detail, new.items::jsonb, new.body, new.content_type,
       new.headers::jsonb, new.via, d.received_at, new.attempt
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[],
            $9::text[], $10::int[], $11::text[])
     AS new(delivery_id, source, reason, detail, items, body, content_type, headers, via, attempt, tie)
JOIN deliveries AS d ON d.delivery_id = new.delivery_id
WHERE d.attempt = new.attempt AND d.standing = 0 AND d.tie = new.tie
ON CONFLICT (delivery_id) DO UPDATE
SET reason = excluded.reason, detail = excluded.detail, items = excluded.items, body = excluded.body,
    content_type = excluded.content_type, headers = excluded.headers, via = excluded.via,
    attempts = greatest(q.attempts, excluded.attempts)
"""

_RELEASE: Final = """
DELETE FROM quarantine AS q USING deliveries AS d
WHERE q.delivery_id = ANY($1::text[]) AND d.delivery_id = q.delivery_id AND d.standing > 0
"""

_FIRST_SEEN: Final = """
UPDATE quarantine AS q SET first_seen = d.received_at FROM deliveries AS d
WHERE q.delivery_id = ANY($1::text[]) AND d.delivery_id = q.delivery_id AND d.received_at < q.first_seen
"""

_TAKE: Final = """
UPDATE quarantine AS q SET attempts = q.attempts + 1
FROM (
    SELECT delivery_id FROM quarantine
    WHERE delivery_id > $1 AND ($2::text IS NULL OR delivery_id = $2)
      AND ($3::text IS NULL OR source = $3) AND ($4::text IS NULL OR reason = $4)
    ORDER BY delivery_id LIMIT $5 FOR UPDATE
) AS taken
WHERE q.delivery_id = taken.delivery_id
RETURNING q.delivery_id, q.source, q.first_seen, q.body, q.content_type, q.headers, q.via, q.attempts
"""


async def write_outcomes(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    """Merge outcomes, one a delivery, into the tables within the caller's transaction.

    The higher precedence stays, so any order and number of calls ends in the same rows; a quarantined body is
    there exactly while a quarantined outcome counts.
    """
    if not outcomes:
        return
    rows = sorted(outcomes, key=lambda outcome: outcome.delivery.id)
    ids = [row.delivery.id for row in rows]
    firsts = [row.delivery.received_at for row in rows]
    await connection.execute(
        _UPSERT,
        ids,
        [row.delivery.source for row in rows],
        firsts,
        [row.precedence[0] for row in rows],
        [row.precedence[1] for row in rows],
        [row.tie for row in rows],
        [row.status.value for row in rows],
        [row.reason for row in rows],
        [_items(row) for row in rows],
        [msgspec.json.encode(row.event_ids).decode() for row in rows],
    )
    await connection.execute(_EARLIER, ids, firsts)
    bad = [row for row in rows if row.status is Status.QUARANTINED]
    if bad:
        await connection.execute(
            _QUARANTINE,
            [row.delivery.id for row in bad],
            [row.delivery.source for row in bad],
            [row.reason or "" for row in bad],
            [row.detail or "" for row in bad],
            [_items(row) for row in bad],
            [row.delivery.body for row in bad],
            [row.delivery.content_type for row in bad],
            [msgspec.json.encode(row.delivery.headers).decode() for row in bad],
            [row.delivery.via.value for row in bad],
            [row.delivery.attempt for row in bad],
            [row.tie for row in bad],
        )
    await connection.execute(_RELEASE, ids)
    await connection.execute(_FIRST_SEEN, ids)


def _items(outcome: Outcome) -> str:
    items = [
        {"index": item.index, "reason": item.reason.value, "detail": item.detail} for item in outcome.items
    ]
    return msgspec.json.encode(items).decode()


async def take_for_replay(
    connection: Connection,
    *,
    after: str = "",
    delivery_id: str | None = None,
    source: str | None = None,
    reason: str | None = None,
    limit: int = 100,
) -> list[Delivery]:
    """Count a replay of quarantined deliveries and give them, by id; rows stay locked until the transaction ends.

    Committing without having appended them would count a replay that never was.
    """
    rows = await connection.fetch(_TAKE, after, delivery_id, source, reason, limit)
    found = [
        Delivery(
            id=row["delivery_id"],
            source=row["source"],
            received_at=row["first_seen"],
            body=row["body"],
            content_type=row["content_type"],
            headers=msgspec.json.decode(row["headers"], type=dict[str, str]),
            via=Via(row["via"]),
            attempt=row["attempts"],
        )
        for row in rows
    ]
    return sorted(found, key=lambda delivery: delivery.id)


async def prune(connection: Connection, before: datetime, limit: int = 5000) -> int:
    """Delete up to `limit` deliveries received before an instant, with their quarantined bodies; count them."""
    ids = await connection.fetch(
        "DELETE FROM deliveries WHERE delivery_id IN ("
        "SELECT delivery_id FROM deliveries WHERE received_at < $1 ORDER BY delivery_id LIMIT $2) "
        "RETURNING delivery_id",
        before,
        limit,
    )
    await connection.execute(
        "DELETE FROM quarantine WHERE delivery_id = ANY($1::text[])", [row["delivery_id"] for row in ids]
    )
    return len(ids)


@dataclass(frozen=True)
class SourceActivity:
    """What a source did lately."""

    last_delivery: datetime | None = None
    deliveries: int = 0
    events: int = 0
    quarantined: int = 0


class Queries:
    """What the API asks; read only."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def delivery(self, delivery_id: str) -> Mapping[str, Any] | None:
        """Give a delivery's row, or None until the normaliser has seen it."""
        query = select(DELIVERIES).where(DELIVERIES.c.delivery_id == delivery_id)
        return await self._first(query)

    async def deliveries(
        self,
        *,
        event_id: str | None,
        source: str | None,
        before: tuple[Any, ...] | None,
        limit: int,
    ) -> list[Mapping[str, Any]]:
        """Give deliveries, newest first: all that gave an event, all of a source, or both at once."""
        query = select(DELIVERIES)
        if event_id is not None:
            # Read by the event's index before anything is sorted: the planner takes every containment for
            # a thousandth of the table, and would rather walk all deliveries by time.
            gave = select(DELIVERIES).where(DELIVERIES.c.event_ids.contains([event_id]))
            query = select(gave.cte("gave").prefix_with("MATERIALIZED", dialect="postgresql"))
        table = query.selected_columns
        if source is not None:
            query = query.where(table.source == source)
        return await self._newest(query, table.received_at, table.delivery_id, before, limit)

    async def quarantined(self, delivery_id: str) -> Mapping[str, Any] | None:
        """Give a quarantined delivery's row with its body."""
        return await self._first(select(QUARANTINE).where(QUARANTINE.c.delivery_id == delivery_id))

    async def quarantine(
        self,
        *,
        source: str | None,
        reason: str | None,
        before: tuple[Any, ...] | None,
        limit: int,
    ) -> list[Mapping[str, Any]]:
        """Give quarantined deliveries without their bodies, newest first."""
        table = QUARANTINE.c
        query = select(
            table.delivery_id, table.source, table.reason, table.detail, table.first_seen, table.attempts
        )
        if source is not None:
            query = query.where(table.source == source)
        if reason is not None:
            query = query.where(table.reason == reason)
        return await self._newest(query, table.first_seen, table.delivery_id, before, limit)

    async def activity(self, sources: Sequence[str], since: datetime) -> dict[str, SourceActivity]:
        """Give each source's last delivery, and its deliveries and events since an instant."""
        if not sources:
            return {}
        names = values(Column("name", Text), name="names").data([(name,) for name in sources])
        table = DELIVERIES.c
        last = (
            select(func.max(table.received_at).label("at"))
            .where(table.source == names.c.name)
            .lateral("last")
        )
        lately = (
            select(
                func.count().label("deliveries"),
                func.coalesce(func.sum(func.jsonb_array_length(table.event_ids)), 0).label("events"),
            )
            .where(table.source == names.c.name, table.received_at >= since)
            .lateral("lately")
        )
        waiting = (
            select(func.count().label("quarantined"))
            .where(QUARANTINE.c.source == names.c.name)
            .lateral("waiting")
        )
        query = select(
            names.c.name, last.c.at, lately.c.deliveries, lately.c.events, waiting.c.quarantined
        ).select_from(names.join(last, true()).join(lately, true()).join(waiting, true()))
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return {row[0]: SourceActivity(row[1], row[2], int(row[3]), row[4]) for row in rows}

    async def _newest(
        self, query: Any, at: Any, identity: Any, before: tuple[Any, ...] | None, limit: int
    ) -> list[Mapping[str, Any]]:
        """Give the newest rows of those before a position (time, id)."""
        if before is not None:
            query = query.where(or_(at < before[0], and_(at == before[0], identity < before[1])))
        query = query.order_by(at.desc(), identity.desc()).limit(limit)
        async with self._engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def _first(self, query: Any) -> Mapping[str, Any] | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
        return dict(row) if row is not None else None
