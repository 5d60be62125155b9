"""Buckets and ledger added up: one statement for each of the two, whatever is asked of how many metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cxloop_scoring.domain.answers import Sums
from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.histogram import add_histogram, decode_histogram
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.metrics import DURATIONS
from cxloop_scoring.domain.questions import Filter, Population, Question
from cxloop_scoring.domain.windows import Span, pieces
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.identities import canonical
from cxloop_scoring.store.relationship import Pieces, latest_bands

RawSums = dict[tuple[int, int, int], Sums]
"""Sums by metric number, number of the span, and value id of the group (0 is the total)."""

_NO_SQUARES = ", ".join(str(number) for number in sorted(DURATIONS))
"""Squares of milliseconds are of no use, and too large for 64 bits."""


@dataclass
class Parameters:
    """Parameters of one statement, numbered as they are added."""

    values: list[Any] = field(default_factory=list[Any])

    def add(self, value: Any) -> str:
        """Add a value and give its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"

    def moment(self, as_of: datetime | None) -> str | None:
        """Add the time whose knowledge counts and give its placeholder; None for now."""
        return None if as_of is None else self.add(as_of)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one pass adds up: metrics over spans, with the filters, group and population of a question."""

    question: Question
    numbers: tuple[int, ...]
    timed: frozenset[int]
    """Those of the numbers whose histograms are needed."""
    spans: tuple[Span, ...]
    ids: tuple[int, ...]
    """The value id of each filter."""
    dimensions: Mapping[str, int]
    """Dimension numbers by name."""
    up_to_document: str | None = None
    """Of what was recorded at `as_of` itself, only documents up to this one; None takes them all."""


def _spans_of(parts: Iterable[tuple[int, Span]]) -> tuple[list[int], list[int], list[int]]:
    places, since, until = list[int](), list[int](), list[int]()
    for place, span in parts:
        places.append(place)
        since.append(span.since)
        until.append(span.until)
    return places, since, until


def _bucket_part(table: str, first: int) -> str:
    # OFFSET 0 keeps the planner from joining the other way round: it takes a range of `s` for a third of the
    # table, however short the spans are, and would read all that there is of a metric.
    arrays = ", ".join(f"${number}::int4[]" for number in range(first, first + 4))
    return f"""
        SELECT b.metric, s.place, s.sign, b.value, b.n, b.sum, b.squares, b.low, b.middle, b.high, b.histogram
        FROM unnest({arrays}) AS s (place, since, until, sign)
        CROSS JOIN LATERAL (
            SELECT * FROM {table} AS b
            WHERE b.metric = ANY($9::int2[]) AND b.dimension = $10 AND b.at >= s.since AND b.at < s.until
                AND ($11::int4 IS NULL OR b.value = $11)
            OFFSET 0
        ) AS b
    """


# Encodings of a histogram one behind the other are their sum: they are decoded once a group, not once a row.
_BUCKETS = f"""
    SELECT metric, place, value, sum(sign * n)::int8, sum(sign * sum)::int8, sum(sign * squares)::int8,
           sum(sign * low)::int8, sum(sign * middle)::int8, sum(sign * high)::int8,
           string_agg(histogram, ''::bytea) FILTER (WHERE sign > 0 AND metric = ANY($12::int2[])),
           string_agg(histogram, ''::bytea) FILTER (WHERE sign < 0 AND metric = ANY($12::int2[]))
    FROM ({_bucket_part("bucket_day", 1)} UNION ALL {_bucket_part("bucket_hour", 5)}) AS b
    GROUP BY metric, place, value
