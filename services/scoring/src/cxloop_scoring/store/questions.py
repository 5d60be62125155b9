"""Questions, answered as sums by span and group, each set of them from one snapshot."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from cxloop_common.database import Database
from cxloop_scoring.domain.answers import Sums
from cxloop_scoring.domain.dimensions import BUILT_IN, storable
from cxloop_scoring.domain.metrics import DURATIONS, Metric, MetricNumber, Plan
from cxloop_scoring.domain.questions import Filter, Question
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.sums import RawSums, Reading, add_up

GroupSums = dict[tuple[int, str | None], Sums]
"""Sums by number of the span and group; the group is None where none was asked for."""

_BALANCE: Final = (MetricNumber.TICKET_VOLUME, MetricNumber.FIRST_RESOLUTION_TIME, MetricNumber.BACKLOG)


class UnknownDimensionError(LookupError):
    """A question names a dimension that nothing was ever filed under."""

    def __init__(self, known: Iterable[str], unknown: Iterable[str] = ()) -> None:
        self.known = tuple(known)
        self.unknown = tuple(unknown)
        super().__init__("no such dimension")


class SlowQuestionError(TimeoutError):
    """The database gave a question up, for it took longer than a transaction may."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"given up after {limit_s:g} s")


_GIVEN_UP: Final = frozenset(("57014", "25P04"))
"""SQLSTATE of a statement that was cancelled, and of a transaction that lasted too long."""
_SHARE_OF_ONE_STATEMENT: Final = 0.8
"""Of the time that a transaction may take. A statement that is cancelled leaves its connection usable, a
transaction that is ended takes the connection with it."""


def _given_up(error: BaseException | None) -> bool:
    # Where the server closed the connection, the error that says so hides the one that says why.
    while error is not None:
        if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _GIVEN_UP:
            return True
        error = error.__cause__ or error.__context__
    return False


async def known_dimensions(connection: Connection) -> dict[str, int]:
    """Give the numbers of all dimensions by name: built-in ones first, then declared ones by name."""
    rows = await connection.fetch("SELECT name, id FROM dimensions ORDER BY name")
    return {**BUILT_IN, **{row[0]: row[1] for row in rows}}


async def dimension_numbers(connection: Connection, names: set[str]) -> Mapping[str, int]:
    """Give the numbers of some dimensions, and maybe of more. Raises UnknownDimensionError."""
    if BUILT_IN.keys() >= names:
        return BUILT_IN
    numbers = await known_dimensions(connection)
    if unknown := sorted(names - numbers.keys()):
        raise UnknownDimensionError(numbers, unknown)
    return numbers


async def value_ids(
    connection: Connection, where: Sequence[Filter], numbers: Mapping[str, int]
) -> tuple[int, ...] | None:
    """Give the value id of each condition; None where a value was never seen, so that nothing can match."""
    ids = await _seen(connection, where, numbers)
    return None if None in ids else tuple(id_ for id_ in ids if id_ is not None)


async def _seen(
    connection: Connection, where: Sequence[Filter], numbers: Mapping[str, int]
) -> list[int | None]:
    """Give the value id of each condition; None for a value that was never seen."""
    if not where:
        return []
    asked = [(numbers[item.dimension], storable(item.value)) for item in where]
    rows = await connection.fetch(
        """
        SELECT v.dimension, v.value, v.id FROM unnest($1::int2[], $2::text[]) AS asked (dimension, value)
        JOIN dimension_values AS v ON v.dimension = asked.dimension AND v.value = asked.value
        """,
        [number for number, _ in asked],
        [value for _, value in asked],
    )
    found: dict[tuple[int, str], int] = {(row[0], row[1]): row[2] for row in rows}
    return [found.get(pair) for pair in asked]


def numbers_of(metric: Metric) -> tuple[int, ...]:
    """Give the numbers whose observations answer a metric, those that n counts first."""
    if metric.plan is Plan.BALANCE:
        return tuple(int(number) for number in _BALANCE)
    wanted = (metric.base if metric.plan is Plan.SHARE_OF else None, metric.number, metric.business)
    return tuple(int(number) for number in wanted if number is not None)


