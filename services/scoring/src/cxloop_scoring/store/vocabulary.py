"""Dimension values as small integers: looked up, and written down where they are new."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from cxloop_common.database import Database
from cxloop_scoring.domain.buckets import VALUE_BITS, CellKey, Resolved
from cxloop_scoring.domain.dimensions import BUILT_IN, COLUMNS, Dimensions
from cxloop_scoring.store.connection import Connection

_VALUES_KEPT = 200_000
"""Values whose numbers are kept in memory, some 20 MiB; beyond, the cache starts afresh."""
_RESOLVED_KEPT = 32_768
"""Combinations of values kept resolved, some 40 MiB: looking one up again from its values takes microseconds."""

_ADD_NAMES = """
    INSERT INTO dimensions (name) SELECT unnest($1::text[]) ON CONFLICT (name) DO NOTHING
"""
_NAMES = "SELECT name, id FROM dimensions WHERE name = ANY($1::text[])"
_ADD_VALUES = """
    INSERT INTO dimension_values (dimension, value)
    SELECT * FROM unnest($1::int2[], $2::text[]) ON CONFLICT (dimension, value) DO NOTHING
"""
_VALUES = """
    SELECT v.dimension, v.value, v.id
    FROM unnest($1::int2[], $2::text[]) AS asked (dimension, value)
    JOIN dimension_values AS v ON v.dimension = asked.dimension AND v.value = asked.value
"""

DECLARED: Final = "declared"
"""Name under which values of all declared dimensions are counted: their own names are the senders' choice."""
_BUILT_IN_NAMES: Final = {number: name for name, number in BUILT_IN.items()}

Pair = tuple[int, str]
"""A dimension's number and a value."""


class Vocabulary:
    """Resolves dimensions to numbers.

    New values are committed on a connection of their own, before the batch that needs them: an id that is
    known here exists for good, even if that batch is rolled back, and no other worker waits for it. A value
    that no batch uses in the end does no harm.
    """

    def __init__(self, database: Database, learnt: Callable[[Counter[str]], None] | None = None) -> None:
        self._database = database
        self._learnt = learnt
        """Is told how many values were new, by dimension; declared ones go under one name."""
        self._names: dict[str, int] = dict(BUILT_IN)
        self._values: dict[int, dict[str, int]] = {number: {} for number in BUILT_IN.values()}
        self._resolved: dict[Dimensions, Resolved] = {}

    async def resolve(self, wanted: Iterable[Dimensions]) -> Mapping[Dimensions, Resolved]:
        """Resolve dimensions; the mapping holds all that were asked for, and more."""
        if len(self._resolved) > _RESOLVED_KEPT:
            self._resolved = {}
        if sum(map(len, self._values.values())) > _VALUES_KEPT:
            self._values = {number: {} for number in self._names.values()}
        known = self._resolved
        unknown: list[Dimensions] = []
        for dimensions in wanted:
            if dimensions not in known:
                try:
                    known[dimensions] = self._numbers(dimensions)
                except KeyError:
                    unknown.append(dimensions)
        if unknown:
            await self._learn(unknown)
            for dimensions in unknown:
                known[dimensions] = self._numbers(dimensions)
        return known

    async def _learn(self, wanted: Iterable[Dimensions]) -> None:
        pairs = {pair for dimensions in wanted for pair in dimensions.pairs()}
        names = sorted({name for name, _ in pairs} - self._names.keys())
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            if names:
                found = await _names(connection, names)
                self._names.update(found)
                self._values.update({number: {} for number in found.values()})
            numbered = {(self._names[name], value) for name, value in pairs}
            values = sorted(pair for pair in numbered if pair[1] not in self._values[pair[0]])
            found, new = await _values(connection, values)
            for (number, value), id_ in found.items():
                self._values[number][value] = id_
        if new and self._learnt is not None:
            self._learnt(Counter(_BUILT_IN_NAMES.get(number, DECLARED) for number, _ in new))

    def _numbers(self, dimensions: Dimensions) -> Resolved:
        """Look everything up. Raises KeyError where something is not known yet."""
        held = self._values
        columns: list[int | None] = [None] * len(COLUMNS)
        cells: list[CellKey] = [0]
        for place, value in enumerate(dimensions.columns):
            if value is not None:
                id_ = columns[place] = held[place + 1][value]
                cells.append(place + 1 << VALUE_BITS | id_)
        more: list[int] = []
        for name, value in dimensions.more:
            number = self._names[name]
            id_ = held[number][value]
            more.append(id_)
            cells.append(number << VALUE_BITS | id_)
        return Resolved(tuple(columns), tuple(sorted(more)) or None, tuple(cells))


async def _names(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    rows = await connection.fetch(_NAMES, names)
    if len(rows) < len(names):
        found = {row[0] for row in rows}
        # Sorted, so that two workers who add the same ones never wait for each other in a circle.
        await connection.execute(_ADD_NAMES, [name for name in names if name not in found])
        rows = await connection.fetch(_NAMES, names)
    return {row[0]: row[1] for row in rows}


async def _values(connection: Connection, values: Sequence[Pair]) -> tuple[dict[Pair, int], list[Pair]]:
    """Give the ids of values, and those that were not known to anybody before."""
    new: list[Pair] = []
    rows = await connection.fetch(_VALUES, *_columns(values))
    if len(rows) < len(values):
        found = {(row[0], row[1]) for row in rows}
        new = [pair for pair in values if pair not in found]
        await connection.execute(_ADD_VALUES, *_columns(new))
        rows = await connection.fetch(_VALUES, *_columns(values))
    return {(row[0], row[1]): row[2] for row in rows}, new


def _columns(pairs: Sequence[Pair]) -> tuple[list[int], list[str]]:
    return [dimension for dimension, _ in pairs], [value for _, value in pairs]
