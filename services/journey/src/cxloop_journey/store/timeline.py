"""Rows of timelines: events that stand for themselves, rows in and out, and what they change in the counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

import asyncpg

from cxloop_journey.domain.documents import Entry
from cxloop_journey.store.identities import Connection

RowKey = tuple[int, datetime, bytes]
"""(anchor, at, event): the key of `touchpoints`."""


class Day(NamedTuple):
    """Where an entry is counted: its anchor, its day in UTC, its stage (empty for none)."""

    anchor: int
    day: date
    stage: str


_CLAIM: Final = """
INSERT INTO touchpoint_events (event, at, content, anchor)
SELECT * FROM unnest($1::bytea[], $2::timestamptz[], $3::text[], $4::bigint[])
ON CONFLICT (event) DO NOTHING RETURNING event
"""
_CLAIMED: Final = """
SELECT event, at, content, anchor FROM touchpoint_events WHERE event = ANY($1::bytea[])
ORDER BY event FOR NO KEY UPDATE
"""
_RECLAIM: Final = """
UPDATE touchpoint_events e SET at = n.at, content = n.content, anchor = n.anchor
FROM unnest($1::bytea[], $2::timestamptz[], $3::text[], $4::bigint[]) AS n(event, at, content, anchor)
WHERE e.event = n.event
"""
_DELETE: Final = """
DELETE FROM touchpoints t USING unnest($1::bigint[], $2::timestamptz[], $3::bytea[]) AS k(anchor, at, event)
WHERE (t.anchor, t.at, t.event) = (k.anchor, k.at, k.event) RETURNING t.anchor, t.at, t.stage
"""
_INSERT: Final = """
INSERT INTO touchpoints (anchor, at, event, others, doc_key, event_id, kind, touchpoint, stage, channel, source,
  summary, amount, currency)
SELECT anchor, at, event, others::bigint[], doc_key, event_id, kind, touchpoint, stage, channel, source, summary,
  amount::numeric, currency
FROM unnest($1::bigint[], $2::timestamptz[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[],
  $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
  AS n(anchor, at, event, others, doc_key, event_id, kind, touchpoint, stage, channel, source, summary, amount,
    currency)
ON CONFLICT DO NOTHING RETURNING anchor, at, stage
"""
_MARK: Final = """
INSERT INTO dirty (anchor, day, stage, n)
SELECT * FROM unnest($1::bigint[], $2::date[], $3::text[], $4::int[])
"""


async def claim(connection: Connection, entries: Iterable[Entry]) -> tuple[list[RowKey], list[Entry]]:
    """Settle which content of each event counts; gives the rows to take away and the entries to add.

    An event id that comes again is a duplicate, or a contradiction that the least (time, content hash) wins.
    """
    least: dict[bytes, Entry] = {}
    for entry in entries:
        known = least.get(entry.key)
        if known is None or entry.fact.precedence < known.fact.precedence:
            least[entry.key] = entry
    if not least:
        return [], []
    keys = sorted(least)
    new = {row[0] for row in await connection.fetch(_CLAIM, *_claims(least[key] for key in keys))}
    added = [least[key] for key in keys if key in new]
    gone: list[RowKey] = []
    if seen := [key for key in keys if key not in new]:
        winners: list[Entry] = []
        for event, at, content, anchor in await connection.fetch(_CLAIMED, seen):
            if least[event].fact.precedence < (at, content):
                gone.append((anchor, at, event))
                winners.append(least[event])
        if winners:
            await connection.execute(_RECLAIM, *_claims(winners))
            added += winners
    return gone, added


async def reclaim(connection: Connection, entries: Sequence[Entry]) -> None:
    """Note the new anchors of events that moved; their rows are locked by the caller."""
    if entries:
        await connection.execute(_RECLAIM, *_claims(entries))


def _claims(entries: Iterable[Entry]) -> tuple[list[bytes], list[datetime], list[str], list[int]]:
    chosen = list(entries)
    return (
        [entry.key for entry in chosen],
        [entry.fact.at for entry in chosen],
        [entry.fact.content for entry in chosen],
        [entry.place.anchor for entry in chosen],
    )


async def write_rows(connection: Connection, gone: Iterable[RowKey], added: Iterable[Entry]) -> Counter[Day]:
    """Take rows away, then add rows; gives what changed in the counts."""
    changes: Counter[Day] = Counter()
    if old := sorted(set(gone)):
        rows = await connection.fetch(
            _DELETE, [row[0] for row in old], [row[1] for row in old], [row[2] for row in old]
        )
        changes.subtract(map(_day, rows))
    if new := sorted(added, key=lambda entry: entry.row):
        rows = await connection.fetch(_INSERT, *_columns(new))
        changes.update(map(_day, rows))
    return changes


def _columns(entries: Sequence[Entry]) -> tuple[list[object], ...]:
    facts = [entry.fact for entry in entries]
    return (
        [entry.place.anchor for entry in entries],
        [fact.at for fact in facts],
        [entry.key for entry in entries],
        # As text: unnest takes no arrays of arrays of several lengths.
        [
            f"{{{','.join(map(str, entry.place.others))}}}" if entry.place.others else None
            for entry in entries
        ],
        [entry.document for entry in entries],
        [fact.event_id for fact in facts],
        [fact.kind.value for fact in facts],
        [fact.touchpoint for fact in facts],
        [None if fact.stage is None else fact.stage.value for fact in facts],
        [fact.channel for fact in facts],
        [fact.source for fact in facts],
        [fact.summary for fact in facts],
        [None if fact.amount is None else f"{fact.amount:f}" for fact in facts],
        [fact.currency for fact in facts],
    )


def _day(row: asyncpg.Record) -> Day:
    at: datetime = row["at"]
    return Day(row["anchor"], at.astimezone(UTC).date(), row["stage"] or "")


async def mark_dirty(connection: Connection, changes: Mapping[Day, int], touched: Iterable[int]) -> int:
    """Append what the evaluators have to look at, and wake them at COMMIT; gives the number of rows."""
    counted = {day: n for day, n in changes.items() if n}
    plain = set(touched).difference(day.anchor for day in counted)
    rows: list[tuple[int, date | None, str | None, int]] = [
        *((day.anchor, day.day, day.stage, n) for day, n in counted.items()),
        *((anchor, None, None, 0) for anchor in sorted(plain)),
    ]
    if rows:
        await connection.execute(_MARK, *(list(column) for column in zip(*rows, strict=True)))
        await connection.execute("SELECT pg_notify('journey_dirty_' || current_schema(), '')")
    return len(rows)
