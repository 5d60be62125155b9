"""Publishing: the one process that tells other teams how metrics stand, and when one of them shifted.

One publisher of a service works at a time, by an advisory lock of its connection; the others wait to take over. A
round reads committed state, compares it with what was told before, and writes records to the outbox and what was
told to its tables, all in one transaction on the connection that holds the lock: whoever loses the connection
loses the lock and the round with it. So a shift is told once, whoever tells it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import asyncpg

from cxloop_common.database import Database, is_transient
from cxloop_common.events import CloudEvent, encode_event
from cxloop_common.kafka.records import Message
from cxloop_common.processor.outbox import enqueue
from cxloop_common.telemetry import error_fields, get_logger
from cxloop_common.topics import METRICS, TopicNames
from cxloop_scoring.domain.answers import Answer, Sums, answer, largest_groups
from cxloop_scoring.domain.comparing import Difference, compare, corrected
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.metrics import Metric
from cxloop_scoring.domain.published import (
    WINDOWS,
    Series,
    Shift,
    Told,
    content_digest,
    published_dimensions,
    published_metrics,
    shifted,
    snapshot,
    told_values,
    unwatchable,
    watches,
    window_name,
)
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.shifts import ANNOUNCING, LEAST_N, ShiftState, look
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store import announced
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.questions import Snapshot, UnknownDimensionError

_PAUSE_S: Final = 1.0
"""Between two tries to take over, and after a failure of PostgreSQL."""

Parts = dict[str | None, Sums]
"""Sums by value of a dimension; None is the whole."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round told."""

    snapshots: int
    shifts: int


