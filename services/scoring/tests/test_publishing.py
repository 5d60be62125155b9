"""What is told of metrics unasked: once, by one, and nothing personal."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from cxloop_common.events import (
    MetricShifted,
    MetricSnapshot,
    Scale,
    SurveyResponded,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    decode_event,
)
from cxloop_common.processor.outbox import decode_headers
from cxloop_common.testing.harness import make_topics
from cxloop_common.topics import METRIC_EVENT, METRICS, SURVEYS, TICKETS, TopicNames
from cxloop_scoring.app import SERVICE
from cxloop_scoring.domain.answers import Sums, answer
from cxloop_scoring.domain.metrics import CATALOGUE
from cxloop_scoring.domain.published import (
    Series,
    Shift,
    shifted,
    told_values,
    unwatchable,
    watches,
    window_name,
)
from cxloop_scoring.domain.rules import DEFAULT_RULES, Watch
from cxloop_scoring.domain.shifts import ShiftState, look
from cxloop_scoring.domain.windows import DAY, HOUR, Span
from cxloop_scoring.publishing import MetricPublisher, Round, _differences

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
PATIENCE_S = 30.0
Start = Callable[..., AbstractAsyncContextManager[Any]]
MetricEvents = list[MetricSnapshot | MetricShifted]


def answers(
    score: int, days_ago: float, *, n: int = 40, team: str = "billing", name: str = "r"
) -> list[SurveyResponded]:
    return [
        SurveyResponded(
            id=f"{name}-{number}",
            source="survey",
            time=NOW - timedelta(days=days_ago, minutes=number),
            response_id=f"{name}{number}",
            metric="nps",
            score=score if number % 4 else 8,
            scale=Scale(min=0, max=10),
            dimensions={"team": team, "agent": "mia.muster"},
            identifiers=(f"email:c{number}@example.com",),
            comment="Herr Muster was rude",
        )
        for number in range(n)
    ]


FALLEN = [*answers(9, 10, name="before"), *answers(2, 3, name="now")]


class Publishing:
    """A publisher without Kafka: rounds are called by the test, the outbox is read by it."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.now = NOW
        self.rules = DEFAULT_RULES
        self.connection: asyncpg.Connection = worker.connection
        self._read = 0

    def publisher(self) -> MetricPublisher:
        return MetricPublisher(
            self.worker.database, TopicNames(), lambda: self.now, lambda: self.rules, every_s=0.02
        )

    async def round(self) -> Round:
        """Publish once, as a process that was just started."""
        connection = await self.worker.database.connect()
        try:
            return await self.publisher().publish(connection)
        finally:
            await connection.close()

    async def told(self) -> MetricEvents:
        """Give what was written since the last call, in order."""
        rows = await self.connection.fetch(
            "SELECT id, topic, key, value, headers FROM outbox WHERE id > $1 ORDER BY id", self._read
        )
        events: MetricEvents = []
        for row in rows:
            self._read = row["id"]
            event = decode_event(METRIC_EVENT, dict(decode_headers(row["headers"])), row["value"])
            assert (row["topic"], row["key"].decode()) == (METRICS.name, event.key)
            events.append(event)
        return events


@pytest.fixture
def publishing(worker: Any) -> Publishing:
    return Publishing(worker)


def shifts(told: MetricEvents) -> dict[str, MetricShifted]:
    return {event.key: event for event in told if isinstance(event, MetricShifted)}


def snapshots(told: MetricEvents) -> dict[str, MetricSnapshot]:
    return {event.key: event for event in told if isinstance(event, MetricSnapshot)}


