"""Questions to buckets and ledger, answered as sums by span and group."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cxloop_common.database import Database
from cxloop_scoring.domain.answers import Sums
from cxloop_scoring.domain.dimensions import BUILT_IN, COLUMNS, storable
from cxloop_scoring.domain.histogram import add_histogram, decode_histogram
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.questions import Filter, Population, Question
from cxloop_scoring.domain.windows import Span, layers
from cxloop_scoring.store.connection import Connection

GroupSums = dict[tuple[int, str | None], Sums]
"""Sums by number of the span and group; the group is None where none was asked for."""

_RAW = dict[tuple[int, int], Sums]
"""The same with value ids; 0 is the total."""


@dataclass
class Parameters:
    """Parameters of one statement, numbered as they are added."""

    values: list[Any] = field(default_factory=list[Any])

    def add(self, value: Any) -> str:
        """Add a value and give its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"


def _spans_of(parts: Iterable[tuple[int, Span]]) -> tuple[list[int], list[int], list[int]]:
    places, since, until = list[int](), list[int](), list[int]()
    for place, span in parts:
        places.append(place)
        since.append(span.since)
        until.append(span.until)
    return places, since, until


_BUCKET_SPANS = "unnest($1::int4[], $2::int4[], $3::int4[]) AS s (place, since, until)"


def _score_sums(table: str) -> str:
    return f"""
        SELECT s.place, b.value, sum(b.n)::int8, sum(b.sum)::int8, sum(b.squares)::int8,
               sum(b.low)::int8, sum(b.middle)::int8, sum(b.high)::int8
        FROM {_BUCKET_SPANS}
        JOIN {table} AS b ON b.metric = $4 AND b.dimension = $5 AND b.at >= s.since AND b.at < s.until
        WHERE $6::int4 IS NULL OR b.value = $6
        GROUP BY s.place, b.value
    """


def _duration_rows(table: str) -> str:
    return f"""
        SELECT s.place, b.value, b.n, b.sum, b.histogram
        FROM {_BUCKET_SPANS}
        JOIN {table} AS b ON b.metric = $4 AND b.dimension = $5 AND b.at >= s.since AND b.at < s.until
        WHERE $6::int4 IS NULL OR b.value = $6
    """


async def known_dimensions(connection: Connection) -> dict[str, int]:
    """Give the numbers of all dimensions by name: built-in ones first, then declared ones by name."""
    rows = await connection.fetch("SELECT name, id FROM dimensions ORDER BY name")
    return {**BUILT_IN, **{row[0]: row[1] for row in rows}}


async def value_ids(
    connection: Connection, where: Sequence[Filter], numbers: Mapping[str, int]
) -> list[int] | None:
    """Give the value id of each condition; None where a value was never seen, so that nothing can match."""
    ids: list[int] = []
    for item in where:
        found = await connection.fetchval(
            "SELECT id FROM dimension_values WHERE dimension = $1 AND value = $2",
            numbers[item.dimension],
            storable(item.value),
        )
        if found is None:
            return None
        ids.append(found)
    return ids


class UnknownDimensionError(LookupError):
    """A question names a dimension that nothing was ever filed under."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known = tuple(known)
        super().__init__("no such dimension")


class Questions:
    """Answers questions from one snapshot each: a batch that commits meanwhile is seen whole or not at all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def dimensions(self) -> list[str]:
        """Name all dimensions there are."""
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            return list(await known_dimensions(connection))

    async def sums(self, question: Question) -> GroupSums:
        """Add up what a question asks for. Raises UnknownDimensionError."""
        pool = await self._database.pool()
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            numbers = await known_dimensions(connection)
            if not numbers.keys() >= question.dimensions:
                raise UnknownDimensionError(numbers)
            ids = await value_ids(connection, question.where, numbers)
            if ids is None:
                return {}
            if question.needs_ledger:
                spans = list(enumerate(question.spans))
                raw = await _from_ledger(connection, question, spans, ids, numbers)
            else:
                raw = await _from_buckets(connection, question, ids, numbers)
            return await _named(connection, raw, grouped=question.by is not None)


async def _from_buckets(
    connection: Connection,
    question: Question,
    ids: Sequence[int],
    numbers: Mapping[str, int],
) -> _RAW:
    """Read whole days and hours from buckets and the edges from the ledger."""
    only = ids[0] if ids else None
    name = question.by or (question.where[0].dimension if question.where else None)
    dimension = 0 if name is None else numbers[name]
    parts = [(place, layers(span)) for place, span in enumerate(question.spans)]
    raw: _RAW = {}
    for table, spans in (
        ("bucket_day", [(place, span) for place, part in parts for span in part.days]),
        ("bucket_hour", [(place, span) for place, part in parts for span in part.hours]),
    ):
        if spans:
            _merge(raw, await _from_table(connection, question, table, spans, (dimension, only)))
    edges = [(place, span) for place, part in parts for span in part.edges]
    if edges:
        _merge(raw, await _from_ledger(connection, question, edges, ids, numbers))
    if question.by is None:
        total: _RAW = {}
        for (place, _), sums in raw.items():
            total.setdefault((place, 0), Sums()).add(sums)
        return total
    return raw