class MetricPublisher:
    """Publishes snapshots that changed and shifts that are news, every so many seconds."""

    def __init__(
        self,
        database: Database,
        names: TopicNames,
        now: Callable[[], datetime],
        rules: Callable[[], Rules],
        every_s: float,
    ) -> None:
        self._database = database
        self._topic = names.name(METRICS)
        self._now = now
        self._rules = rules
        self._every_s = every_s
        self._log = get_logger("cxloop.scoring.publisher")

    async def run(self) -> None:
        """Publish until cancelled; failures of PostgreSQL are waited out."""
        while True:
            try:
                await self._lead()
            except Exception as error:
                if not is_transient(error) and not isinstance(error, asyncpg.UndefinedTableError):
                    raise
                self._log.warning("publisher_waits", **error_fields(error))
            await asyncio.sleep(_PAUSE_S)

    async def _lead(self) -> None:
        connection = await self._database.connect()
        try:
            name = f"cxloop.publisher.{self._database.schema}"
            while not await announced.try_lease(connection, name):  # noqa: ASYNC110 - the lock tells nobody
                await asyncio.sleep(_PAUSE_S)
            if left_out := unwatchable(self._rules()):
                self._log.warning("not_watched", names=left_out)
            self._log.info("publisher_leads")
            while True:
                told = await self.publish(connection)
                if told.snapshots or told.shifts:
                    self._log.info("metrics_published", snapshots=told.snapshots, shifts=told.shifts)
                await asyncio.sleep(self._every_s)
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(connection.close(), 2)

    async def publish(self, connection: Connection) -> Round:
        """Tell what changed, on a connection that holds the lease."""
        until = microseconds(self._now())
        async with connection.transaction(isolation="repeatable_read"):
            held = Snapshot(connection)
            snapshots = await self._snapshots(connection, held, until)
            shifts = await self._shifts(connection, held, until)
            await enqueue(connection, [self._message(event) for event in (*snapshots, *shifts)])
        return Round(len(snapshots), len(shifts))

    def _message(self, event: CloudEvent) -> Message:
        key, value, headers = encode_event(event)
        return Message(self._topic, key, value, tuple(headers))

    async def _snapshots(self, connection: Connection, held: Snapshot, until: int) -> list[CloudEvent]:
        told = await announced.read_digests(connection)
        before = told_values(told)
        changed: dict[Series, tuple[Answer, bytes]] = {}
        spans = tuple(Span(until - window, until) for window in WINDOWS)
        for by in (None, *published_dimensions(self._rules())):
            for metric, windows in (await self._read(held, published_metrics(), spans, by)).items():
                for window, parts in zip(WINDOWS, windows, strict=True):
                    for series, found in _said(metric, by, window, parts, before):
                        digest = content_digest(metric, found)
                        if told.get(series.key) != digest:
                            changed[series] = found, digest
                await asyncio.sleep(0)  # a round is long: records and questions go on in between
        numbers = await announced.sequences(connection, len(changed))
        numbered = list(zip(changed.items(), numbers, strict=True))
        said = {
            series.key: announced.PublishedSnapshot(digest, number)
            for (series, (_, digest)), number in numbered
        }
        if said:
            await announced.write_snapshots(connection, said)
        return [snapshot(series, found, until, number) for (series, (found, _)), number in numbered]

    async def _shifts(self, connection: Connection, held: Snapshot, until: int) -> list[CloudEvent]:
        pairs: dict[Series, tuple[Sums, Sums]] = {}
        for (window, by), metrics in watches(self._rules()).items():
            spans = Span(until - window, until), Span(until - 2 * window, until - window)
            for metric, (now, then) in (await self._read(held, metrics, spans, by)).items():
                for value in sorted(now.keys() & then.keys(), key=lambda key: key or ""):
                    pairs[Series(metric, by, value, window)] = now[value], then[value]
            await asyncio.sleep(0)
        states = await announced.read_shifts(connection)
        known: dict[str, ShiftState] = {}
        news: list[Shift] = []
        for series, difference in _differences(pairs).items():
            before = states.get(series.key, ShiftState())
            state, reason = look(before, difference, until)
            # A row is written when something was decided, not at each look: most series never have one.
            if replace(state, looked_at=None) != replace(before, looked_at=None) and state.announcements:
                known[series.key] = state
            if reason in ANNOUNCING:
                now, then = (answer(series.metric, sums) for sums in pairs[series])
                news.append(Shift(series, difference, state, reason, now, then))
        if known:
            await announced.write_shifts(connection, known)
        numbers = await announced.sequences(connection, len(news))
        return [
            shifted(item, Span(until - item.series.window, until), number)
            for item, number in zip(news, numbers, strict=True)
        ]

    async def _read(
        self, held: Snapshot, metrics: tuple[Metric, ...], spans: tuple[Span, ...], by: str | None
    ) -> dict[Metric, list[Parts]]:
        """Read metrics over spans by the values of a dimension; nothing of a dimension that nobody used yet."""
        now = self._now()
        try:
            found = await held.all_sums([Question(metric, spans, by=by, now=now) for metric in metrics])
        except UnknownDimensionError:
            return {}
        read: dict[Metric, list[Parts]] = {}
        for metric, sums in zip(metrics, found, strict=True):
            windows: list[Parts] = [{} for _ in spans]
            for (place, value), part in sums.items():
                windows[place][value] = part
            read[metric] = windows
        return read


def _said(
    metric: Metric, by: str | None, window: int, parts: Parts, told: Told
) -> Iterator[tuple[Series, Answer]]:
    """Answer for the whole or the largest groups, and for everything that was told of before."""
    kept: Parts = dict(parts)
    if by is not None:
        kept = {**largest_groups({value: sums for value, sums in parts.items() if value is not None})}
    for value in told.get((metric.name, by, window_name(window)), ()):
        kept.setdefault(value, parts.get(value, Sums()))
    for value, sums in kept.items():
        yield Series(metric, by, value, window), answer(metric, sums)


def _differences(pairs: Mapping[Series, tuple[Sums, Sums]]) -> dict[Series, Difference]:
    """Compare all that is watched, corrected together: whoever reads the topic sees all of it.

    Series with too few observations cannot be announced, so they take no part in the correction.
    """
    found: dict[Series, Difference] = {}
    for series, (now, then) in pairs.items():
        if min(now.n, then.n) >= LEAST_N:
            difference = compare(series.metric, now, then)
            if difference is not None:
                found[series] = difference
    return corrected(found)
