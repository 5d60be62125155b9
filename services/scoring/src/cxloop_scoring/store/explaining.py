"""The observations behind a value, and single documents."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.documents import fold, source_of
from cxloop_scoring.domain.facts import Facts, decode_facts
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.metrics import Metric, MetricNumber, Plan
from cxloop_scoring.domain.questions import Population, Question
from cxloop_scoring.domain.responses import Response
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.held import facts_of
from cxloop_scoring.store.questions import Questions, Snapshot, dimension_numbers, numbers_of, value_ids
from cxloop_scoring.store.scales import Scale, other_scales, scale_of
from cxloop_scoring.store.sums import Parameters, Reading, conditions, ledger_rows
from cxloop_scoring.store.words import named_dimensions, words_of

Position = tuple[datetime, str, int, int]
"""Time, document, metric number and value of a page's last observation."""

_FILED: Final = ", ".join(COLUMNS)
_LEDGER_COLUMNS: Final = ("document", "value", "band", "at", *COLUMNS, "more")
_SPARE_ROWS: Final = 16
_MICROSECOND: Final = timedelta(microseconds=1)

_MEETING: Final[dict[str, tuple[MetricNumber, ...]]] = {
    "first_contact_resolution": (MetricNumber.FIRST_RESOLUTION_TIME, MetricNumber.FIRST_CONTACT_RESOLUTION),
    "repeat_contact_rate": (MetricNumber.REPEAT_CONTACT_RATE,),
    "response_rate": (MetricNumber.RESPONSE_RATE, MetricNumber.SEND_UNLINKED),
    "retention": (MetricNumber.LIFECYCLE,),
    "churn": (MetricNumber.LIFECYCLE,),
    "closed_loop_rate": (MetricNumber.CASE_OPENED, MetricNumber.CASE_CLOSED),
    "recovery_rate": (MetricNumber.CASE_CLOSED,),
    "recovery_lift": (MetricNumber.CASE_OPENED, MetricNumber.CASE_CONTACTED),
    "revenue_at_risk": (MetricNumber.CASE_OPENED, MetricNumber.CUSTOMER_VALUE),
}
"""Whose observations meet in the metrics that are joined, those that n counts first."""

_REACH: Final[dict[str, dict[MetricNumber, timedelta | None]]] = {
    "retention": {MetricNumber.LIFECYCLE: None},
    "churn": {MetricNumber.LIFECYCLE: None},
    "recovery_rate": {MetricNumber.CASE_CLOSED: None},
    "revenue_at_risk": {
        MetricNumber.CASE_OPENED: None,
        MetricNumber.CUSTOMER_VALUE: timedelta(days=365),
    },
}
"""How long before a window what meets in it may lie; None is however long."""


@dataclass(frozen=True, slots=True)
class BookedObservation:
    """One observation in force."""

    metric: int
    document: str
    value: int
    band: int | None
    at: datetime
    dimensions: dict[str, str | list[str]]
    facts: Facts
    count: int

    @property
    def position(self) -> Position:
        """Give the place in the order of a list."""
        return self.at, self.document, self.metric, self.value