async def _from_table(
    connection: Connection,
    question: Question,
    table: str,
    spans: Sequence[tuple[int, Span]],
    cell: tuple[int, int | None],
) -> _RAW:
    """Read one table of buckets; `cell` is a dimension's number, and a value's id to read that value alone."""
    raw: _RAW = {}
    arguments = (*_spans_of(spans), int(question.metric.number), *cell)
    if not question.metric.is_duration:
        for place, value, *sums in await connection.fetch(_score_sums(table), *arguments):
            raw[place, value] = Sums(*sums)
        return raw
    for place, value, n, total, held in await connection.fetch(_duration_rows(table), *arguments):
        sums = raw.setdefault((place, value), Sums())
        sums.n += n
        sums.sum += total
        add_histogram(sums.histogram, decode_histogram(held))
    return raw


def _merge(into: _RAW, other: _RAW) -> None:
    for key, sums in other.items():
        known = into.get(key)
        if known is None:
            into[key] = sums
        else:
            known.add(sums)


def conditions(question: Question, ids: Sequence[int], parameters: Parameters) -> str:
    """Write the conditions of a question on ledger rows called `l`, time aside."""
    parts = [f"l.metric = {parameters.add(int(question.metric.number))}::int2"]
    for item, value in zip(question.where, ids, strict=True):
        placeholder = parameters.add(value)
        if item.dimension in COLUMNS:
            parts.append(f"l.{item.dimension} = {placeholder}::int4")
        else:
            parts.append(f"l.more @> ARRAY[{placeholder}::int4]")
    if question.as_of is not None:
        parts.append(f"l.recorded_at <= {parameters.add(question.as_of)}::timestamptz")
    return " AND ".join(parts)


def _grouping(question: Question, numbers: Mapping[str, int], parameters: Parameters) -> tuple[str, str]:
    """Give the group's expression and the join it needs."""
    if question.by is None:
        return "0", ""
    if question.by in COLUMNS:
        return f"l.{question.by}", ""
    number = parameters.add(numbers[question.by])
    return (
        "v.id",
        f"JOIN dimension_values AS v ON v.id = ANY(l.more) AND v.dimension = {number}::int2",
    )


_AGGREGATES = """
    sum(sign)::int8, sum(sign * value)::int8, sum(sign * value * value)::int8,
    coalesce(sum(sign) FILTER (WHERE band = 0), 0)::int8, coalesce(sum(sign) FILTER (WHERE band = 1), 0)::int8,
    coalesce(sum(sign) FILTER (WHERE band = 2), 0)::int8
"""


def ledger_rows(
    question: Question,
    ids: Sequence[int],
    numbers: Mapping[str, int],
    parameters: Parameters,
    columns: Sequence[str],
) -> str:
    """Write the part of a statement that selects signed ledger rows by span (`place`) and group (`grouped`).

    In the relationship population only the latest net response of each customer is left, in each span and
    group of its own.
    """
    group, join = _grouping(question, numbers, parameters)
    spans = "unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) AS s (place, since, until)"
    latest = question.population is Population.RELATIONSHIP
    wanted = dict.fromkeys([*columns, *(("customer", "document", "at") if latest else ())])
    rows = f"""
        SELECT s.place, {group} AS grouped, {", ".join(f"l.{name}" for name in wanted)}, l.sign
        FROM {spans}
        JOIN ledger AS l ON l.at >= s.since AND l.at < s.until
        {join}
        WHERE {conditions(question, ids, parameters)} {"" if question.by is None else f"AND {group} IS NOT NULL"}
    """
    if not latest:
        return rows
    names = ", ".join(wanted)
    # Withdrawn responses go first: they must not be anybody's latest.
    return f"""
        SELECT DISTINCT ON (place, grouped, customer) * FROM (
            SELECT place, grouped, {names}, sum(sign)::int8 AS sign
            FROM ({rows}) AS signed
            WHERE customer IS NOT NULL
            GROUP BY place, grouped, {names}
            HAVING sum(sign) > 0
        ) AS net
        ORDER BY place, grouped, customer, at DESC, document DESC
    """


async def _from_ledger(
    connection: Connection,
    question: Question,
    spans: Sequence[tuple[int, Span]],
    ids: Sequence[int],
    numbers: Mapping[str, int],
) -> _RAW:
    places, since, until = _spans_of(spans)
    parameters = Parameters([places, [instant(at) for at in since], [instant(at) for at in until]])
    picked = ledger_rows(question, ids, numbers, parameters, ("value", "band"))
    raw: _RAW = {}
    if question.metric.is_duration:
        statement = f"""
            SELECT place, grouped, duration_bin(value) AS bin, sum(sign)::int8, sum(sign * value)::int8
            FROM ({picked}) AS picked GROUP BY place, grouped, bin
        """
        for place, group, number, n, total in await connection.fetch(statement, *parameters.values):
            sums = raw.setdefault((place, group), Sums())
            sums.n += n
            sums.sum += total
            add_histogram(sums.histogram, {number: n})
        return raw
    statement = f"SELECT place, grouped, {_AGGREGATES} FROM ({picked}) AS picked GROUP BY place, grouped"
    for place, group, *sums in await connection.fetch(statement, *parameters.values):
        raw[place, group] = Sums(*sums)
    return raw


async def _named(connection: Connection, raw: _RAW, *, grouped: bool) -> GroupSums:
    if not grouped:
        return {(place, None): sums for (place, _), sums in raw.items()}
    ids = sorted({value for _, value in raw})
    rows = await connection.fetch("SELECT id, value FROM dimension_values WHERE id = ANY($1::int4[])", ids)
    names: dict[int, str] = {row[0]: row[1] for row in rows}
    return {(place, names[value]): sums for (place, value), sums in raw.items()}
