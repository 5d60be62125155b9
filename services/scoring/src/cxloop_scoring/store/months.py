"""Partitions of the ledger, one a month, made before anything falls into them."""

from datetime import datetime

import asyncpg

from cxloop_common.database import Database

MONTHS_BEHIND = 13
MONTHS_AHEAD = 3


def _month(year: int, month: int, by: int) -> tuple[int, int]:
    months = year * 12 + month - 1 + by
    return months // 12, months % 12 + 1


async def make_months(database: Database, now: datetime) -> int:
    """Make the missing partitions from 13 months back to 3 months ahead; give how many were made.

    A month that already has rows in the default partition stays there: they would have to be moved, and
    nothing but the age of a partition is gained by it.
    """
    made = 0
    connection = await database.connect()
    try:
        for by in range(-MONTHS_BEHIND, MONTHS_AHEAD + 1):
            made += await _make(connection, *_month(now.year, now.month, by))
    finally:
        await connection.close()
    return made


async def _make(connection: asyncpg.Connection, year: int, month: int) -> int:
    name = f"ledger_{year:04}_{month:02}"
    if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
        return 0
    year_after, month_after = _month(year, month, 1)
    try:
        async with connection.transaction():
            # Making a partition locks the whole ledger for a moment: rather try again later than queue up.
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            await connection.execute(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF ledger FOR VALUES "
                f"FROM ('{year:04}-{month:02}-01 00:00+00') TO ('{year_after:04}-{month_after:02}-01 00:00+00')"
            )
    except (asyncpg.CheckViolationError, asyncpg.LockNotAvailableError, asyncpg.DuplicateTableError):
        return 0
    return 1
