"""Buckets, held against the net ledger and corrected while the workers go on.

No lock on the workers is needed. A batch commits its ledger rows and its bucket rows together, so any one
snapshot shows both or neither. In a snapshot, (net ledger - sum of the bucket rows) is by how much a bucket is
wrong. That difference is added in rows of a shard which no worker has: whatever commits meanwhile changes
ledger and buckets by the same amount, and the correction stays right. Nothing that a worker may be writing is
touched, but for duration rows whose histogram cannot be read: those are deleted, which a worker in the same
row turns into another try.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from cxloop_scoring.domain.dimensions import BUILT_IN, COLUMNS
from cxloop_scoring.domain.histogram import Histogram, add_histogram, decode_histogram, encode_histogram
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.metrics import DURATIONS, LEDGER_ONLY
from cxloop_scoring.domain.windows import DAY
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.writing import BUCKET_TABLES

CORRECTIONS: Final = -1
"""The shard of corrections: workers' shards are numbered from 1 on."""

_PAIR: Final = 6
"""Bytes of one pair in a histogram."""
_AT_ONCE: Final = 5_000
"""Corrections in one statement."""
_TRIES: Final = 10

_LOCK = (
    "SELECT pg_try_advisory_lock(hashtextextended('cxloop.rebuild.' || coalesce(current_schema(), ''), 0))"
)
_UNLOCK = (
    "SELECT pg_advisory_unlock(hashtextextended('cxloop.rebuild.' || coalesce(current_schema(), ''), 0))"
)

_DAY_OF = "floor(extract(epoch FROM {}) / 86400)::int4"
# From one day with rows to the next, by the index alone: days without any cost nothing.
_DAYS = f"""
    WITH RECURSIVE booked (day) AS (
        SELECT {_DAY_OF.format("min(l.at)")} FROM ledger AS l WHERE l.metric = $1 AND l.at >= $3
        UNION ALL
        SELECT (
            SELECT {_DAY_OF.format("min(l.at)")} FROM ledger AS l
            WHERE l.metric = $1 AND l.at >= to_timestamp((booked.day + 1) * 86400::float8)
        )
        FROM booked WHERE booked.day IS NOT NULL
    )
    SELECT day FROM booked WHERE day IS NOT NULL
    UNION SELECT at FROM bucket_day WHERE metric = $1 AND at >= $2
    UNION SELECT floor(at / 24.0)::int4 FROM bucket_hour WHERE metric = $1 AND at >= $2 * 24
    ORDER BY 1
"""

_FILED = ", ".join(COLUMNS)
_CELLS_OF_ROW = ", ".join(f"({BUILT_IN[name]}, b.{name})" for name in COLUMNS)


def _booked(columns: str, sums: str, *, by: str = "") -> str:
    """Write the CTE `cells`: what the net ledger of one metric and day comes to by hour, dimension and value."""
    added = "".join(f", sum(b.{name})::int8 AS {name}" for name in columns.split(", "))
    key = f"b.hour, cell.dimension, cell.value{by and f', b.{by}'}"
    return f"""
        WITH booked AS MATERIALIZED (
            SELECT floor(extract(epoch FROM at) / 3600)::int4 AS hour, {_FILED}, more, {sums}
            FROM ledger WHERE metric = $1 AND at >= $2 AND at < $3
            GROUP BY hour, {_FILED}, more{by and f", {by}"}
        ), cells AS (
            SELECT {key}{added}
            FROM booked AS b CROSS JOIN LATERAL (VALUES (0, 0), {_CELLS_OF_ROW}) AS cell (dimension, value)
            WHERE cell.value IS NOT NULL
            GROUP BY {key}
            UNION ALL
            SELECT {key}{added}
            FROM booked AS b CROSS JOIN LATERAL unnest(b.more) AS filed (id)
            JOIN (SELECT id, id AS value, dimension::int4 FROM dimension_values) AS cell USING (id)
            GROUP BY {key}
        )
    """


_SUMS: Final = ("n", "sum", "squares", "low", "middle", "high")


def _differences(table: str, at: str) -> str:
    """Write the statement that gives by how much the bucket rows of one metric and day are wrong."""
    summed = ", ".join(f"sum({name})::int8 AS {name}" for name in _SUMS)
    wrong = " OR ".join(f"sum({name}) <> 0" for name in _SUMS)
    return f"""
        {
        _booked(
            ", ".join(_SUMS),
            "sum(sign)::int8 AS n, sum(sign * value)::int8 AS sum, sum(sign * value * value)::int8 AS squares, "
            "coalesce(sum(sign) FILTER (WHERE band = 0), 0)::int8 AS low, "
            "coalesce(sum(sign) FILTER (WHERE band = 1), 0)::int8 AS middle, "
            "coalesce(sum(sign) FILTER (WHERE band = 2), 0)::int8 AS high",
        )
    }
        SELECT at, dimension, value, {summed} FROM (
            SELECT {at} AS at, dimension, value, {", ".join(_SUMS)} FROM cells WHERE $4
            UNION ALL
            SELECT at, dimension, value, {", ".join(f"-{name}" for name in _SUMS)} FROM {table}
            WHERE metric = $1 AND dimension = ANY($5::int2[]) AND at >= $6 AND at < $7
        ) AS both_sides
        GROUP BY at, dimension, value HAVING {wrong}
    """


