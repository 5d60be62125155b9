"""Partitions of the ledger, one a month: made before anything falls into them, dropped when their time is over.

What retention leaves behind: buckets by day, for a backlog adds up everything since the beginning; ledger rows
of metrics that questions read from before any window (`LIFELONG`), unchanged, in the default partition; and
the time from which on the ledger is complete. Buckets by hour go with the ledger: a window that does not end
or begin with a day reads its edges there, so none of them answers anything that the ledger does not reach.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg

from cxloop_common.database import Database
from cxloop_scoring.domain.dimensions import BUILT_IN
from cxloop_scoring.domain.metrics import LIFELONG, MetricNumber
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.rebuilding import BusyError, rebuild_lock

MONTHS_AHEAD: Final = 3
RETENTION_DAYS: Final = 400
_DELETED_AT_ONCE: Final = 10_000

# A change of partitions locks the whole ledger for a moment: rather try again later than queue up.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
_PARTITIONS = """
    SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'ledger'::regclass ORDER BY c.relname
"""
_NAME = re.compile(r"ledger_(\d{4})_(\d{2})")
_LEDGER_FROM = "SELECT ledger_from FROM retention"
_ADVANCE = """
    INSERT INTO retention (ledger_from) VALUES ($1)
    ON CONFLICT (single) DO UPDATE SET ledger_from = greatest(retention.ledger_from, excluded.ledger_from)
"""
_DELETE_ROWS = """
    DELETE FROM ledger_other WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM ledger_other WHERE metric = $1 AND at < $2 LIMIT $3
    ))
"""
_DELETE_HOURS = """
    DELETE FROM bucket_hour WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM bucket_hour WHERE metric = $1 AND dimension = $2 AND at < $3 LIMIT $4
    ))