@dataclass(frozen=True, slots=True)
class HeldDocument:
    """A document as it stands."""

    id: str
    generation: int
    facts: Facts


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One row of the ledger: booked (+1) or withdrawn (-1)."""

    recorded_at: datetime
    metric: int
    sign: int
    value: int
    band: int | None
    at: datetime


_Row = tuple[int, str, int, int | None, datetime, tuple[int | None, ...], tuple[int, ...]]
"""Metric, document, value, band, at, value ids of the columns, and of tags and declared dimensions."""


def explained_numbers(metric: Metric) -> tuple[int, ...]:
    """Give the numbers whose observations explain a metric, those that n counts first."""
    if metric.plan is Plan.JOINED:
        return tuple(int(number) for number in _MEETING[metric.name])
    return tuple(number for number in numbers_of(metric) if number != metric.business)


def _reached(metric: Metric, number: int, span: Span) -> Span:
    """Give the span whose observations of one number can count in a span of a metric."""
    reach = _REACH.get(metric.name, {}).get(MetricNumber(number), timedelta())
    return Span(BEGINNING if reach is None else span.since - reach // _MICROSECOND, span.until)


def _order(row: _Row) -> Position:
    return row[4], row[1], row[0], row[2]


class Explanations:
    """Reads observations and documents."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def observations(
        self, snapshot: Snapshot, question: Question, limit: int, after: Position | None
    ) -> tuple[list[BookedObservation], bool]:
        """List the observations in force of a question's first span in order of time, and tell whether there are more.

        A page is longer than `limit` where observations that differ in their dimensions alone stand at its end.
        Of a balance these are the open tickets, by the time since which they are open.
        Raises UnknownDimensionError.
        """
        connection = snapshot.connection
        numbers = await dimension_numbers(connection, question.dimensions)
        ids = await value_ids(connection, question.where, numbers)
        (span,) = question.read[:1]
        if ids is None or span.since >= span.until:
            return [], False
        wanted = explained_numbers(question.metric)
        reading = Reading(question, wanted, frozenset(), (span,), ids, numbers)
        if question.metric.plan is Plan.BALANCE:
            rows = await _open_tickets(connection, reading, limit, after)
        elif question.population is Population.RELATIONSHIP:
            rows = await _latest(connection, reading, limit, after)
        else:
            rows = dict[_Row, int]()
            for number in wanted:
                reaching = replace(reading, spans=(_reached(question.metric, number, span),))
                rows |= await _in_force(connection, reaching, number, limit, after)
        ordered = sorted(rows, key=lambda row: (_order(row), str(row[3:])))
        end = limit
        while 0 < end < len(ordered) and _order(ordered[end - 1]) == _order(ordered[end]):
            end += 1
        shown = ordered[:end]
        return await _explained(connection, [(row, rows[row]) for row in shown]), len(ordered) > end

    async def document(self, candidates: Sequence[str]) -> tuple[HeldDocument, list[LedgerRow]] | None:
        """Read the first of several document ids that there is, and all that the ledger was ever told of it."""
        async with self._questions.snapshot() as snapshot:
            rows = await snapshot.connection.fetch(
                "SELECT id, generation, facts, booked_at FROM documents WHERE id = ANY($1::text[])",
                candidates,
            )
            found = {row[0]: row for row in rows}
            for candidate in candidates:
                if row := found.get(candidate):
                    held = HeldDocument(row[0], row[1], decode_facts(row[2]))
                    return held, await _history(snapshot.connection, held, row[3] or ())
        return None

    async def other_scales(self, held: HeldDocument) -> Sequence[Scale]:
        """Give the scales of other answers to a response's survey that contradict its own; none without a survey."""
        folded = fold(held.id, held.facts)
        own = scale_of(source_of(held.id), folded.answer) if isinstance(folded, Response) else None
        if own is None:
            return ()
        async with self._questions.snapshot() as snapshot:
            return await other_scales(snapshot.connection, own)


async def _history(
    connection: Connection, held: HeldDocument, booked_at: Iterable[datetime]
) -> list[LedgerRow]:
    """Read a document's rows, oldest first; they are found by the times of its facts and of its targets."""
    times = {instant(fact.at) for fact in held.facts.values()} | set(booked_at)
    rows = await connection.fetch(
        """
        SELECT recorded_at, metric, sign, value, band, at FROM ledger
        WHERE metric = ANY($1::int2[]) AND at = ANY($2::timestamptz[]) AND document = $3
        ORDER BY recorded_at, sign, metric, at, value
        """,
        [int(number) for number in MetricNumber],
        sorted(times),
        held.id,
    )
    return [LedgerRow(*row) for row in rows]


