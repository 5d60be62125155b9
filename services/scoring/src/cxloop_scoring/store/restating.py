"""Late changes of a value: what the ledger was told after a moment, in the order in which it was told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from cxloop_scoring.domain.answers import Sums
from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.facts import Facts
from cxloop_scoring.domain.histogram import duration_bin
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.metrics import DURATIONS, Metric
from cxloop_scoring.domain.observations import Band
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.held import facts_of
from cxloop_scoring.store.questions import (
    Snapshot,
    dimension_numbers,
    numbers_of,
    put_together,
    value_ids,
)
from cxloop_scoring.store.sums import Parameters, Reading, add_up, conditions
from cxloop_scoring.store.words import named_dimensions, words_of

_ROWS_A_CHANGE: Final = 4
"""Rows that are read for each change asked for; one that has more is read whole all the same."""

Position = tuple[datetime, str]
"""When the last change of a page was recorded, and its document."""


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """One observation that was booked (+1) or withdrawn (-1)."""

    metric: int
    sign: int
    value: int
    band: int | None
    at: datetime
    dimensions: dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Restatement:
    """What one batch changed of one document."""

    document: str
    recorded_at: datetime
    rows: tuple[ChangedRow, ...]
    facts: Facts
    after: Sums
    """The sums of the value from then on."""


@dataclass(frozen=True, slots=True)
class Restated:
    """One page of changes."""

    believed: Sums
    now: Sums
    before: Sums
    """The sums in front of the page's first change."""
    changes: tuple[Restatement, ...]
    more: bool


async def restatements(
    snapshot: Snapshot, question: Question, since: datetime, limit: int, after: Position | None
) -> Restated:
    """List what was recorded after `since` of a question's first span, from a position on.

    Raises UnknownDimensionError.
    """
    connection, metric = snapshot.connection, question.metric
    numbers = await dimension_numbers(connection, question.dimensions)
    ids = await value_ids(connection, question.where, numbers)
    if ids is None:
        return Restated(Sums(), Sums(), Sums(), (), more=False)
    (span,) = question.read[:1]
    wanted = tuple(number for number in numbers_of(metric) if number != metric.business)
    timed = frozenset(wanted) & DURATIONS if metric.is_duration else frozenset[int]()
    now = Reading(question, wanted, timed, (span,), ids, numbers)
    then = replace(now, question=replace(question, as_of=since))
    believed = await _by_number(connection, then)
    running = believed
    if after is not None:
        told = replace(question, as_of=after[0])
        running = await _by_number(connection, replace(now, question=told, up_to_document=after[1]))
    plain = replace(metric, business=None)
    before = put_together(plain, running)
    rows = await _rows(connection, now, (since, None) if after is None else after, limit * _ROWS_A_CHANGE)
    changes, more = await _changes(connection, plain, running, rows, limit)
    return Restated(
        put_together(plain, believed),
        put_together(plain, await _by_number(connection, now)),
        before,
        changes,
        more=more or len(rows) >= limit * _ROWS_A_CHANGE,
    )


async def _by_number(connection: Connection, reading: Reading) -> dict[int, Sums]:
    raw = await add_up(connection, reading)
    return {number: raw.get((number, 0, 0), Sums()) for number in reading.numbers}


async def _rows(
    connection: Connection, reading: Reading, after: tuple[datetime, str | None], at_least: int
) -> list[Any]:
    (span,) = reading.spans
    recorded_at, document = after
    parameters = Parameters(
        [list(reading.numbers), instant(span.since), instant(span.until), recorded_at, document, at_least]
    )
    names = ", ".join(f"l.{name}" for name in COLUMNS)
    return await connection.fetch(
        f"""
        SELECT l.recorded_at, l.document, l.metric, l.sign, l.value, l.band, l.at, {names}, l.more
        FROM ledger AS l
        WHERE l.metric = ANY($1::int2[]) AND l.at >= $2::timestamptz AND l.at < $3::timestamptz
            AND l.recorded_at >= $4::timestamptz
            AND (l.recorded_at > $4::timestamptz OR l.document > $5::text)
            {conditions(reading, parameters)}
        ORDER BY l.recorded_at, l.document FETCH FIRST ($6::int8) ROWS WITH TIES
        """,
        *parameters.values,
    )


async def _changes(
    connection: Connection, metric: Metric, running: Mapping[int, Sums], rows: Iterable[Any], limit: int
) -> tuple[tuple[Restatement, ...], bool]:
    groups = [(key, list(found)) for key, found in groupby(rows, lambda row: (row[0], row[1]))]
    shown = groups[:limit]
    ids = {
        value
        for _, found in shown
        for row in found
        for value in (*(row[name] for name in COLUMNS), *(row["more"] or ()))
        if value is not None
    }
    words = await words_of(connection, ids)
    held = await facts_of(connection, (document for (_, document), _ in shown))
    sums = {number: found.copied() for number, found in running.items()}
    changes: list[Restatement] = []
    for (recorded_at, document), found in shown:
        changed: list[ChangedRow] = []
        for row in sorted(found, key=lambda row: (row["metric"], row["sign"], row["at"], row["value"])):
            sums[row["metric"]].add(_signed(row))
            columns = [row[name] for name in COLUMNS]
            filed = named_dimensions(columns, row["more"] or (), words)
            changed.append(
                ChangedRow(row["metric"], row["sign"], row["value"], row["band"], row["at"], filed)
            )
        facts = held.get(document, {})
        after = put_together(metric, sums).copied()
        changes.append(Restatement(document, recorded_at, tuple(changed), facts, after))
    return tuple(changes), len(groups) > limit


def _signed(row: Any) -> Sums:
    sign, value, band = row["sign"], row["value"], row["band"]
    if row["metric"] in DURATIONS:
        return Sums(sign, sign * value, histogram={duration_bin(value): sign})
    low, middle, high = (sign * (band == one) for one in (Band.LOW, Band.MIDDLE, Band.HIGH))
    return Sums(sign, sign * value, sign * value * value, low, middle, high)