class Snapshot:
    """One state of the database: a batch that commits meanwhile is seen whole or not at all."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def unknown_values(self, where: Sequence[Filter]) -> list[Filter]:
        """Give the conditions whose value was never seen. Raises UnknownDimensionError."""
        numbers = await dimension_numbers(self.connection, {item.dimension for item in where})
        ids = await _seen(self.connection, where, numbers)
        return [item for item, id_ in zip(where, ids, strict=True) if id_ is None]

    async def sums(self, question: Question) -> GroupSums:
        """Add up what a question asks for. Raises UnknownDimensionError."""
        return (await self.all_sums([question]))[0]

    async def all_sums(self, questions: Sequence[Question]) -> list[GroupSums]:
        """Add up what several questions ask for that differ in nothing but their metric.

        Metrics that read the same spans are read together. Raises UnknownDimensionError, and ValueError for a
        metric that is joined.
        """
        first = questions[0]
        numbers = await dimension_numbers(self.connection, first.dimensions)
        ids = await value_ids(self.connection, first.where, numbers)
        if ids is None:
            return [{} for _ in questions]
        together: dict[tuple[tuple[Span, ...], bool], list[Question]] = {}
        for question in questions:
            if question.metric.plan is Plan.JOINED:
                raise ValueError(f"{question.metric.name} is not made of sums")
            together.setdefault((question.read, question.metric.plan is Plan.BALANCE), []).append(question)
        found: dict[str, RawSums] = {}
        for (spans, balance), alike in together.items():
            metrics = [question.metric for question in alike]
            timed = {number for m in metrics for number in (m.number, m.business) if m.is_duration and number}
            reading = Reading(
                first,
                tuple(sorted({number for metric in metrics for number in numbers_of(metric)})),
                frozenset(int(number) for number in timed if number in DURATIONS),
                spans,
                ids,
                numbers,
            )
            raw = await (_levels if balance else add_up)(self.connection, reading)
            found.update({metric.name: _of_metric(metric, raw) for metric in metrics})
        names = await self._names(found.values()) if first.by is not None else {}
        return [
            {(place, names.get(group)): sums for (_, place, group), sums in found[q.metric.name].items()}
            for q in questions
        ]

    async def _names(self, found: Iterable[RawSums]) -> dict[int, str]:
        ids = sorted({group for raw in found for _, _, group in raw})
        rows = await self.connection.fetch(
            "SELECT id, value FROM dimension_values WHERE id = ANY($1::int4[])", ids
        )
        return {row[0]: row[1] for row in rows}


async def _levels(connection: Connection, reading: Reading) -> RawSums:
    """Add up everything before the end of each span, in one pass from end to end."""
    ends = sorted({span.until for span in reading.spans if span.since < span.until})
    pieces = tuple(Span(since, until) for since, until in zip([BEGINNING, *ends], ends, strict=False))
    alike = Reading(reading.question, reading.numbers, reading.timed, pieces, reading.ids, reading.dimensions)
    raw = await add_up(connection, alike)
    keys = sorted({(metric, group) for metric, _, group in raw})
    reached: dict[int, RawSums] = {}
    running: dict[tuple[int, int], Sums] = {key: Sums() for key in keys}
    for piece, end in enumerate(ends):
        for metric, group in keys:
            if (more := raw.get((metric, piece, group))) is not None:
                running[metric, group].add(more)
        reached[end] = {(metric, 0, group): sums.copied() for (metric, group), sums in running.items()}
    return {
        (metric, place, group): sums
        for place, span in enumerate(reading.spans)
        if span.since < span.until
        for (metric, _, group), sums in reached[span.until].items()
    }


def _of_metric(metric: Metric, raw: RawSums) -> RawSums:
    """Put together what the numbers of a metric come to; the first of the key is 0."""
    numbers = numbers_of(metric)
    keys = {(place, group) for number, place, group in raw if number in numbers}
    return {
        (0, place, group): put_together(
            metric, {number: raw.get((number, place, group), Sums()) for number in numbers}
        )
        for place, group in keys
    }


def put_together(metric: Metric, by_number: Mapping[int, Sums]) -> Sums:
    """Make the sums of a metric from those of its numbers, by the metric's plan."""
    if metric.plan is Plan.BALANCE:
        created, solved, moved = (by_number[int(number)] for number in _BALANCE)
        return Sums(n=created.n, sum=created.n - solved.n + moved.sum)
    if metric.number is None:
        raise ValueError(f"{metric.name} is not made of sums")
    own = by_number[int(metric.number)]
    if metric.plan is Plan.SHARE_OF and metric.base is not None:
        n = by_number[int(metric.base)].n
        return Sums(n, own.sum, own.squares, own.low, own.middle, own.high)
    if metric.business is not None:
        own = own.copied()
        own.business = by_number[int(metric.business)]
    return own


class Questions:
    """Gives snapshots, and answers single questions from one each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Snapshot]:
        """Hold the database as it stands, for as many questions as are put to it. Raises SlowQuestionError."""
        pool = await self._database.pool()
        limit_s = self._database.transaction_timeout_s
        clock = asyncio.get_running_loop().time
        started = clock()
        statement_ms = int(limit_s * 1000 * _SHARE_OF_ONE_STATEMENT)
        try:
            async with (
                pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                # Compiling a statement takes longer than answering it; a plan for any window is bad for most.
                await connection.execute(
                    "SET LOCAL jit = off; SET LOCAL plan_cache_mode = force_custom_plan; "
                    f"SET LOCAL statement_timeout = {statement_ms}"
                )
                yield Snapshot(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # Ended between two statements, a transaction leaves but a closed connection to be found.
            if _given_up(error) or clock() - started >= limit_s:
                raise SlowQuestionError(limit_s) from error
            raise

    async def dimensions(self) -> list[str]:
        """Name all dimensions there are."""
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            return list(await known_dimensions(connection))

    async def sums(self, question: Question) -> GroupSums:
        """Add up what a question asks for. Raises UnknownDimensionError."""
        async with self.snapshot() as snapshot:
            return await snapshot.sums(question)
