"""Identifiers, their pairs and the components they form, under one lock order.

The order of every transaction: new identifiers by hash; the bucket of each component concerned, ascending; then
pairs and mapping; documents, tickets first, by key; events by key. READ COMMITTED: what is read after a lock is
what the last holder committed.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from cxloop_journey.domain.identity import Candidate, Member, Pair, Placement, is_shared, partition
from cxloop_journey.store.tables import BUCKETS

Connection = Any
"""asyncpg's connection or a pool's proxy of one, inside a transaction."""

_COLUMNS: Final = "id, hash, scheme, first_seen, shared, root, customer"


class Sighting(NamedTuple):
    """An identifier as a batch carries it, with the least time at which it was seen."""

    scheme: str
    value: str
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """A row of `identifiers`."""

    id: int
    hash: bytes
    scheme: str
    first_seen: datetime
    shared: bool
    root: int
    customer: int


@dataclass(slots=True)
class LinkCounts:
    """What linking did, for tests and metrics."""

    restarts: int = 0
    shared: int = 0
    evaluated: int = 0
    moved: int = 0


@dataclass(slots=True)
class Linked:
    """The outcome of linking a batch."""

    touched: set[int] = field(default_factory=set[int])
    """Identifiers whose customers have to be looked at again."""
    flipped: bool = False
    """Whether an identifier turned out to be shared, so that rows have to move."""


_INSERT: Final = f"""
INSERT INTO identifiers (id, hash, scheme, value, first_seen, root, customer) OVERRIDING SYSTEM VALUE
SELECT n, hash, scheme, value, first_seen, n, n FROM (
  SELECT nextval(pg_get_serial_sequence('identifiers', 'id')) AS n, hash, scheme, value, first_seen
  FROM unnest($1::bytea[], $2::text[], $3::text[], $4::timestamptz[])
    WITH ORDINALITY AS new(hash, scheme, value, first_seen, place)
  ORDER BY place) numbered
ON CONFLICT (hash) DO NOTHING RETURNING {_COLUMNS}
"""
_BY_HASH: Final = f"SELECT {_COLUMNS} FROM identifiers WHERE hash = ANY($1::bytea[])"
_BY_ID: Final = f"SELECT {_COLUMNS} FROM identifiers WHERE id = ANY($1::bigint[])"
_KNOWN_PAIRS: Final = """
SELECT p.a, p.b, p.first_seen FROM unnest($1::bigint[], $2::bigint[]) AS k(a, b) JOIN pairs p USING (a, b)
"""
_ROOTS: Final = """
SELECT DISTINCT root FROM identifiers
WHERE id = ANY($1::bigint[]) AND (NOT shared OR id = ANY($2::bigint[]))
"""
_LOCK: Final = "SELECT FROM locks WHERE bucket = ANY($1::int[]) ORDER BY bucket FOR NO KEY UPDATE"
_EARLIER: Final = """
UPDATE identifiers i SET first_seen = LEAST(i.first_seen, k.first_seen)
FROM unnest($1::bigint[], $2::timestamptz[]) AS k(id, first_seen) WHERE i.id = k.id
"""
_INSERT_PAIRS: Final = """
INSERT INTO pairs SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[])
ON CONFLICT (a, b) DO UPDATE SET first_seen = excluded.first_seen WHERE excluded.first_seen < pairs.first_seen
"""
# All pairs count, those with shared partners too: see `domain.identity.is_shared`.
_PARTNERS: Final = """
WITH ends AS (SELECT id FROM identifiers WHERE id = ANY($1::bigint[]) AND NOT shared),
  partners AS (SELECT ends.id, p.b AS other FROM ends JOIN pairs p ON p.a = ends.id
    UNION ALL SELECT ends.id, p.a FROM ends JOIN pairs p ON p.b = ends.id)