async def test_snapshots_tell_value_interval_and_n_of_the_whole_and_of_each_value(
    publishing: Publishing,
) -> None:
    await publishing.worker.deliver([*FALLEN, *answers(10, 0.5, n=4, team="a|b=c", name="few")])
    await publishing.round()
    told = snapshots(await publishing.told())
    whole = told["nps|*|30d"]
    assert (whole.n, whole.dimension, whole.unit, whole.status) == (84, None, "points", "ok")
    assert whole.value == pytest.approx(100 * (30 + 3 - 30) / 84)
    assert whole.ci_low is not None
    assert whole.value is not None
    assert whole.ci_low < whole.value
    assert (whole.window_from, whole.window_to) == (NOW - timedelta(days=30), NOW)
    team = told["nps|team=billing|7d"]
    assert (team.value, team.n, team.dimension, team.dimension_value) == (-75, 40, "team", "billing")
    few = told["nps|team=a%7Cb%3Dc|24h"]
    assert (few.value, few.ci_low, few.n, few.status) == (None, None, 4, "suppressed")
    assert {key for key in told if key.startswith("nps|source=")} == {
        f"nps|source=survey|{window}" for window in ("24h", "7d", "30d")
    }


async def test_only_what_changed_is_told_again_in_a_rising_sequence(publishing: Publishing) -> None:
    await publishing.worker.deliver(FALLEN)
    first = await publishing.round()
    assert first.snapshots > 5
    before = await publishing.told()
    publishing.now += timedelta(seconds=30)
    assert await publishing.round() == Round(0, 0)
    await publishing.worker.deliver(answers(9, 0.2, n=1, team="returns", name="one"))
    await publishing.round()
    after = await publishing.told()
    assert {event.key for event in after} == {
        f"nps|{about}|{window}"
        for about in ("*", "team=returns", "source=survey")
        for window in ("24h", "7d", "30d")
    }
    assert min(event.sequence for event in after) > max(event.sequence for event in before)
    assert len({event.sequence for event in before}) == len(before)


async def test_a_group_without_observations_any_more_says_so_once(publishing: Publishing) -> None:
    created: dict[str, Any] = {"source": "desk", "ticket_id": "7", "time": NOW - timedelta(hours=3)}
    await publishing.worker.deliver(
        [
            TicketCreated(id="t1", **created, channel="email", created_by="customer", team="billing"),
            TicketAssigned(id="t2", **created, team="billing", agent="mia.muster"),
        ]
    )
    await publishing.round()
    assert snapshots(await publishing.told())["ticket_volume|team=billing|24h"].n == 1
    await publishing.worker.deliver([TicketDeleted(id="t3", **created)])
    await publishing.round()
    gone = snapshots(await publishing.told())
    assert (gone["ticket_volume|team=billing|24h"].n, gone["ticket_volume|*|7d"].n) == (0, 0)
    assert await publishing.round() == Round(0, 0)


async def test_a_shift_is_told_once_whoever_is_started_again(publishing: Publishing) -> None:
    await publishing.worker.deliver(FALLEN)
    assert (await publishing.round()).shifts == 2
    told = shifts(await publishing.told())
    assert set(told) == {"nps|*|7d|shifted", "nps|team=billing|7d|shifted"}
    shift = told["nps|team=billing|7d|shifted"]
    assert (shift.direction, shift.effect, shift.turned, shift.number) == ("down", "worse", False, 1)
    assert (shift.value, shift.value_then, shift.difference) == (-75, 75, -150)
    assert (shift.n, shift.n_then) == (40, 40)
    assert shift.ci_high < 0
    assert shift.q_value < 0.05
    assert (shift.window_from, shift.window_to) == (NOW - timedelta(days=7), NOW)
    for _ in range(5):
        publishing.now += timedelta(minutes=10)
        assert (await publishing.round()).shifts == 0


async def test_a_shift_that_turns_round_is_told_as_the_second(publishing: Publishing) -> None:
    await publishing.worker.deliver(FALLEN)
    await publishing.round()
    publishing.now += timedelta(days=8)
    await publishing.worker.deliver(answers(10, -7, n=60, name="again"))
    assert (await publishing.round()).shifts == 2
    shift = shifts(await publishing.told())["nps|*|7d|shifted"]
    assert (shift.direction, shift.effect, shift.turned, shift.number) == ("up", "better", True, 2)


