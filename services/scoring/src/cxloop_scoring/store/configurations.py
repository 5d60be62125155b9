"""Configurations that documents were ever booked with, numbered in the order in which they were first met."""

from typing import NamedTuple

from cxloop_scoring.store.connection import Connection

# The lock makes numbers follow commits: no configuration appears behind a higher one that is already in use.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('cxloop.configurations.' || current_schema(), 0))"
_REGISTER = """
    INSERT INTO configurations (digest, content) SELECT $1, $2
    WHERE NOT EXISTS (SELECT FROM configurations WHERE digest = $1)
"""
_NEWEST = "SELECT number, digest, content FROM configurations ORDER BY number DESC LIMIT 1"


class Configuration(NamedTuple):
    """A configuration in force; number 0 stands for none at all."""

    number: int
    digest: bytes
    content: str


async def newest(connection: Connection) -> Configuration | None:
    """Give the configuration with the highest number; None where none was ever registered."""
    row = await connection.fetchrow(_NEWEST)
    return None if row is None else Configuration(*row)


async def register(connection: Connection, digest: bytes, content: str) -> Configuration:
    """Register a configuration, unless it was met before; give the newest, which is the one in force.

    An earlier configuration that comes back does not win: its number is lower than that of what followed it.
    """
    async with connection.transaction():
        await connection.execute(_LOCK)
        await connection.execute(_REGISTER, digest, content)
        row = await connection.fetchrow(_NEWEST)
    if row is None:
        raise LookupError("the configuration was deleted while it was being registered")
    return Configuration(*row)
