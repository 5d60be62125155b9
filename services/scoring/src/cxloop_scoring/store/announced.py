"""What was published of metrics: read and written by the one publisher, in its transaction."""

from collections.abc import Mapping
from typing import NamedTuple

from cxloop_scoring.domain.shifts import Heading, ShiftState
from cxloop_scoring.store.connection import Connection

_TRY_LEASE = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"


class PublishedSnapshot(NamedTuple):
    """What a series said last."""

    digest: bytes
    sequence: int


async def try_lease(connection: Connection, name: str) -> bool:
    """Take the lease of a name, which lasts as long as the connection; False while somebody else has it."""
    return bool(await connection.fetchval(_TRY_LEASE, name))


async def sequences(connection: Connection, count: int) -> list[int]:
    """Draw numbers in rising order, higher than all that were drawn before."""
    rows = await connection.fetch("SELECT nextval('published_sequence') FROM generate_series(1, $1)", count)
    return sorted(row[0] for row in rows)


async def read_digests(connection: Connection) -> dict[str, bytes]:
    """Give the digest of what each series said last."""
    rows = await connection.fetch("SELECT series, digest FROM published_snapshots")
    return {row[0]: row[1] for row in rows}


async def write_snapshots(connection: Connection, said: Mapping[str, PublishedSnapshot]) -> None:
    """Keep what series say now."""
    keys = sorted(said)
    await connection.execute(
        """
        INSERT INTO published_snapshots (series, digest, sequence)
        SELECT * FROM unnest($1::text[], $2::bytea[], $3::int8[])
        ON CONFLICT (series) DO UPDATE SET digest = excluded.digest, sequence = excluded.sequence
        """,
        keys,
        [said[key].digest for key in keys],
        [said[key].sequence for key in keys],
    )


async def read_shifts(connection: Connection) -> dict[str, ShiftState]:
    """Give what is known of every series that ever shifted."""
    rows = await connection.fetch(
        "SELECT series, looked_at, announced, announced_at, quiet_since, announcements FROM published_shifts"
    )
    return {
        row[0]: ShiftState(row[1], None if row[2] is None else Heading(row[2]), row[3], row[4], row[5])
        for row in rows
    }


async def write_shifts(connection: Connection, states: Mapping[str, ShiftState]) -> None:
    """Keep what is known of series."""
    keys = sorted(states)
    await connection.execute(
        """
        INSERT INTO published_shifts (series, looked_at, announced, announced_at, quiet_since, announcements)
        SELECT * FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[], $5::int8[], $6::int4[])
        ON CONFLICT (series) DO UPDATE SET
            looked_at = excluded.looked_at,
            announced = excluded.announced,
            announced_at = excluded.announced_at,
            quiet_since = excluded.quiet_since,
            announcements = excluded.announcements
        """,
        keys,
        [states[key].looked_at for key in keys],
        [None if (announced := states[key].announced) is None else announced.value for key in keys],
        [states[key].announced_at for key in keys],
        [states[key].quiet_since for key in keys],
        [states[key].announcements for key in keys],
    )