"""


class Ended(NamedTuple):
    """What retention took away."""

    months: int = 0
    """Partitions dropped."""
    rows: int = 0
    """Ledger rows deleted one by one: late ones, and those that no month was made for."""
    hours: int = 0
    """Buckets by hour."""


def _months_after(month: datetime, by: int) -> datetime:
    months = month.year * 12 + month.month - 1 + by
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def oldest_month(now: datetime, retention_days: int) -> datetime:
    """Give the start of the oldest month that is kept: the one that the retention reaches into."""
    return _months_after(now.astimezone(UTC) - timedelta(days=retention_days), 0)


async def ledger_from(connection: Connection) -> datetime | None:
    """Give the time from which on the ledger is complete; None where nothing was ever dropped.

    Read it after the ledger, in one transaction: having read the ledger holds up a month's end, so that what
    was read is at least as complete as this says.
    """
    return await connection.fetchval(_LEDGER_FROM)


async def make_months(database: Database, now: datetime, retention_days: int = RETENTION_DAYS) -> int:
    """Make the missing partitions of all months that are kept, up to 3 months ahead; give how many were made.

    A month that has begun and has rows in the default partition stays there: they would have to be moved, and
    nothing but the age of a partition is gained by it. Of a month to come those are the due times of long targets
    alone, and they are moved: else one of them would keep the whole month out of a partition.
    """
    made = 0
    now = now.astimezone(UTC)
    connection = await database.connect()
    try:
        month = oldest_month(now, retention_days)
        last = _months_after(now, MONTHS_AHEAD)
        while month <= last:
            after = _months_after(month, 1)
            made += await _make(connection, month, after, move=month > now)
            month = after
    finally:
        await connection.close()
    return made


def _name_of(month: datetime) -> str:
    return f"ledger_{month.year:04}_{month.month:02}"


async def _make(connection: asyncpg.Connection, month: datetime, after: datetime, *, move: bool) -> int:
    name = _name_of(month)
    if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
        return 0
    span = f"FOR VALUES FROM ('{month:%Y-%m-%d} 00:00+00') TO ('{after:%Y-%m-%d} 00:00+00')"
    try:
        try:
            async with connection.transaction():
                await connection.execute(_LOCK_TIMEOUT)
                await connection.execute(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF ledger {span}")
        except asyncpg.CheckViolationError:
            if not move:
                return 0
            # A rebuild reads from one snapshot, in which rows that move would be in neither place.
            async with rebuild_lock(connection), connection.transaction():
                await _move(connection, name, span, month, after)
    except (
        BusyError,
        asyncpg.CheckViolationError,
        asyncpg.LockNotAvailableError,
        asyncpg.DeadlockDetectedError,
        asyncpg.DuplicateTableError,
    ):
        return 0
    return 1


async def _move(
    connection: asyncpg.Connection, name: str, span: str, month: datetime, after: datetime
) -> None:
    """Make a partition of what the default one holds of a month."""
    await connection.execute(_LOCK_TIMEOUT)
    await connection.execute(f"CREATE TABLE {name} (LIKE ledger)")
    await connection.execute(
        f"""
        WITH moved AS (DELETE FROM ledger_other WHERE at >= $1 AND at < $2 RETURNING *)
        INSERT INTO {name} SELECT * FROM moved
        """,
        month,
        after,
    )
    await connection.execute(f"ALTER TABLE ledger ATTACH PARTITION {name} {span}")


async def end_months(database: Database, now: datetime, retention_days: int = RETENTION_DAYS) -> Ended:
    """Drop the months that are wholly older than the retention; what is in use meanwhile is left for next time."""
    oldest = oldest_month(now, retention_days)
    connection = await database.connect()
    try:
        async with rebuild_lock(connection):
            return await _end(connection, oldest)
    except (BusyError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return Ended()
    finally:
        await connection.close()


async def _end(connection: asyncpg.Connection, oldest: datetime) -> Ended:
    months = 0
    for month in await _partitions(connection):
        if month < oldest:
            await _drop(connection, month)
            months += 1
    # From here on nobody counts on what is older, so it may go bit by bit.
    await connection.execute(_ADVANCE, oldest)
    rows = 0
    for number in MetricNumber:
        if number not in LIFELONG:
            rows += await _delete(connection, _DELETE_ROWS, int(number), oldest)
    hours = 0
    first_hour = int(oldest.timestamp()) // 3600
    declared = [row[0] for row in await connection.fetch("SELECT id FROM dimensions")]
    for number in MetricNumber:
        for dimension in (0, *BUILT_IN.values(), *declared):
            hours += await _delete(connection, _DELETE_HOURS, int(number), dimension, first_hour)
    return Ended(months, rows, hours)


async def _partitions(connection: asyncpg.Connection) -> list[datetime]:
    """Give the months that have a partition, oldest first."""
    found = [_NAME.fullmatch(row[0]) for row in await connection.fetch(_PARTITIONS)]
    return [datetime(int(name[1]), int(name[2]), 1, tzinfo=UTC) for name in found if name]


async def _drop(connection: asyncpg.Connection, month: datetime) -> None:
    name = _name_of(month)
    async with connection.transaction():
        await connection.execute(_LOCK_TIMEOUT)
        await connection.execute(f"ALTER TABLE ledger DETACH PARTITION {name}")
        # No month takes them now, so they go to the default partition.
        await connection.execute(
            f"INSERT INTO ledger SELECT * FROM {name} WHERE metric = ANY($1::int2[])", sorted(LIFELONG)
        )
        await connection.execute(f"DROP TABLE {name}")
        await connection.execute(_ADVANCE, _months_after(month, 1))


async def _delete(connection: asyncpg.Connection, statement: str, *arguments: object) -> int:
    """Delete in small batches, each committed by itself: no worker waits for more than one of them."""
    deleted = 0
    while True:
        done = await connection.execute(statement, *arguments, _DELETED_AT_ONCE)
        some = int(done.rpartition(" ")[2])
        deleted += some
        if some < _DELETED_AT_ONCE:
            return deleted
