"""Metrics in which documents meet, asked of a real ledger."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.metrics import CATALOGUE, MetricNumber, Plan
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.domain.rules import Costs, Rules
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store.joined import joined_answers

from .booking import (
    CONTACT,
    CSAT,
    HIGH,
    LIFECYCLE,
    LOW,
    MIDDLE,
    NOW,
    SENT,
    UNLINKED,
    VALUE,
    Ledger,
    day,
    ledger_of,
)


@pytest_asyncio.fixture
async def ledger(database_url: str) -> AsyncGenerator[Ledger]:
    async with ledger_of(database_url) as found:
        yield found


# First contact resolution -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("came_back", "value"),
    [
        ({"at": 3, "customer": "user:a"}, 50),
        ({"at": 8, "customer": "user:a"}, 50),  # seven days after the solve, to the microsecond
        ({"at": 8.0001, "customer": "user:a"}, 100),
        ({"at": 1, "customer": "user:a"}, 100),  # at the moment of the solve is not after it
        ({"at": 3, "customer": "user:b"}, 100),
        ({"at": 3, "customer": "user:a", "kind": "delivery"}, 100),
        ({"at": 3, "customer": "user:a", "kind": None}, 100),
        ({"at": 3, "customer": None}, 100),
    ],
)
async def test_a_customer_who_comes_back_about_it_within_a_week_was_not_helped_at_once(
    ledger: Ledger, came_back: dict[str, Any], value: int
) -> None:
    await ledger.contact(1, 0, "user:a")
    await ledger.solve(1, 1, "user:a")
    await ledger.solve(2, 1, "user:c")
    await ledger.contact(3, **came_back)
    assert await ledger.ask("first_contact_resolution") == (2, value)


async def test_tickets_with_several_contacts_count_as_solved_alone(ledger: Ledger) -> None:
    await ledger.solve(1, 1, "user:a", candidate=False)
    await ledger.solve(2, 1, "user:b")
    assert await ledger.ask("first_contact_resolution") == (2, 50)


async def test_a_message_on_the_ticket_itself_is_nobodys_return(ledger: Ledger) -> None:
    await ledger.solve(1, 1, "user:a")
    await ledger.contact(1, 2, "user:a")
    assert await ledger.ask("first_contact_resolution") == (1, 100)


async def test_a_withdrawn_contact_refutes_nothing(ledger: Ledger) -> None:
    await ledger.solve(1, 1, "user:a")
    await ledger.contact(2, 2, "user:a")
    assert await ledger.ask("first_contact_resolution") == (1, 0)
    await ledger.book("ticket:z:2", CONTACT, day(2), customer="user:a", contact_type="bill", sign=-1)
    assert await ledger.ask("first_contact_resolution") == (1, 100)


async def test_what_was_solved_within_a_week_is_provisional(ledger: Ledger) -> None:
    for number, at in enumerate((1, 2, 3, 4)):
        await ledger.solve(number, at, f"user:{number}")
    found = await ledger.answers("first_contact_resolution", now=day(9.5))
    assert found[0, None].extra == {"provisional": 2}
    found = await ledger.answers("first_contact_resolution", as_of=day(8.5))
    assert found[0, None].extra == {"provisional": 3}


# Repeat contacts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier", "value"),
    [
        ({"at": 4, "customer": "user:a"}, 100),
        ({"at": -2, "customer": "user:a"}, 100),  # before the window, seven days to the microsecond
        ({"at": -2.0001, "customer": "user:a"}, 0),
        ({"at": 4, "customer": "user:b"}, 0),
        ({"at": 4, "customer": "user:a", "kind": "delivery"}, 0),
        ({"at": 4, "customer": "user:a", "kind": None}, 0),
    ],
)
async def test_a_contact_is_repeated_after_one_about_the_same_within_a_week(
    ledger: Ledger, earlier: dict[str, Any], value: int
) -> None:
    await ledger.contact(1, **earlier)
    await ledger.contact(2, 5, "user:a")
    assert await ledger.ask("repeat_contact_rate", (4.5, 10)) == (1, value)


async def test_of_two_contacts_at_one_moment_the_lesser_ticket_is_the_first(ledger: Ledger) -> None:
    await ledger.book("ticket:z:1", CONTACT, day(1), customer="user:a", contact_type="bill", team="one")
    await ledger.book("ticket:z:2", CONTACT, day(1), customer="user:a", contact_type="bill", team="two")
    assert await ledger.ask("repeat_contact_rate") == (2, 50)
    assert await ledger.ask("repeat_contact_rate", where={"team": "one"}) == (1, 0)
    assert await ledger.ask("repeat_contact_rate", where={"team": "two"}) == (1, 100)


async def test_contacts_without_customer_or_type_are_unjudged(ledger: Ledger) -> None:
    await ledger.contact(1, 1, None)
    await ledger.contact(2, 1, "user:a", None)
    await ledger.contact(3, 1, "user:a")
    found = (await ledger.answers("repeat_contact_rate"))[0, None]
    assert (found.n, found.value, found.extra) == (1, 0, {"unjudged": 2})


async def test_a_filter_leaves_out_contacts_and_not_what_came_before_them(ledger: Ledger) -> None:
    await ledger.book("ticket:z:1", CONTACT, day(1), customer="user:a", contact_type="bill", team="one")
    await ledger.book("ticket:z:2", CONTACT, day(2), customer="user:a", contact_type="bill", team="two")
    found = await ledger.answers("repeat_contact_rate", by="team")
    assert {cell: answer.value for cell, answer in found.items()} == {(0, "one"): 0, (0, "two"): 100}


async def test_a_merge_of_identifiers_makes_contacts_repeated_and_as_of_before_it_does_not(
    ledger: Ledger,
) -> None:
    await ledger.contact(1, 1, "user:a")
    await ledger.contact(2, 2, "email:a@example.com")
    await ledger.solve(1, 1.5, "user:a")
    assert await ledger.ask("repeat_contact_rate") == (2, 0)
    assert await ledger.ask("first_contact_resolution") == (1, 100)
    ledger.recorded_at = day(20)
    await ledger.own("cus_a", 1, "user:a", "email:a@example.com")
    assert await ledger.ask("repeat_contact_rate") == (2, 50)
    assert await ledger.ask("first_contact_resolution") == (1, 0)
    before, after = day(20) - timedelta(microseconds=1), day(20)
    assert await ledger.ask("repeat_contact_rate", as_of=before) == (2, 0)
    assert await ledger.ask("repeat_contact_rate", as_of=after) == (2, 50)
    assert await ledger.ask("first_contact_resolution", as_of=before) == (1, 100)
    # A split takes it back; what was known in between stays known.
    ledger.recorded_at = day(30)
    await ledger.own("cus_b", 2, "email:a@example.com")
    assert await ledger.ask("repeat_contact_rate") == (2, 0)
    assert await ledger.ask("repeat_contact_rate", as_of=after) == (2, 50)


# Response rate ----------------------------------------------------------------------------------------------


async def test_sends_whose_response_is_known_count_by_it(ledger: Ledger) -> None:
    for number, value in enumerate((1, 0, 0, 1)):
        await ledger.book(f"response:s:{number}", SENT, day(1), value=value, survey="q")
    assert await ledger.ask("response_rate") == (4, 50)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ({"at": 1}, 50),
        ({"at": 90.9999}, 50),
        ({"at": 91}, 0),
        ({"at": 0.9999}, 0),
        ({"at": 2, "metric": CSAT}, 50),
        ({"at": 2, "metric": MetricNumber.SENTIMENT}, 0),
        ({"at": 2, "survey": "other"}, 0),
        ({"at": 2, "source": "other"}, 0),
        ({"at": 2, "customer": "user:b"}, 0),
    ],
)
async def test_other_sends_count_as_answered_by_their_customers_next_answer_to_the_survey(
    ledger: Ledger, answer: dict[str, Any], value: int
) -> None:
    await ledger.own("cus_a", 1, "user:a", "email:a@example.com")
    await ledger.book("send:s:1", UNLINKED, day(1), value=0, customer="user:a", survey="q", source="s")
    await ledger.book("send:s:2", UNLINKED, day(1), value=0, survey="q", source="s")
    given: dict[str, Any] = {
        "customer": "email:a@example.com",
        "band": HIGH,
        "survey": "q",
        "source": "s",
        **answer,
    }
    await ledger.score("1", **given)
    assert await ledger.ask("response_rate") == (2, value)


# Retention and churn ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "n", "kept"),
    [
        ([(-1, 1)], 1, 1),
        ([(-1, 1), (5, 0)], 1, 0),
        ([(-1, 1), (5, 0), (6, 1)], 1, 1),
        ([(-1, 1), (10, 0)], 1, 1),  # the window ends before its end
        ([(0, 1)], 0, None),  # nor does it begin before its begin
        ([(-2, 1), (-1, 0)], 0, None),
        ([(-2, 1), (-1, 0), (1, 1)], 0, None),
        ([(1, 1), (2, 0)], 0, None),
    ],
)
async def test_customers_are_kept_or_lost_from_one_cohort(
    ledger: Ledger, told: list[tuple[float, int]], n: int, kept: int | None
) -> None:
    for at, state in told:
        await ledger.book("lifecycle:a", LIFECYCLE, day(at), value=state, customer="user:a")
    assert await ledger.ask("retention") == (n, None if kept is None else 100 * kept)
    assert await ledger.ask("churn") == (n, None if kept is None else 100 - 100 * kept)


async def test_the_identifiers_of_a_customer_are_walked_together(ledger: Ledger) -> None:
    await ledger.book("lifecycle:a", LIFECYCLE, day(-3), value=1, customer="user:a", channel="web")
    await ledger.book("lifecycle:b", LIFECYCLE, day(-2), value=1, customer="user:b", channel="shop")
    await ledger.book("lifecycle:b", LIFECYCLE, day(4), value=0, customer="user:b", channel="phone")
    assert await ledger.ask("retention") == (2, 50)
    ledger.recorded_at = day(20)
    await ledger.own("cus_a", 1, "user:a", "user:b")
    assert await ledger.ask("retention") == (1, 0)
    assert await ledger.ask("retention", as_of=day(19)) == (2, 50)
    # The change that made the customer active says where they belong.
    assert await ledger.ask("churn", where={"channel": "web"}) == (1, 100)
    assert await ledger.ask("churn", where={"channel": "shop"}) == (0, None)


async def test_each_span_of_a_series_has_its_own_cohort(ledger: Ledger) -> None:
    await ledger.book("lifecycle:a", LIFECYCLE, day(-1), customer="user:a")
    await ledger.book("lifecycle:b", LIFECYCLE, day(2), customer="user:b")
    await ledger.book("lifecycle:b", LIFECYCLE, day(7), value=0, customer="user:b")
    found = await ledger.answers("churn", (0, 5), (5, 10), (10, 15))
    assert [(found[place, None].n, found[place, None].value) for place in range(3)] == [
        (1, 0),
        (2, 50),
        (1, 0),
    ]


# Cases ------------------------------------------------------------------------------------------------------


async def test_closed_cases_are_a_share_of_those_opened_in_the_window(ledger: Ledger) -> None:
    await ledger.case("early", -1, closed=2)
    await ledger.case("closed", 1, closed=2, due=3)
    await ledger.case("late", 1, closed=4, due=3)
    await ledger.case("open", 2, due=20)
    await ledger.case("overdue", 2, due=4)
    await ledger.case("no-due", 2, closed=3)
    found = (await ledger.answers("closed_loop_rate", now=day(10)))[0, None]
    assert (found.n, found.value) == (5, 60)
    assert found.extra["on_time"] == pytest.approx(100 / 3)
    found = (await ledger.answers("closed_loop_rate", now=day(20)))[0, None]
    assert found.extra["on_time"] == 25


async def test_coverage_is_the_share_of_low_scores_that_raised_a_case(ledger: Ledger) -> None:
    await ledger.score("1", 1, "user:a", LOW)
    await ledger.score("2", 1, "user:b", LOW, CSAT)
    await ledger.score("3", 1, "user:c", LOW)
    await ledger.score("4", 1, "user:d", HIGH)
    await ledger.score("5", -1, "user:e", LOW)
    await ledger.case("one", 1, trigger="1")
    await ledger.case("two", 1, trigger="4")
    await ledger.case("gone", 1, trigger="3")
    assert (await ledger.answers("closed_loop_rate"))[0, None].extra["coverage"] == pytest.approx(200 / 3)
    ledger.recorded_at = day(30)
    await ledger.case("heir", 2, supersedes="gone")
    found = (await ledger.answers("closed_loop_rate"))[0, None]
    assert (found.n, found.extra["coverage"]) == (3, pytest.approx(100 / 3))
    before = (await ledger.answers("closed_loop_rate", as_of=day(29)))[0, None]
    assert (before.n, before.extra["coverage"]) == (3, pytest.approx(200 / 3))


async def test_cases_are_grouped_by_what_they_are_filed_under(ledger: Ledger) -> None:
    await ledger.case("a", 1, closed=2, rule="low-nps", team="care")
    await ledger.case("b", 1, rule="low-csat", team="care")
    found = await ledger.answers("closed_loop_rate", by="rule")
    assert {cell: answer.value for cell, answer in found.items()} == {
        (0, "low-nps"): 100,
        (0, "low-csat"): 0,
    }
    assert await ledger.ask("closed_loop_rate", where={"team": "care"}) == (2, 50)
    assert await ledger.ask("closed_loop_rate", where={"rule": "low-csat", "team": "care"}) == (1, 0)


@pytest.fixture
async def respondents(ledger: Ledger) -> Ledger:
    """Four customers with a low score and the response document that goes with it."""
    for name in "abcd":
        await ledger.score(name, 0, f"user:{name}", LOW)
        await ledger.remember(name, 0)
    return ledger


async def test_a_customer_is_recovered_by_the_next_score_of_the_metric(respondents: Ledger) -> None:
    for name in "abcd":
        await respondents.case(f"case-{name}", 1, closed=1.5 if name == "d" else 3, trigger=name)
    await respondents.score("a2", 2, "user:a", HIGH)  # before the closing: not the next one
    await respondents.score("a3", 4, "user:a", LOW)
    await respondents.score("a4", 5, "user:a", HIGH)
    await respondents.score("b2", 4, "user:b", MIDDLE)
    await respondents.score("c2", 4, "user:c", HIGH, CSAT)
    found = (await respondents.answers("recovery_rate"))[0, None]
    assert (found.n, found.value, found.extra) == (2, 50, {"of_all": 25})
    # Closed in the window is what counts, not opened in it.
    assert await respondents.ask("recovery_rate", (2, 4)) == (2, 50)
    assert await respondents.ask("recovery_rate", (0, 3)) == (0, None)


async def test_a_score_under_another_identifier_recovers_once_they_are_merged(respondents: Ledger) -> None:
    await respondents.case("case", 1, closed=3, trigger="a")
    await respondents.score("a2", 4, "email:a@example.com", HIGH)
    assert await respondents.ask("recovery_rate") == (0, None)
    respondents.recorded_at = day(20)
    await respondents.own("cus_a", 1, "user:a", "email:a@example.com")
    assert await respondents.ask("recovery_rate") == (1, 100)
    assert await respondents.ask("recovery_rate", as_of=day(19)) == (0, None)


async def test_lift_is_what_contacted_customers_recover_more_than_others(respondents: Ledger) -> None:
    await respondents.case("case-a", 1, contacted=2, trigger="a")
    await respondents.case("case-b", 1, contacted=5, trigger="b")  # after the next score: too late for it
    await respondents.score("a2", 4, "user:a", HIGH)
    await respondents.score("b2", 4, "user:b", LOW)
    await respondents.score("c2", 4, "user:c", HIGH)
    found = (await respondents.answers("recovery_lift", (0, 1)))[0, None]
    assert (found.n, found.value) == (3, 50)
    assert found.extra == {
        "contacted_n": 1,
        "contacted_rate": 100,
        "uncontacted_n": 2,
        "uncontacted_rate": 50,
    }
    assert found.interval is not None
    assert found.interval.low < 0 < found.interval.high


async def test_the_latest_low_score_of_a_customer_is_the_one_that_counts_for_lift(
    respondents: Ledger,
) -> None:
    await respondents.score("a2", 2, "user:a", LOW)
    await respondents.score("a3", 3, "user:a", HIGH)
    await respondents.case("case", 2, contacted=2.5, trigger="a2")
    found = (await respondents.answers("recovery_lift", (0, 2.5)))[0, None]
    assert (found.n, found.extra["contacted_n"], found.extra["contacted_rate"]) == (1, 1, 100)


EUR = Rules(costs=Costs(currency="EUR"))


async def test_revenue_at_risk_is_a_years_worth_of_customers_with_open_cases(respondents: Ledger) -> None:
    await respondents.own("cus_a", 1, "user:a", "email:a@example.com")
    await respondents.case("open", 1, trigger="a")
    await respondents.case("again", 2, trigger="a")
    await respondents.case("closed", 1, closed=2, trigger="b")
    await respondents.case("closed-later", 1, closed=12, trigger="c")
    for customer, at, amount, currency in (
        ("user:a", 1, 1000, "EUR"),
        ("email:a@example.com", 2, 500, "EUR"),
        ("user:a", 10, 7, "EUR"),
        ("user:a", -355, 20, "EUR"),
        ("user:a", -355.001, 9, "EUR"),
        ("user:a", 3, 11, "USD"),
        ("user:b", 3, 13, "EUR"),
        ("user:c", 3, 300, "EUR"),
    ):
        await respondents.book(
            f"lifecycle:{customer}", VALUE, day(at), value=amount, customer=customer, currency=currency
        )
    assert await respondents.ask("revenue_at_risk", rules=EUR) == (2, 18.2)
    assert await respondents.ask("revenue_at_risk", (0, 13), rules=EUR) == (1, 15.07)


async def test_nothing_known_is_no_answer(ledger: Ledger) -> None:
    joined = [name for name, metric in CATALOGUE.items() if metric.plan is Plan.JOINED]
    assert len(joined) == 9
    for name in joined:
        assert await ledger.ask(name, rules=EUR) == (0, None)
        assert await ledger.answers(name, by="team", rules=EUR) == {}


async def test_metrics_that_share_what_they_read_answer_as_each_does_alone(respondents: Ledger) -> None:
    await respondents.score("later", 6, "user:a", HIGH)
    await respondents.case("1", 1, due=4, closed=3, contacted=2, trigger="a")
    await respondents.case("2", 2, due=5, trigger="b")
    spans = (Span(microseconds(day(0)), microseconds(day(10))),)
    names = ("closed_loop_rate", "recovery_rate", "recovery_lift", "revenue_at_risk")
    questions = [Question(CATALOGUE[name], spans) for name in names]
    async with respondents.connection.transaction(isolation="repeatable_read", readonly=True):
        together = await joined_answers(respondents.connection, questions, EUR, NOW)
    assert together == [await respondents.answers(name, rules=EUR) for name in names]
    assert [found[0, None].n for found in together] == [2, 1, 1, 1]