def _timed(table: str, at: str) -> str:
    """Write the statement that gives ledger and bucket rows of one metric and day, side by side, by cell."""
    return f"""
        {
        _booked(
            "n, sum",
            "duration_bin(value) AS bin, sum(sign)::int8 AS n, sum(sign * value)::int8 AS sum",
            by="bin",
        )
    }
        SELECT {at} AS at, dimension, value, sum(n)::int8 AS n, sum(sum)::int8 AS sum,
               array_agg(bin) AS bins, array_agg(n) AS counts, NULL::bytea AS histogram, NULL::int2 AS shard
        FROM cells WHERE $4 GROUP BY {at}, dimension, value
        UNION ALL
        SELECT at, dimension, value, n, sum, NULL, NULL, histogram, shard FROM {table}
        WHERE metric = $1 AND dimension = ANY($5::int2[]) AND at >= $6 AND at < $7
        ORDER BY 1, 2, 3
    """


def _correct(table: str) -> str:
    added = ", ".join(f"{name} = b.{name} + excluded.{name}" for name in _SUMS)
    return f"""
        INSERT INTO {table} AS b (metric, dimension, at, value, shard, {", ".join(_SUMS)}, histogram)
        SELECT $1::int2, u.dimension, u.at, u.value, {CORRECTIONS}, {", ".join(f"u.{name}" for name in _SUMS)},
               u.histogram
        FROM unnest($2::int4[], $3::int2[], $4::int4[], $5::int4[], $6::int8[], $7::int8[], $8::int4[],
                    $9::int4[], $10::int4[], $11::bytea[])
            AS u (at, dimension, value, {", ".join(_SUMS)}, histogram)
        ON CONFLICT (metric, dimension, at, value, shard) DO UPDATE SET {added},
            histogram = coalesce(b.histogram || excluded.histogram, b.histogram, excluded.histogram)
    """


def _remove(table: str) -> str:
    return f"""
        DELETE FROM {table} AS b
        USING unnest($2::int2[], $3::int4[], $4::int4[], $5::int2[]) AS u (dimension, at, value, shard)
        WHERE b.metric = $1 AND b.dimension = u.dimension AND b.at = u.at AND b.value = u.value
            AND b.shard = u.shard
    """


_AT: Final = dict(zip(BUCKET_TABLES, ("hour", "floor(hour / 24.0)::int4"), strict=True))
_SLOTS_A_DAY: Final = dict(zip(BUCKET_TABLES, (24, 1), strict=True))
_DIFFERENCES: Final = {table: _differences(table, at) for table, at in _AT.items()}
_TIMED: Final = {table: _timed(table, at) for table, at in _AT.items()}
_CORRECT: Final = {table: _correct(table) for table in BUCKET_TABLES}
_REMOVE: Final = {table: _remove(table) for table in BUCKET_TABLES}


class BusyError(Exception):
    """Another rebuild of this schema is running, or retention is at work."""


class Slice(NamedTuple):
    """What one transaction looks at: one metric on one day, by number since 1970."""

    metric: int
    day: int


class Correction(NamedTuple):
    """By how much one bucket is wrong; the histogram is None but for durations."""

    at: int
    dimension: int
    value: int
    n: int
    sum: int
    squares: int = 0
    low: int = 0
    middle: int = 0
    high: int = 0
    histogram: bytes | None = None


class Corrected(NamedTuple):
    """What a slice needed: buckets that were wrong, and rows whose histogram could not be read."""

    buckets: int
    unreadable: int

    def __add__(self, other: tuple[Any, ...]) -> "Corrected":
        """Add up two of them."""
        return Corrected(self.buckets + other[0], self.unreadable + other[1])


@asynccontextmanager
async def rebuild_lock(connection: Connection) -> AsyncGenerator[None]:
    """Be the only rebuild of this schema, and keep retention waiting. Raises BusyError at once."""
    if not await connection.fetchval(_LOCK):
        raise BusyError("another rebuild is running, or months are being dropped")
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute(_UNLOCK)


