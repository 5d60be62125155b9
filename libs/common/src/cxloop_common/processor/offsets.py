"""The positions of a service in its topics, kept in PostgreSQL beside the state they belong to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import asyncpg

from cxloop_common.kafka.records import Partition


@dataclass(frozen=True)
class Position:
    """A row of `offsets`."""

    topic_id: str
    shard: int
    next_offset: int
    poison_streak: int
    paused: str | None


_COLUMNS = "topic, partition, topic_id, shard, next_offset, poison_streak, paused"
_WANTED = "(SELECT * FROM unnest($1::text[], $2::int[]) AS wanted(topic, partition))"
_READ = f"SELECT {_COLUMNS} FROM offsets WHERE (topic, partition) IN {_WANTED}"
# One order for all workers, so that two that claim the same partitions wait and never deadlock. The row lock is
# also the lock on the buckets of the row's shard.
_FENCE = f"{_READ} ORDER BY topic, partition FOR UPDATE"
# NOT EXISTS first: ON CONFLICT alone would draw a shard number for every row that is there already.
_INSERT = """
INSERT INTO offsets (topic, partition, topic_id, next_offset)
SELECT n.topic, n.partition, n.topic_id, n.next_offset
FROM unnest($1::text[], $2::int[], $3::text[], $4::bigint[]) AS n(topic, partition, topic_id, next_offset)
WHERE NOT EXISTS (SELECT FROM offsets o WHERE (o.topic, o.partition) = (n.topic, n.partition))
ORDER BY n.topic, n.partition
ON CONFLICT (topic, partition) DO NOTHING
"""
_ADVANCE = """
UPDATE offsets o SET next_offset = n.next_offset, poison_streak = n.poison_streak, paused = n.paused
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::int[], $5::text[])
  AS n(topic, partition, next_offset, poison_streak, paused)
WHERE (o.topic, o.partition) = (n.topic, n.partition)
"""
_RELEASE = """
UPDATE offsets SET paused = NULL, poison_streak = 0
WHERE paused IS NOT NULL AND ($1::text IS NULL OR topic = $1) AND ($2::int IS NULL OR partition = $2)
RETURNING topic, partition
"""
_ACCEPT_LOSS = """
UPDATE offsets SET topic_id = $3, next_offset = $4, poison_streak = 0, paused = NULL
WHERE topic = $1 AND partition = $2
"""

# asyncpg's pool hands out proxies with the same methods.
Connection = Any


def _positions(rows: Iterable[asyncpg.Record]) -> dict[Partition, Position]:
    return {
        Partition(row["topic"], row["partition"]): Position(
            row["topic_id"], row["shard"], row["next_offset"], row["poison_streak"], row["paused"]
        )
        for row in rows
    }


def _columns(places: Iterable[Partition]) -> tuple[list[str], list[int]]:
    ordered = sorted(places)
    return [place.topic for place in ordered], [place.number for place in ordered]


async def read(connection: Connection, places: Iterable[Partition]) -> dict[Partition, Position]:
    """Read positions without locking."""
    return _positions(await connection.fetch(_READ, *_columns(places)))


async def lock(connection: Connection, places: Iterable[Partition]) -> dict[Partition, Position]:
    """Lock positions for this transaction and read them; waits for whoever holds them now."""
    return _positions(await connection.fetch(_FENCE, *_columns(places)))


async def insert(connection: Connection, starts: Mapping[Partition, tuple[str, int]]) -> None:
    """Make rows for partitions that have none: (topic id, the log's start)."""
    places = sorted(starts)
    await connection.execute(
        _INSERT,
        [place.topic for place in places],
        [place.number for place in places],
        [starts[place][0] for place in places],
        [starts[place][1] for place in places],
    )


async def advance(connection: Connection, moves: Mapping[Partition, tuple[int, int, str | None]]) -> None:
    """Move locked rows to (next offset, poison streak, paused)."""
    places = sorted(moves)
    await connection.execute(
        _ADVANCE,
        [place.topic for place in places],
        [place.number for place in places],
        [moves[place][0] for place in places],
        [moves[place][1] for place in places],
        [moves[place][2] for place in places],
    )


async def release(
    connection: Connection, topic: str | None = None, partition: int | None = None
) -> list[Partition]:
    """Let paused partitions go on; return which they were. The worker notices within seconds."""
    rows = await connection.fetch(_RELEASE, topic, partition)
    return [Partition(cast("str", row["topic"]), cast("int", row["partition"])) for row in rows]


async def accept_loss(connection: Connection, place: Partition, topic_id: str, log_start: int) -> None:
    """Go on from the log's start although records before it were never seen: an operator's decision."""
    await connection.execute(_ACCEPT_LOSS, place.topic, place.number, topic_id, log_start)


async def all_positions(connection: Connection) -> dict[Partition, Position]:
    """Read every position of the service."""
    return _positions(await connection.fetch(f"SELECT {_COLUMNS} FROM offsets ORDER BY topic, partition"))