async def test_too_few_observations_or_a_difference_by_chance_are_no_shift(publishing: Publishing) -> None:
    few = [*answers(9, 10, n=29, name="before"), *answers(2, 3, n=29, name="now")]
    same = [*answers(9, 10, n=60, team="same", name="x"), *answers(9, 3, n=60, team="same", name="y")]
    await publishing.worker.deliver([*few, *same])
    publishing.rules = replace(DEFAULT_RULES, shifts=(Watch("nps", 7 * DAY, ("team",)),))
    await publishing.round()
    assert "nps|team=billing|7d|shifted" not in shifts(await publishing.told())


async def test_what_a_killed_publisher_had_not_committed_is_told_by_the_next(publishing: Publishing) -> None:
    await publishing.worker.deliver(FALLEN)
    doomed = await publishing.worker.database.connect()
    pid = doomed.get_server_pid()
    async with publishing.connection.transaction():
        # The round has written all its state when it comes to the outbox, and waits there to be killed.
        await publishing.connection.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        round_ = asyncio.create_task(publishing.publisher().publish(doomed))
        await _until(lambda: _waits(publishing.connection, pid))
        await publishing.connection.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await round_
    with suppress(Exception):
        await doomed.close()
    assert await publishing.told() == []
    assert (await publishing.round()).shifts == 2


async def _waits(connection: asyncpg.Connection, pid: int) -> bool:
    return bool(
        await connection.fetchval("SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted", pid)
    )


