"""Configurations that documents were ever booked with, numbered in the order in which they were first met."""

import json
from typing import NamedTuple

from cxloop_scoring.store.connection import Connection

# The lock makes numbers follow commits: no configuration appears behind a higher one that is already in use.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('cxloop.configurations.' || current_schema(), 0))"
_REGISTER = """
    INSERT INTO configurations (digest, content) SELECT $1, $2
    WHERE NOT EXISTS (SELECT FROM configurations WHERE digest = $1)
"""
_NEWEST = "SELECT number, content FROM configurations ORDER BY number DESC LIMIT 1"
_BOOKINGS = "SELECT number, content::json ->> $1 FROM configurations WHERE number < $2 ORDER BY number DESC"

BOOKING = "booking"
"""Key of a content under which it says, as text, how documents are booked."""


class Configuration(NamedTuple):
    """A configuration in force."""

    number: int
    """That of the first of those that follow each other and book alike; 0 where nothing was booked otherwise."""
    booking: str | None
    """What tells apart how documents are booked."""
    content: str


async def newest(connection: Connection, unconfigured: str) -> Configuration | None:
    """Give the configuration with the highest number; None where none was ever registered.

    unconfigured: how documents are booked where there is no configuration, which is number 0.
    """
    row = await connection.fetchrow(_NEWEST)
    if row is None:
        return None
    number, content = row
    booking = json.loads(content).get(BOOKING)
    for earlier in (*await connection.fetch(_BOOKINGS, BOOKING, number), (0, unconfigured)):
        if earlier[1] != booking:
            break
        number = earlier[0]
    return Configuration(number, booking, content)


async def register(connection: Connection, digest: bytes, content: str, unconfigured: str) -> Configuration:
    """Register a configuration, unless it was met before; give the newest, which is the one in force.

    An earlier configuration that comes back does not win: its number is lower than that of what followed it.
    """
    async with connection.transaction():
        await connection.execute(_LOCK)
        await connection.execute(_REGISTER, digest, content)
        found = await newest(connection, unconfigured)
    if found is None:
        raise LookupError("the configuration was deleted while it was being registered")
    return found