SELECT partners.id, i.scheme, count(*) AS n FROM partners JOIN identifiers i ON i.id = other GROUP BY 1, 2
"""
_FLIP: Final = """
UPDATE identifiers SET shared = true, root = id, customer = id,
  version = CASE WHEN customer <> id THEN nextval('journey_versions') ELSE version END
WHERE id = ANY($1::bigint[])
"""
_NEIGHBOUR_ROOTS: Final = """
SELECT DISTINCT root FROM identifiers WHERE NOT shared AND id IN (
  SELECT b FROM pairs WHERE a = ANY($1::bigint[]) UNION SELECT a FROM pairs WHERE b = ANY($1::bigint[]))
"""
_MEMBERS: Final = f"""
SELECT {_COLUMNS} FROM identifiers WHERE NOT shared AND root IN (
  SELECT root FROM identifiers WHERE id = ANY($1::bigint[]) UNION SELECT unnest($2::bigint[]))
"""
_PLACE: Final = """
UPDATE identifiers i SET root = k.root, customer = k.customer,
  version = CASE WHEN i.customer <> k.customer THEN nextval('journey_versions') ELSE i.version END
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS k(id, root, customer) WHERE i.id = k.id
"""


def _read(rows: Iterable[asyncpg.Record]) -> Iterable[Known]:
    return (Known(*row) for row in rows)


async def resolve(
    connection: Connection, sightings: Mapping[bytes, Sighting]
) -> tuple[dict[bytes, Known], frozenset[int]]:
    """Read the identifiers by hash and insert the missing ones; also gives the ids that are new."""
    if not sightings:
        return {}, frozenset()
    known = {one.hash: one for one in _read(await connection.fetch(_BY_HASH, list(sightings)))}
    missing = sorted(hash_ for hash_ in sightings if hash_ not in known)
    if not missing:
        return known, frozenset()
    new = [sightings[hash_] for hash_ in missing]
    rows = await connection.fetch(
        _INSERT,
        missing,
        [one.scheme for one in new],
        [one.value for one in new],
        [one.first_seen for one in new],
    )
    fresh = list(_read(rows))
    known.update((one.hash, one) for one in fresh)
    if beaten := [hash_ for hash_ in missing if hash_ not in known]:
        # Another worker inserted them first; ON CONFLICT has waited for its COMMIT.
        known.update((one.hash, one) for one in _read(await connection.fetch(_BY_HASH, beaten)))
    return known, frozenset(one.id for one in fresh)


async def candidates(connection: Connection, ids: Collection[int]) -> dict[int, Candidate]:
    """Read identifiers as places to hang events on."""
    if not ids:
        return {}
    rows = await connection.fetch(_BY_ID, sorted(ids))
    return {one.id: Candidate(one.id, one.scheme, one.hash, one.shared) for one in _read(rows)}


async def new_pairs(
    connection: Connection, pairs: Mapping[tuple[int, int], datetime]
) -> dict[tuple[int, int], datetime]:
    """Keep the pairs that are not known, or known only from a later event."""
    if not pairs:
        return {}
    keys = list(pairs)
    rows = await connection.fetch(_KNOWN_PAIRS, [key[0] for key in keys], [key[1] for key in keys])
    known = {(row[0], row[1]): row[2] for row in rows}
    return {key: at for key, at in pairs.items() if key not in known or at < known[key]}


async def lock_components(
    connection: Connection,
    ends: Collection[int],
    *,
    also_shared: Collection[int] = (),
    fresh: Collection[int] = (),
    counts: LinkCounts | None = None,
) -> None:
    """Lock the component of each identifier in `ends`, ascending by bucket.

    A root that moved while we waited widens the set, and we start again from the savepoint: a lock taken out of
    order could deadlock. Shared identifiers join nothing and are left out, unless named in `also_shared`. What
    this transaction inserted itself, `fresh`, nobody else can hold.

    The buckets are rows of their own. Locking the root's own row deadlocks: a waiter may hold a row that has
    stopped being a root, which the one it waits for must update.
    """
    wanted: set[int] = set()
    ids, shared = list(ends), list(also_shared)
    savepoint: Any = None
    while True:
        roots = await connection.fetch(_ROOTS, ids, shared)
        buckets = {row[0] % BUCKETS for row in roots if row[0] not in fresh}
        if buckets <= wanted:
            break
        if savepoint is not None:
            await savepoint.rollback()
            if counts is not None:
                counts.restarts += 1
        savepoint = connection.transaction()
        await savepoint.start()
        wanted |= buckets
        await connection.execute(_LOCK, sorted(wanted))
    if savepoint is not None:
        await savepoint.commit()


async def link(
    connection: Connection,
    pairs: Mapping[tuple[int, int], datetime],
    earlier: Mapping[int, datetime],
    *,
    fresh: Collection[int] = (),
    counts: LinkCounts | None = None,
) -> Linked:
    """Insert pairs and earlier first sightings, then place again exactly the components that they touch."""
    counts = counts or LinkCounts()
    paired = sorted({end for pair in pairs for end in pair})
    ends = sorted({*paired, *earlier})
    await lock_components(connection, ends, also_shared=earlier, fresh=fresh, counts=counts)
    linked = Linked(touched={*earlier})
    if earlier:
        await connection.execute(_EARLIER, list(earlier), list(earlier.values()))
    flipped: list[int] = []
    if pairs:
        keys = sorted(pairs)
        await connection.execute(
            _INSERT_PAIRS, [key[0] for key in keys], [key[1] for key in keys], [pairs[key] for key in keys]
        )
        flipped = await _turn_shared(connection, paired, linked)
        counts.shared += len(flipped)
    neighbours: list[asyncpg.Record] = await connection.fetch(_NEIGHBOUR_ROOTS, flipped) if flipped else []
    members = {
        one.id: one for one in _read(await connection.fetch(_MEMBERS, ends, [row[0] for row in neighbours]))
    }
    await _place(connection, members, linked, counts)
    return linked


async def _turn_shared(connection: Connection, ends: list[int], linked: Linked) -> list[int]:
    partners: dict[int, dict[str, int]] = {}
    for row in await connection.fetch(_PARTNERS, ends):
        partners.setdefault(row["id"], {})[row["scheme"]] = row["n"]
    flipped = sorted(id_ for id_, by_scheme in partners.items() if is_shared(by_scheme))
    if flipped:
        before = _read(await connection.fetch(_BY_ID, flipped))
        linked.touched |= {*flipped, *(one.customer for one in before)}
        linked.flipped = True
        await connection.execute(_FLIP, flipped)
        await connection.execute(
            "INSERT INTO repairs (identifier) SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING", flipped
        )
    return flipped


def _contested(placements: Iterable[Placement]) -> set[int]:
    """Give the founders of components that are more than one customer: their cards say so."""
    founders: dict[int, set[int]] = {}
    for placement in placements:
        founders.setdefault(placement.root, set()).add(placement.founder)
    return {founder for found in founders.values() if len(found) > 1 for founder in found}


async def _place(
    connection: Connection, members: Mapping[int, Known], linked: Linked, counts: LinkCounts
) -> None:
    if not members:
        return
    ids = list(members)
    rows = await connection.fetch("SELECT a, b, first_seen FROM pairs WHERE a = ANY($1::bigint[])", ids)
    live = [Pair(*row) for row in rows if row[1] in members]
    placements = partition(
        {id_: Member(one.hash, one.scheme, one.first_seen) for id_, one in members.items()}, live
    )
    moved = {
        id_: placement
        for id_, placement in placements.items()
        if (members[id_].root, members[id_].customer) != placement
    }
    counts.evaluated += len(members)
    linked.touched |= _contested(placements.values())
    if not moved:
        return
    counts.moved += len(moved)
    keys = sorted(moved)
    await connection.execute(
        _PLACE, keys, [moved[key].root for key in keys], [moved[key].founder for key in keys]
    )
    for id_, placement in moved.items():
        linked.touched |= {id_, members[id_].customer, placement.founder}
