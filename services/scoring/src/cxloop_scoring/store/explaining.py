"""The observations behind a value, and single documents."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cxloop_scoring.domain.documents import fold, source_of
from cxloop_scoring.domain.facts import Facts, decode_facts
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.joined.verdicts import Verdict
from cxloop_scoring.domain.metrics import Metric, MetricNumber, Plan
from cxloop_scoring.domain.questions import Population, Question
from cxloop_scoring.domain.responses import Response
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.explaining_customers import latest_scores
from cxloop_scoring.store.explaining_joined import MEETING, Joined, listed_fields
from cxloop_scoring.store.held import facts_of
from cxloop_scoring.store.listing import (
    ListedRow,
    Position,
    Rows,
    in_force,
    latest,
    page_of,
    value_ids_of,
)
from cxloop_scoring.store.met_rows import MetRows
from cxloop_scoring.store.open_tickets import open_tickets
from cxloop_scoring.store.questions import Questions, Snapshot, dimension_numbers, numbers_of, value_ids
from cxloop_scoring.store.scales import Scale, other_scales, scale_of
from cxloop_scoring.store.sums import Reading
from cxloop_scoring.store.words import named_dimensions, words_of


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
    verdict: Verdict | None = None
    """What it adds to the answer, where that depends on others."""
    met: tuple[Facts, ...] = ()
    """The facts of the documents that the verdict names, in their order."""

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


def explained_numbers(metric: Metric) -> tuple[int, ...]:
    """Give the numbers whose observations explain a metric, those that n counts first."""
    if metric.plan is Plan.JOINED:
        return tuple(int(number) for number in MEETING[metric.name])
    return tuple(number for number in numbers_of(metric) if number != metric.business)


class Explanations:
    """Reads observations and documents."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def observations(
        self,
        snapshot: Snapshot,
        question: Question,
        limit: int,
        after: Position | None,
        currency: str | None = None,
    ) -> tuple[list[BookedObservation], bool]:
        """List the observations in force of a question's first span in order of time, and tell whether there are more.

        A page is longer than `limit` where observations that differ in their dimensions alone stand at its end.
        Of a balance these are the open tickets, by the time since which they are open. currency: the configured
        one, of which amounts count. Raises UnknownDimensionError.
        """
        connection, metric = snapshot.connection, question.metric
        numbers = await dimension_numbers(connection, question.dimensions)
        ids = await value_ids(connection, question.where, numbers)
        (span,) = question.read[:1]
        if ids is None or span.since >= span.until:
            return [], False
        reading = Reading(question, explained_numbers(metric), frozenset(), (span,), ids, numbers)
        met = MetRows(connection, reading)
        if metric.plan is Plan.JOINED:
            joined = await Joined.of(met, currency)
            page, more = page_of(await joined.rows(limit, after), limit)
            verdicts = await joined.verdicts([row for row, _ in page])
        elif question.population is Population.RELATIONSHIP:
            page, more = page_of(await latest(connection, reading, limit, after), limit)
            rows = await met.met(listed_fields(row) for row, _ in page)
            verdicts = await latest_scores(met, rows)
        else:
            page, more = page_of(await _summed(connection, reading, limit, after), limit)
            verdicts = None
        return await _explained(connection, page, verdicts), more

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


async def _summed(connection: Connection, reading: Reading, limit: int, after: Position | None) -> Rows:
    if reading.question.metric.plan is Plan.BALANCE:
        return await open_tickets(connection, reading, limit, after)
    rows: Rows = {}
    for number in reading.numbers:
        rows |= await in_force(connection, reading, number, limit, after)
    return rows


async def _explained(
    connection: Connection, rows: Sequence[tuple[ListedRow, int]], verdicts: Sequence[Verdict] | None
) -> list[BookedObservation]:
    judged: Sequence[Verdict | None] = [None] * len(rows) if verdicts is None else verdicts
    named = {one.document for verdict in judged if verdict is not None for one in verdict.by}
    held = await facts_of(connection, named | {row.document for row, _ in rows})
    words = await words_of(connection, value_ids_of(rows))
    return [
        BookedObservation(
            metric=row.metric,
            document=row.document,
            value=row.value,
            band=row.band,
            at=row.at,
            dimensions=named_dimensions(row.columns, row.more, words),
            facts=held.get(row.document, {}),
            count=count,
            verdict=verdict,
            met=() if verdict is None else tuple(held.get(one.document, {}) for one in verdict.by),
        )
        for (row, count), verdict in zip(rows, judged, strict=True)
    ]
