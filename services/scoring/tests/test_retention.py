"""Months of the ledger are made ahead and dropped when their time is over; what is needed for life stays."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cxloop_common.database import Database
from cxloop_common.events import SurveyResponded, TicketCreated
from cxloop_common.topics import TopicNames
from cxloop_scoring.domain.metrics import CATALOGUE, MetricNumber
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.domain.rules import Clock, Hours, SlaPolicy, SlaTarget
from cxloop_scoring.domain.windows import HOUR, Span
from cxloop_scoring.rebuild import rebuild
from cxloop_scoring.store.months import end_months, ledger_from, make_months
from cxloop_scoring.store.questions import Questions
from cxloop_scoring.store.rebuilding import rebuild_lock

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
OLD, YOUNG = datetime(2025, 9, 14, 10, 20, tzinfo=UTC), datetime(2026, 3, 2, 10, 20, tzinfo=UTC)
LATER = NOW + timedelta(days=60)
KEPT_DAYS = 200
"""At `LATER` the retention reaches into October 2025."""


def answer(event_id: str, score: int, at: datetime, response: str) -> Any:
    return SurveyResponded(
        id=event_id,
        source="survey",
        time=at,
        response_id=response,
        metric="nps",
        score=score,
        scale={"min": 0, "max": 10},  # type: ignore[arg-type]
        dimensions={"team": "billing"},
    )


async def partitions(worker: Any) -> set[str]:
    rows = await worker.connection.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger'::regclass"
    )
    return {row[0] for row in rows}


async def life(worker: Any, at: datetime, sign: int = 1) -> None:
    await worker.connection.execute(
        "INSERT INTO ledger (document, metric, sign, value, at, customer, recorded_at) "
        "VALUES ('lifecycle:00', $1, $2, 1, $3, 7, $4)",
        int(MetricNumber.LIFECYCLE),
        sign,
        at,
        at + timedelta(minutes=1),
    )


async def nps(worker: Any, since: datetime, until: datetime, as_of: datetime | None = None) -> int:
    span = Span(*(int(at.timestamp()) * 1_000_000 for at in (since, until)))
    found = await Questions(worker.database).sums(Question(CATALOGUE["nps"], (span,), as_of=as_of))
    return sum(sums.n for sums in found.values())


async def days(worker: Any) -> list[tuple[Any, ...]]:
    rows = await worker.connection.fetch(
        "SELECT * FROM bucket_day ORDER BY metric, dimension, at, value, shard"
    )
    return [tuple(row) for row in rows]


@pytest.fixture
async def filled(worker: Any) -> Any:
    await worker.deliver([answer("a", 9, OLD, "r1"), answer("b", 2, YOUNG, "r2")])
    await life(worker, OLD)
    await life(worker, OLD + timedelta(days=3), sign=-1)
    await life(worker, YOUNG)
    return worker


async def test_months_are_made_from_the_oldest_that_is_kept_to_three_ahead(worker: Any) -> None:
    assert await partitions(worker) == {
        "ledger_other",
        *(f"ledger_2025_{month:02}" for month in range(2, 13)),
        *(f"ledger_2026_{month:02}" for month in range(1, 7)),
    }
    assert await make_months(worker.database, NOW) == 0
    assert await make_months(worker.database, NOW + timedelta(days=31)) == 1


async def test_a_month_to_come_gets_its_partition_though_long_targets_are_due_in_it(worker: Any) -> None:
    target = SlaTarget(Clock.RESOLUTION, 200 * 24 * HOUR, Hours.CALENDAR)
    worker.rules = replace(
        worker.rules, sla=(SlaPolicy((), (target,)),), generation=worker.rules.generation + 1
    )
    worker.restart()
    fields: dict[str, Any] = {"source": "desk", "ticket_id": "1", "channel": "email"}
    await worker.deliver([TicketCreated(**fields, id="c", created_by="customer", time=worker.now)])
    october = datetime(2026, 7, 20, tzinfo=UTC)
    before = await worker.net_ledger()
    async with rebuild_lock(worker.connection):
        await make_months(worker.database, october)
        assert await worker.connection.fetchval("SELECT count(*) FROM ledger_other") == 1
    assert await make_months(worker.database, october) == 1
    assert await worker.connection.fetchval("SELECT count(*) FROM ledger_2026_10") == 1
    assert await worker.net_ledger() == before
    names = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = $1::regclass"
    made, other = [await worker.connection.fetch(names, f"ledger_2026_{month}") for month in ("10", "03")]
    assert len(made) == len(other) > 1
    assert (await rebuild(worker.database, TopicNames(), now=lambda: worker.now)).documents == 1


async def test_a_question_about_a_month_reads_that_month_alone(filled: Any) -> None:
    plan = await filled.connection.fetch(
        "EXPLAIN SELECT sum(sign) FROM ledger WHERE metric = 1 AND at >= $$2026-03-01$$ AND at < $$2026-03-20$$"
    )
    text = "\n".join(row[0] for row in plan)
    assert "ledger_2026_03" in text
    assert "ledger_2025" not in text
    assert "ledger_other" not in text


async def test_only_months_wholly_older_are_dropped(filled: Any) -> None:
    before = await days(filled)
    ended = await end_months(filled.database, LATER, KEPT_DAYS)
    assert ended.months == 8
    assert await partitions(filled) == {
        "ledger_other",
        *(f"ledger_2025_{month:02}" for month in range(10, 13)),
        *(f"ledger_2026_{month:02}" for month in range(1, 7)),
    }
    assert await ledger_from(filled.connection) == datetime(2025, 10, 1, tzinfo=UTC)
    assert await nps(filled, NOW - timedelta(days=90), NOW) == 1
    assert await nps(filled, NOW - timedelta(days=90), NOW, as_of=NOW) == 1
    assert await days(filled) == before
    # None of them is made again, and a second look finds nothing to do.
    assert await make_months(filled.database, LATER, KEPT_DAYS) == 2
    assert await end_months(filled.database, LATER, KEPT_DAYS) == (0, 0, 0)


async def test_what_is_kept_for_life_moves_unchanged(filled: Any) -> None:
    everything = "SELECT * FROM ledger WHERE metric = $1 ORDER BY at"
    before = await filled.connection.fetch(everything, int(MetricNumber.LIFECYCLE))
    await end_months(filled.database, LATER, KEPT_DAYS)
    assert await filled.connection.fetch(everything, int(MetricNumber.LIFECYCLE)) == before
    held = await filled.connection.fetch("SELECT metric, at FROM ledger_other ORDER BY at")
    assert [tuple(row) for row in held] == [(21, OLD), (21, OLD + timedelta(days=3))]


async def test_a_late_fact_for_a_dropped_month_does_no_harm(filled: Any) -> None:
    await end_months(filled.database, LATER, KEPT_DAYS)
    await filled.deliver([answer("c", 9, OLD, "r3"), answer("d", 1, OLD + timedelta(minutes=1), "r1")])
    rows = await filled.connection.fetch(
        "SELECT sign, value FROM ledger_other WHERE metric = 1 ORDER BY 1, 2"
    )
    assert [tuple(row) for row in rows] == [(-1, 900), (1, 100), (1, 900)]
    # By day everything is told for ever: the edit and the late answer are in it.
    found = await filled.connection.fetchrow(
        "SELECT sum(n)::int, sum(sum)::int FROM bucket_day WHERE metric = 1 AND dimension = 0 AND at = $1",
        int(OLD.timestamp()) // 86_400,
    )
    assert tuple(found) == (2, 1000)
    assert await nps(filled, NOW - timedelta(days=90), NOW) == 1
    # The next look takes them away again, in the ledger and by hour.
    assert (await end_months(filled.database, LATER, KEPT_DAYS)).rows == 3
    assert await filled.connection.fetchval("SELECT count(*) FROM ledger WHERE metric = 1") == 1
    assert (
        await filled.connection.fetchval("SELECT count(DISTINCT at) FROM bucket_hour WHERE metric = 1") == 1
    )


async def test_rows_that_no_month_was_made_for_end_too(filled: Any) -> None:
    long_ago = OLD - timedelta(days=700)
    await filled.deliver([answer("z", 5, long_ago, "r9")])
    assert await filled.connection.fetchval("SELECT count(*) FROM ledger_other WHERE metric = 1") == 1
    ended = await end_months(filled.database, LATER, KEPT_DAYS)
    # An answer is booked in several metrics, and each of its buckets by hour goes with it.
    assert ended.rows >= 1
    assert ended.hours > ended.rows
    assert (
        await filled.connection.fetchval("SELECT count(*) FROM ledger WHERE at < $1 AND metric <> 21", OLD)
        == 0
    )


async def test_months_in_use_are_left_for_the_next_look(filled: Any, database_url: str) -> None:
    async with Database(database_url, schema="scoring") as other:
        reading = await other.connect()
        async with reading.transaction():
            await reading.fetch("SELECT count(*) FROM ledger")
            assert await end_months(filled.database, LATER, KEPT_DAYS) == (0, 0, 0)
        async with rebuild_lock(reading):
            assert await end_months(filled.database, LATER, KEPT_DAYS) == (0, 0, 0)
        await reading.close()
    assert await ledger_from(filled.connection) is None
    assert (await end_months(filled.database, LATER, KEPT_DAYS)).months == 8


async def test_other_rules_leave_dropped_months_as_they_were_booked(filled: Any) -> None:
    await end_months(filled.database, LATER, KEPT_DAYS)
    before = await days(filled)
    filled.rules = replace(filled.rules, generation=filled.rules.generation + 1)
    filled.restart()
    # Facts that change no number: the documents are booked by the new rules, what is gone is not booked twice.
    await filled.deliver(
        [answer("0", 3, OLD - timedelta(hours=1), "r1"), answer("1", 3, YOUNG - timedelta(hours=1), "r2")]
    )
    assert await days(filled) == before
    assert {generation for generation, _ in (await filled.documents()).values()} == {filled.rules.generation}
    # One that does change a number is told by day, as ever.
    await filled.deliver([answer("2", 1, OLD + timedelta(minutes=1), "r1")])
    found = await filled.connection.fetchrow(
        "SELECT sum(n)::int, sum(sum)::int FROM bucket_day WHERE metric = 1 AND dimension = 0 AND at = $1",
        int(OLD.timestamp()) // 86_400,
    )
    assert tuple(found) == (1, 100)


async def test_a_rebuild_leaves_dropped_months_alone(filled: Any) -> None:
    await filled.connection.execute("DELETE FROM ledger WHERE document LIKE 'lifecycle:%'")
    await end_months(filled.database, LATER, KEPT_DAYS)
    before = await days(filled)
    assert (await rebuild(filled.database, TopicNames())).was_right
    await filled.connection.execute("UPDATE documents SET generation = generation - 1")
    outcome = await rebuild(filled.database, TopicNames())
    assert (outcome.outdated, outcome.ledger_rows, outcome.was_right) == (2, 0, True)
    assert await days(filled) == before