async def slices(connection: Connection, metric: int, ledger_from: datetime | None) -> list[Slice]:
    """Give the slices of a metric with ledger or bucket rows; before `ledger_from` nothing can be recomputed."""
    since = instant(0) if ledger_from is None else ledger_from
    day = int(since.timestamp()) // 86_400
    return [Slice(metric, row[0]) for row in await connection.fetch(_DAYS, metric, day, since)]


async def correct(connection: Connection, part: Slice, *, write: bool = True) -> Corrected:
    """Bring the buckets of a slice to what the net ledger says; with `write=False` only count what is wrong.

    Tried again where a worker was in a row that had to go.
    """
    for _ in range(_TRIES - 1):
        try:
            return await _correct_once(connection, part, write=write)
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
            continue
    return await _correct_once(connection, part, write=write)


async def _correct_once(connection: Connection, part: Slice, *, write: bool) -> Corrected:
    done = Corrected(0, 0)
    async with connection.transaction(isolation="repeatable_read", readonly=not write):
        dimensions = [0, *BUILT_IN.values(), *await _declared(connection)]
        for table in BUCKET_TABLES:
            a_day = _SLOTS_A_DAY[table]
            arguments = (
                part.metric,
                instant(part.day * DAY),
                instant((part.day + 1) * DAY),
                part.metric not in LEDGER_ONLY,
                dimensions,
                part.day * a_day,
                (part.day + 1) * a_day,
            )
            if part.metric in DURATIONS:
                done += await _correct_timed(connection, table, arguments, write=write)
            else:
                done += await _correct_counted(connection, table, arguments, write=write)
    return done


async def _declared(connection: Connection) -> list[int]:
    return [row[0] for row in await connection.fetch("SELECT id FROM dimensions")]


async def _correct_counted(
    connection: Connection, table: str, arguments: Sequence[Any], *, write: bool
) -> Corrected:
    cursor = await connection.cursor(_DIFFERENCES[table], *arguments)
    found = 0
    while rows := await cursor.fetch(_AT_ONCE):
        found += len(rows)
        if write:
            await _add(connection, table, arguments[0], [Correction(*row) for row in rows])
    return Corrected(found, 0)


class _Cell:
    """One bucket of durations: what the ledger says of it, less what its rows say."""

    def __init__(self, key: tuple[int, int, int]) -> None:
        self.key = key
        self.n = 0
        self.sum = 0
        self.bins: Histogram = {}
        self.unreadable: list[int] = []

    def add(self, row: asyncpg.Record) -> None:
        """Take a row of `_timed`: one of the ledger, or one of a shard."""
        _, _, _, n, total, bins, counts, held, shard = row
        if shard is None:
            self.n += n
            self.sum += total
            # A bin comes once an hour.
            for number, count in zip(bins, counts, strict=True):
                add_histogram(self.bins, {number: count})
        elif held is None or len(held) % _PAIR:
            self.unreadable.append(shard)
        else:
            self.n -= n
            self.sum -= total
            add_histogram(self.bins, decode_histogram(held), -1)

    def correction(self) -> Correction | None:
        """Say by how much the bucket is wrong; None where it is right."""
        if not (self.n or self.sum or self.bins):
            return None
        return Correction(*self.key, self.n, self.sum, histogram=encode_histogram(self.bins))


async def _correct_timed(
    connection: Connection, table: str, arguments: Sequence[Any], *, write: bool
) -> Corrected:
    metric = arguments[0]
    cursor = await connection.cursor(_TIMED[table], *arguments)
    cell = _Cell((0, 0, 0))
    wrong: list[Correction] = []
    done = Corrected(0, 0)

    async def settle(last: _Cell, *, now: bool) -> Corrected:
        correction = last.correction()
        if correction is not None:
            wrong.append(correction)
        if write and last.unreadable:
            at, dimension, value = last.key
            n = len(last.unreadable)
            rows = ([dimension] * n, [at] * n, [value] * n, last.unreadable)
            await connection.execute(_REMOVE[table], metric, *rows)
        if write and (now or len(wrong) >= _AT_ONCE):
            await _add(connection, table, metric, wrong)
            wrong.clear()
        return Corrected(correction is not None, len(last.unreadable))

    while rows := await cursor.fetch(_AT_ONCE):
        for row in rows:
            key = (row[0], row[1], row[2])
            if key != cell.key:
                done += await settle(cell, now=False)
                cell = _Cell(key)
            cell.add(row)
    return done + await settle(cell, now=True)


async def _add(connection: Connection, table: str, metric: int, wrong: Iterable[Correction]) -> None:
    # Sorted as the key is: whoever else adds rows here one day will not wait in a circle.
    ordered = sorted(wrong, key=lambda one: (one.dimension, one.at, one.value))
    if ordered:
        await connection.execute(_CORRECT[table], metric, *map(list, zip(*ordered, strict=True)))
