"""Single rows of a real ledger and what they met: moments that random histories seldom come across."""

from collections.abc import AsyncGenerator

import pytest_asyncio

from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.joined.verdicts import Reason, Verdict
from cxloop_scoring.domain.metrics import CATALOGUE
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store.explaining import explained_numbers
from cxloop_scoring.store.explaining_joined import Joined
from cxloop_scoring.store.met_rows import MetRows
from cxloop_scoring.store.sums import Reading

from .booking import CSAT, HIGH, LOW, MIDDLE, Ledger, day, ledger_of


@pytest_asyncio.fixture
async def ledger(database_url: str) -> AsyncGenerator[Ledger]:
    async with ledger_of(database_url) as found:
        yield found


async def explained(ledger: Ledger, name: str, until: float = 10) -> dict[str, Verdict]:
    """Give the verdict on each row of a metric, by document."""
    question = Question(CATALOGUE[name], (Span(microseconds(day(0)), microseconds(day(until))),))
    reading = Reading(question, explained_numbers(question.metric), frozenset(), question.spans, (), {})
    async with ledger.connection.transaction(isolation="repeatable_read", readonly=True):
        joined = await Joined.of(MetRows(ledger.connection, reading), None)
        rows = [
            row for row in await joined.rows(50, None) if row.metric == reading.numbers[-1] or row.band == LOW
        ]
        verdicts = await joined.verdicts(rows)
    return {row.document: verdict for row, verdict in zip(rows, verdicts, strict=True)}


def met(verdict: Verdict) -> list[tuple[str, str]]:
    return [(one.role.value, one.document) for one in verdict.by]


async def test_a_score_between_opening_and_closing_does_not_recover_a_case(ledger: Ledger) -> None:
    await ledger.score("a", 0, "user:a", LOW)
    await ledger.remember("a", 0)
    await ledger.score("b", 0, "user:b", LOW)
    await ledger.remember("b", 0)
    await ledger.case("one", 1, closed=3, trigger="a")
    await ledger.case("two", 0.5, closed=1, trigger="b")
    await ledger.score("a2", 2, "user:a", HIGH)
    await ledger.score("a3", 4, "user:a", HIGH, CSAT)
    await ledger.score("a4", 5, "user:a", LOW)
    verdict = (await explained(ledger, "recovery_rate"))["case:one"]
    assert (verdict.n, verdict.hits, verdict.reason) == (1, 0, Reason.NOT_RECOVERED)
    assert met(verdict) == [("case_closed", "case:one"), ("next_score", "response:s:a4")]
    assert [one.at for one in verdict.by] == [microseconds(day(3)), microseconds(day(5))]
    # Closed at its end is not closed in the window.
    assert (await explained(ledger, "recovery_rate", until=3)).keys() == {"case:two"}


async def test_the_contact_that_refutes_is_found_under_another_identifier_of_the_customer(
    ledger: Ledger,
) -> None:
    await ledger.solve(1, 1, "user:a")
    await ledger.contact(1, 0, "user:a")
    await ledger.contact(2, 8, "email:a@example.com")
    await ledger.contact(3, 8.01, "user:a")
    assert (await explained(ledger, "first_contact_resolution"))["ticket:z:1"].hits == 1
    await ledger.own("cus_a", 1, "user:a", "email:a@example.com")
    verdict = (await explained(ledger, "first_contact_resolution"))["ticket:z:1"]
    assert (verdict.hits, verdict.reason, met(verdict)) == (
        0,
        Reason.CAME_BACK,
        [("later_contact", "ticket:z:2")],
    )


async def test_of_the_low_scores_of_a_customer_the_latest_of_the_window_counts_for_lift(
    ledger: Ledger,
) -> None:
    await ledger.score("a", 1, "user:a", LOW)
    await ledger.score("a2", 2, "user:a", LOW)
    await ledger.score("a3", 12, "user:a", MIDDLE)
    found = await explained(ledger, "recovery_lift")
    assert met(found["response:s:a"]) == [("later_low_score", "response:s:a2")]
    assert (found["response:s:a2"].n, found["response:s:a2"].hits) == (1, 1)
    assert met(found["response:s:a2"]) == [("next_score", "response:s:a3")]
