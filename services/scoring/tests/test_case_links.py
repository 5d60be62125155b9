"""What was believed of cases at any time stays known, though a record of theirs is replaced."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cxloop_common.events import AlertRecord, Owner
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.metrics import CATALOGUE
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.domain.rules import DEFAULT_RULES
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store.joined import joined_answers

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
WINDOW = (Span(microseconds(NOON - timedelta(days=1)), microseconds(NOON + timedelta(days=1))),)


def alert(case_id: str, record: str, *supersedes: str) -> AlertRecord:
    fields: dict[str, Any] = {"version": 1, "status": "open", "change": "opened", "severity": "high"}
    fields |= {"rule": "low-nps", "route": "vip", "owner": Owner(kind="team", id="care", name="Care")}
    fields |= {"case_id": case_id, "reason": "x", "at": NOON, "supersedes": supersedes}
    return AlertRecord(**fields, id=record, source="alerting", time=NOON)


async def cases_known(worker: Any, as_of: datetime | None = None) -> int:
    """Count the cases that nobody supersedes."""
    question = Question(CATALOGUE["closed_loop_rate"], WINDOW, as_of=as_of)
    async with worker.connection.transaction():
        (found,) = await joined_answers(
            worker.connection, [question], DEFAULT_RULES, NOON + timedelta(days=1)
        )
    return found[0, None].n if found else 0


async def links(worker: Any) -> list[tuple[str, datetime, datetime | None]]:
    rows = await worker.connection.fetch(
        "SELECT subject, recorded_at, forgotten_at FROM case_links WHERE case_document = 'case:heir' "
        "ORDER BY subject, recorded_at"
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def winner(worker: Any) -> tuple[str, str]:
    """Give which of two contents under one event id counts, and which loses."""
    await worker.deliver([alert("heir", "1", "a"), alert("heir", "1", "b")])
    ((_, subject, _),) = await worker.case_links()
    await worker.reset()
    won = subject.removeprefix("case:")
    return won, "b" if won == "a" else "a"


async def test_as_of_knows_the_case_that_a_content_superseded_until_it_lost(worker: Any) -> None:
    won, lost = await winner(worker)
    first, second = worker.now, worker.now + timedelta(hours=2)
    # One more case is superseded by what loses; the other subject is a case that nobody ever told of.
    await worker.deliver([alert(lost, "0"), alert("heir", "1", lost)])
    assert await cases_known(worker) == 1
    worker.now = second
    await worker.deliver([alert("heir", "1", won)])
    assert await cases_known(worker) == 2
    assert await cases_known(worker, first - timedelta(hours=1)) == 0
    assert await cases_known(worker, first + timedelta(hours=1)) == 1
    assert await cases_known(worker, second - timedelta(microseconds=1)) == 1
    assert await cases_known(worker, second) == 2


async def test_a_link_that_comes_back_was_forgotten_in_between(worker: Any) -> None:
    won, lost = await winner(worker)
    times = [worker.now + timedelta(hours=number) for number in range(3)]
    for worker.now, record in zip(
        times, (alert("heir", "1", lost), alert("heir", "1", won), alert("heir", "2", lost)), strict=True
    ):
        await worker.deliver([record])
    assert sorted(await links(worker)) == sorted(
        [
            (f"case:{lost}", times[0], times[1]),
            (f"case:{lost}", times[2], None),
            (f"case:{won}", times[1], None),
        ],
        key=lambda link: link[:2],
    )
    assert await worker.case_links() == {(1, "case:a", "case:heir"), (1, "case:b", "case:heir")}


@pytest.mark.parametrize("times", [2, 3])
async def test_a_link_that_is_told_again_keeps_the_time_when_it_was_first_met(
    worker: Any, times: int
) -> None:
    first = worker.now
    for number in range(times):
        worker.now = first + timedelta(hours=number)
        await worker.deliver([alert("heir", str(number), "a")])
    assert await links(worker) == [("case:a", first, None)]