"""

_Signed = tuple[int, tuple[int, Span]]
"""Number of the span, sign, and numbers of hours or days."""


async def add_up(connection: Connection, reading: Reading) -> RawSums:
    """Add up what a reading names; what there is nothing of is left out."""
    raw: RawSums = {}
    spans = [(place, span) for place, span in enumerate(reading.spans) if span.since < span.until]
    if not reading.question.needs_ledger:
        parts = [(place, pieces(span)) for place, span in spans]
        days = [(place, signed) for place, part in parts for signed in part.days]
        hours = [(place, signed) for place, part in parts for signed in part.hours]
        if days or hours:
            await _add_buckets(connection, reading, days, hours, raw)
        spans = [(place, span) for place, part in parts for span in part.edges]
    if spans:
        await _add_ledger(connection, reading, spans, raw)
    return {key: sums for key, sums in raw.items() if sums != Sums()}


async def _add_buckets(
    connection: Connection,
    reading: Reading,
    days: Sequence[_Signed],
    hours: Sequence[_Signed],
    into: RawSums,
) -> None:
    question, ids = reading.question, reading.ids
    name = question.by or (question.where[0].dimension if question.where else None)
    rows = await connection.fetch(
        _BUCKETS,
        *_signed_spans(days),
        *_signed_spans(hours),
        list(reading.numbers),
        0 if name is None else reading.dimensions[name],
        ids[0] if ids else None,
        list(reading.timed),
    )
    for metric, place, value, n, total, squares, low, middle, high, held, taken in rows:
        group = 0 if question.by is None else value
        sums = into.setdefault((metric, place, group), Sums())
        sums.add(Sums(n, total, squares, low, middle, high))
        if held:
            add_histogram(sums.histogram, decode_histogram(held))
        if taken:
            add_histogram(sums.histogram, decode_histogram(taken), -1)


def _signed_spans(parts: Iterable[_Signed]) -> tuple[list[int], list[int], list[int], list[int]]:
    rows = [(place, span.since, span.until, sign) for place, (sign, span) in parts]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    return columns[0], columns[1], columns[2], columns[3]


async def _add_ledger(
    connection: Connection, reading: Reading, spans: Sequence[tuple[int, Span]], into: RawSums
) -> None:
    places, since, until = _spans_of(spans)
    parameters = Parameters([places, [instant(at) for at in since], [instant(at) for at in until]])
    if reading.question.population is Population.RELATIONSHIP and reading.up_to_document is None:
        latest = await _latest_bands(connection, reading, spans)
        if latest is not None:
            into.update(latest)
            return
    picked = ledger_rows(reading, parameters, ("value", "band"))
    timed = parameters.add(list(reading.timed))
    statement = f"""
        SELECT metric, place, grouped,
            CASE WHEN metric = ANY({timed}::int2[]) THEN duration_bin(value) END AS bin,
            sum(sign)::int8, sum(sign * value)::int8,
            coalesce(sum(sign * value * value) FILTER (WHERE metric NOT IN ({_NO_SQUARES})), 0)::int8,
            coalesce(sum(sign) FILTER (WHERE band = 0), 0)::int8,
            coalesce(sum(sign) FILTER (WHERE band = 1), 0)::int8,
            coalesce(sum(sign) FILTER (WHERE band = 2), 0)::int8
        FROM ({picked}) AS picked GROUP BY metric, place, grouped, bin
    """
    for metric, place, group, number, *sums in await connection.fetch(statement, *parameters.values):
        found = into.setdefault((metric, place, group), Sums())
        found.add(Sums(*sums))
        if number is not None:
            add_histogram(found.histogram, {number: sums[0]})


async def _latest_bands(
    connection: Connection, reading: Reading, spans: Sequence[tuple[int, Span]]
) -> RawSums | None:
    places, since, until = _spans_of(spans)
    parameters = Parameters([places, [instant(at) for at in since], [instant(at) for at in until]])
    group, join = grouping(reading.question.by, reading.dimensions, parameters)
    pieces = Pieces(
        spans="unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) AS s (place, since, until)",
        group=group,
        join=join,
        metrics=parameters.add(list(reading.numbers)),
        conditions=conditions(reading, parameters),
        since=parameters.add(instant(min(since))),
        until=parameters.add(instant(max(until))),
        as_of=parameters.moment(reading.question.as_of),
    )
    return await latest_bands(connection, pieces, parameters.values)


def conditions(reading: Reading, parameters: Parameters) -> str:
    """Write the conditions of a question on ledger rows called `l`, metric and time aside."""
    question = reading.question
    written = filters(question.where, reading.ids, parameters)
    if question.as_of is not None:
        as_of = parameters.add(question.as_of)
        written += f" AND l.recorded_at <= {as_of}::timestamptz"
        if reading.up_to_document is not None:
            last = parameters.add(reading.up_to_document)
            written += f" AND (l.recorded_at < {as_of}::timestamptz OR l.document <= {last}::text)"
    return written


def known(as_of: datetime | None, parameters: Parameters, row: str = "l") -> str:
    """Write the condition that leaves out ledger rows which were recorded after `as_of`."""
    return "" if as_of is None else f" AND {row}.recorded_at <= {parameters.add(as_of)}::timestamptz"


def filters(where: Sequence[Filter], ids: Sequence[int], parameters: Parameters) -> str:
    """Write the conditions of `where` on ledger rows called `l`; ids are the value ids of the filters."""
    parts: list[str] = []
    for item, value in zip(where, ids, strict=True):
        placeholder = parameters.add(value)
        if item.dimension in COLUMNS:
            parts.append(f" AND l.{item.dimension} = {placeholder}::int4")
        else:
            parts.append(f" AND l.more @> ARRAY[{placeholder}::int4]")
    return "".join(parts)


def grouping(by: str | None, dimensions: Mapping[str, int], parameters: Parameters) -> tuple[str, str]:
    """Give the group of ledger rows called `l` (0 where none is asked for), and the join that it needs."""
    if by is None:
        return "0", ""
    if by in COLUMNS:
        return f"l.{by}", ""
    number = parameters.add(dimensions[by])
    return (
        "v.id",
        f"JOIN dimension_values AS v ON v.id = ANY(l.more) AND v.dimension = {number}::int2",
    )


def of_span(metrics: str, *, spans: int) -> str:
    """Write the ledger's rows of each span `s`; metrics is the placeholder of their numbers.

    OFFSET 0 has each of several spans read by itself, as above: otherwise every row of the metrics is compared
    with every span, 90 days with 120 edges of a series.
    """
    fence = "OFFSET 0" if spans > 1 else ""
    return f"""(
        SELECT * FROM ledger AS l
        WHERE l.metric = ANY({metrics}::int2[]) AND l.at >= s.since AND l.at < s.until {fence}
    )"""


def ledger_rows(reading: Reading, parameters: Parameters, columns: Sequence[str]) -> str:
    """Write the part of a statement that selects signed ledger rows by metric, span (`place`) and `grouped`.

    The first three parameters are the spans. In the relationship population only the latest net response of
    each customer is left, in each span and group of its own.
    """
    group, join = grouping(reading.question.by, reading.dimensions, parameters)
    metrics = parameters.add(list(reading.numbers))
    spans = "unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) AS s (place, since, until)"
    latest = reading.question.population is Population.RELATIONSHIP
    wanted = dict.fromkeys([*columns, *(("document", "at") if latest else ())])
    owner, owners = "", ""
    if latest:
        as_of = reading.question.as_of
        name, owners = canonical("l", parameters.moment(as_of))
        owner = f"{name} AS owner, "
    rows = f"""
        SELECT l.metric, s.place, {group} AS grouped, {owner}{", ".join(f"l.{name}" for name in wanted)}, l.sign
        FROM {spans}
        CROSS JOIN LATERAL {of_span(metrics, spans=len(parameters.values[0]))} AS l
        {join} {owners}
        WHERE {"TRUE" if reading.question.by is None else f"{group} IS NOT NULL"}
            {conditions(reading, parameters)}
    """
    if not latest:
        return rows
    names = ", ".join(wanted)
    # Withdrawn responses go first: they must not be anybody's latest.
    return f"""
        SELECT DISTINCT ON (metric, place, grouped, owner) * FROM (
            SELECT metric, place, grouped, owner, {names}, sum(sign)::int8 AS sign
            FROM ({rows}) AS signed
            WHERE owner IS NOT NULL
            GROUP BY metric, place, grouped, owner, {names}
            HAVING sum(sign) > 0
        ) AS net
        ORDER BY metric, place, grouped, owner, at DESC, document DESC
    """