async def _in_force(
    connection: Connection, reading: Reading, number: int, limit: int, after: Position | None
) -> dict[_Row, int]:
    """Read a metric's observations in force from a position on, more than `limit` where there are that many.

    The index gives rows in order of time, so a page costs what it holds, however long the window is. Withdrawals
    stand at the time of what they withdraw: once all rows of one time are read, they are netted.
    """
    (span,) = reading.spans
    since, until = instant(max(BEGINNING, span.since)), instant(span.until)
    if after is not None:
        since = max(since, after[0])
    rows: dict[_Row, int] = {}
    chunk = limit + _SPARE_ROWS
    while True:
        parameters = Parameters([number, since, until, chunk])
        names = ", ".join(f"l.{name}" for name in _LEDGER_COLUMNS)
        found = await connection.fetch(
            f"""
            SELECT {names}, l.sign FROM ledger AS l
            WHERE l.metric = $1::int2 AND l.at >= $2::timestamptz AND l.at < $3::timestamptz
                {conditions(reading, parameters)}
            ORDER BY l.at FETCH FIRST ($4::int8) ROWS WITH TIES
            """,
            *parameters.values,
        )
        for record in found:
            row = _row(number, record)
            rows[row] = rows.get(row, 0) + record["sign"]
        rows = {row: n for row, n in rows.items() if n and (after is None or _order(row) > after)}
        if len(found) < chunk or len(rows) > limit:
            return rows
        since, chunk = found[-1]["at"] + _MICROSECOND, chunk * 2


def _row(number: int, record: Any) -> _Row:
    return (
        number,
        record["document"],
        record["value"],
        record["band"],
        record["at"],
        tuple(record[name] for name in COLUMNS),
        tuple(record["more"] or ()),
    )


async def _latest(
    connection: Connection, reading: Reading, limit: int, after: Position | None
) -> dict[_Row, int]:
    """Read the latest response of each customer from a position on."""
    (span,) = reading.spans
    parameters = Parameters([[0], [instant(span.since)], [instant(span.until)]])
    picked = ledger_rows(reading, parameters, _LEDGER_COLUMNS)
    beyond = _beyond(after, parameters)
    found = await connection.fetch(
        f"SELECT * FROM ({picked}) AS picked {beyond} "
        f"ORDER BY at, document, metric, value LIMIT {parameters.add(limit + _SPARE_ROWS)}",
        *parameters.values,
    )
    return {_row(record["metric"], record): record["sign"] for record in found}


def _beyond(after: Position | None, parameters: Parameters) -> str:
    if after is None:
        return ""
    at, document, metric, value = (parameters.add(part) for part in after)
    return (
        "WHERE (at, document, metric, value) "
        f"> ({at}::timestamptz, {document}::text, {metric}::int2, {value}::int8)"
    )


async def _open_tickets(
    connection: Connection, reading: Reading, limit: int, after: Position | None
) -> dict[_Row, int]:
    """Read the tickets that are open at the end of the span: those whose movements come to one."""
    (span,) = reading.spans
    created, solved, moved = (int(number) for number in numbers_of(reading.question.metric))
    parameters = Parameters([created, solved, moved, instant(span.until)])
    filed = ", ".join(f"max({name}) AS {name}" for name in COLUMNS)
    wheres = conditions(reading, parameters)
    beyond = _beyond(after, parameters)
    found = await connection.fetch(
        f"""
        SELECT * FROM (
            SELECT document, $3::int2 AS metric, 1::int8 AS value, NULL::int2 AS band, max(at) AS at, {filed},
                max(more) AS more, 1 AS sign
            FROM (
                SELECT document, metric, value, at, {_FILED}, more, sum(sign) AS times FROM ledger AS l
                WHERE metric IN ($1, $2, $3) AND at < $4::timestamptz {wheres}
                GROUP BY document, metric, value, at, {_FILED}, more HAVING sum(sign) <> 0
            ) AS net
            GROUP BY document
            HAVING sum(times * CASE metric WHEN $1 THEN 1 WHEN $2 THEN -1 ELSE value END) > 0
        ) AS open {beyond} ORDER BY at, document LIMIT {parameters.add(limit + _SPARE_ROWS)}
        """,
        *parameters.values,
    )
    return {_row(record["metric"], record): 1 for record in found}


async def _explained(connection: Connection, rows: Sequence[tuple[_Row, int]]) -> list[BookedObservation]:
    held = await facts_of(connection, (row[1] for row, _ in rows))
    ids = {value for row, _ in rows for value in (*row[5], *row[6]) if value is not None}
    words = await words_of(connection, ids)
    return [
        BookedObservation(
            metric=metric,
            document=document,
            value=value,
            band=band,
            at=at,
            dimensions=named_dimensions(columns, more, words),
            facts=held.get(document, {}),
            count=count,
        )
        for (metric, document, value, band, at, columns, more), count in rows
    ]