async def _until(reached: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await reached():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@asynccontextmanager
async def publishers(publishing: Publishing, count: int) -> AsyncGenerator[None]:
    tasks = [asyncio.create_task(publishing.publisher().run()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_LEADERS = """
SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND granted AND datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_of_two_publishers_one_publishes_and_the_other_takes_over(publishing: Publishing) -> None:
    connection = publishing.connection
    told: MetricEvents = []

    async def has_told(key: str) -> bool:
        told.extend(await publishing.told())
        return any(event.key == key for event in told)

    await publishing.worker.deliver(FALLEN)
    async with publishers(publishing, 2):
        await _until(lambda: has_told("nps|*|7d|shifted"))
        [leader] = [row[0] for row in await connection.fetch(_LEADERS)]
        await connection.execute("SELECT pg_terminate_backend($1)", leader)
        await publishing.worker.deliver(answers(9, 0.2, n=9, team="returns", name="late"))
        await _until(lambda: has_told("nps|team=returns|24h"))
        [heir] = [row[0] for row in await connection.fetch(_LEADERS)]
        assert heir != leader
    told += await publishing.told()
    assert Counter(event.key for event in told if isinstance(event, MetricShifted)) == {
        "nps|*|7d|shifted": 1,
        "nps|team=billing|7d|shifted": 1,
    }
    _repeats_nothing(told)


def _repeats_nothing(told: MetricEvents) -> None:
    """Two publishers would each tell the same; one tells only what differs from what it told before."""
    said: dict[str, dict[str, Any]] = {}
    assert len({event.sequence for event in told}) == len(told)
    for event in told:
        content = event.model_dump(exclude={"id", "time", "sequence", "window_from", "window_to"})
        assert said.get(event.key) != content
        said[event.key] = content


async def test_the_services_publish_on_kafka_once_and_nothing_personal(
    start_service: Start, kafka: str, topic_names: TopicNames
) -> None:
    await make_topics(kafka, topic_names, [TICKETS, SURVEYS, METRICS])
    settings = {"snapshot_s": 1}
    async with (
        start_service(SERVICE, now=lambda: NOW, settings=settings) as service,
        start_service(SERVICE, now=lambda: NOW, settings=settings, role="worker"),
    ):
        await service.produce(FALLEN)
        await service.settle(SURVEYS)
        records: list[Any] = []

        async def complete() -> bool:
            records[:] = await service.read(METRICS)
            last = {record.key: json.loads(record.value) for record in records}
            whole = last.get(b"nps|*|30d", {})
            return whole.get("n") == len(FALLEN) and b"nps|*|7d|shifted" in last

        await _until(complete)
        await service.settle(SURVEYS)
        records = await service.read(METRICS)
    told = sorted(
        (decode_event(METRIC_EVENT, record.headers, record.value) for record in records),
        key=lambda event: event.sequence,
    )
    assert len({event.id for event in told}) == len(told)
    assert Counter(event.key for event in told if isinstance(event, MetricShifted))["nps|*|7d|shifted"] == 1
    _repeats_nothing(told)
    text = b"".join(
        (record.key or b"") + (record.value or b"") + repr(sorted(record.headers.items())).encode()
        for record in records
    )
    for personal in (b"example.com", b"muster", b"Muster", b"rude", b"agent"):
        assert personal not in text


def test_agents_joined_metrics_and_counts_are_left_out_of_what_is_watched_and_named() -> None:
    rules = replace(
        DEFAULT_RULES,
        shifts=(
            Watch("nps", 7 * DAY, ("agent", "team")),
            Watch("churn", 7 * DAY),
            Watch("ticket_volume", DAY),
        ),
    )
    assert unwatchable(rules) == ["agent", "churn", "ticket_volume"]
    assert {place: [m.name for m in metrics] for place, metrics in watches(rules).items()} == {
        (7 * DAY, None): ["nps"],
        (7 * DAY, "team"): ["nps"],
    }
    assert unwatchable(DEFAULT_RULES) == []


def _nps(high: int, low: int) -> Sums:
    return Sums(n=high + low, high=high, low=low)


def test_series_with_too_few_observations_do_not_weaken_the_correction_of_the_others() -> None:
    many = Series(CATALOGUE["nps"], "team", "many", 7 * DAY)
    few = {Series(CATALOGUE["nps"], "team", f"few-{n}", 7 * DAY): (_nps(9, 9), _nps(9, 9)) for n in range(20)}
    found = _differences({many: (_nps(30, 30), _nps(45, 15)), **few})
    assert set(found) == {many}
    assert found[many].q_value == found[many].p_value


def test_a_shift_has_the_id_of_what_it_tells_whenever_it_is_told() -> None:
    series = Series(CATALOGUE["nps"], "team", "billing", 7 * DAY)
    sums = _nps(20, 40), _nps(45, 15)
    [difference] = _differences({series: sums}).values()
    state, reason = look(ShiftState(), difference, 8 * DAY)
    shift = Shift(series, difference, state, reason, *(answer(series.metric, part) for part in sums))
    first, again = (shifted(shift, Span(DAY, 8 * DAY), sequence) for sequence in (3, 9))
    assert first.id == again.id
    assert (
        first.id != shifted(shift._replace(state=replace(state, announcements=2)), Span(DAY, 8 * DAY), 4).id
    )
    with pytest.raises(ValueError, match="direction"):
        shifted(shift._replace(state=ShiftState()), Span(DAY, 8 * DAY), 3)


def test_windows_are_named_as_the_api_names_them() -> None:
    names = [window_name(w) for w in (30 * DAY, DAY, 36 * HOUR, HOUR // 2)]
    assert names == ["30d", "24h", "36h", "30m"]


def test_keys_of_series_are_read_back() -> None:
    keys = ["nps|*|7d", "nps|team=a%7Cb%3Dc|7d", "nps|team=billing|7d", "csat|team=x|24h"]
    assert told_values(keys) == {
        ("nps", None, "7d"): {None},
        ("nps", "team", "7d"): {"a|b=c", "billing"},
        ("csat", "team", "24h"): {"x"},
    }
