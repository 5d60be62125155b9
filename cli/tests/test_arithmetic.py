import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from cxloop_cli.demo import arithmetic, outcomes, statistics
from cxloop_cli.demo.stories import Answer, Assignment, Message, Person, Stories, Ticket, Turn, Visit

END = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANA = Person("Ana", "ana@example.com", "u-1", "11", "21", "business")
BEN = Person("Ben", "ben@example.com", "u-2", "12", "22", "consumer")


def ago(**span: float) -> datetime:
    return END - timedelta(**span)


def ticket(
    *steps: Message | Turn | Assignment, opened_by: str = "customer", at: datetime | None = None
) -> Ticket:
    opened_at = at or ago(days=2)
    by = "agent" if opened_by == "agent" else "customer"
    return Ticket("1", ANA, opened_at, by, "mail", "devices", "Help", steps)


def told(
    *, tickets: tuple[Ticket, ...] = (), answers: tuple[Answer, ...] = (), visits: tuple[Visit, ...] = ()
) -> Stories:
    return Stories(END, (ANA, BEN), tickets, answers, visits)


@pytest.mark.parametrize(
    ("answers", "value", "low", "high"),
    [
        ((50, 30, 20), 30, 14.05, 44.20),
        ((500, 300, 200), 30, 25.08, 34.74),
        ((6, 2, 2), 40, -12.59, 74.12),
    ],
)
def test_nps_and_its_interval_are_those_of_the_published_vectors(
    answers: tuple[int, int, int], value: float, low: float, high: float
) -> None:
    promoters, passives, detractors = answers
    figure = statistics.net_promoter([9] * promoters + [7] * passives + [6] * detractors)
    assert figure.value == pytest.approx(value)
    assert (figure.ci_low, figure.ci_high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_a_share_has_the_interval_of_wilson() -> None:
    figure = statistics.share([True] * 70 + [False] * 30)
    assert (figure.value, figure.n, figure.status) == (70, 100, "ok")
    assert (figure.ci_low, figure.ci_high) == (pytest.approx(60.42, abs=0.01), pytest.approx(78.11, abs=0.01))
    few = statistics.share([True] * 4 + [False])
    assert (few.ci_low, few.ci_high) == (pytest.approx(37.55, abs=0.01), pytest.approx(96.38, abs=0.01))
    assert few.status == "low_confidence"


@pytest.mark.parametrize(("degrees", "point"), [(1, 12.706205), (4, 2.776445), (9, 2.262157), (29, 2.045230)])
def test_students_t_is_that_of_the_printed_tables(degrees: int, point: float) -> None:
    assert statistics.student_t(degrees) == pytest.approx(point, abs=1e-5)


def test_a_mean_has_students_interval() -> None:
    # 4, 5, 6, 7, 3: mean 5, variance 2.5, so the half width is 2.776445 * sqrt(2.5 / 5).
    figure = statistics.mean([4, 5, 6, 7, 3])
    assert figure.value == 5
    assert figure.ci_high == pytest.approx(5 + 2.776445 * 0.5**0.5, abs=1e-5)


def test_a_median_lies_between_order_statistics() -> None:
    assert [statistics.median_rank(n) for n in (5, 6, 8, 9, 17, 20)] == [0, 1, 1, 2, 5, 6]
    figure = statistics.durations([60, 10, 20, 30, 40, 50])
    assert (figure.value, figure.extra["p90"], figure.ci_low, figure.ci_high) == (35, 55, 10, 60)
    assert statistics.durations([1, 2, 3, 4, 5]).ci_low is None


def test_fewer_than_five_are_counted_and_withheld() -> None:
    figure = statistics.net_promoter([9, 9, 2, 8])
    assert (figure.value, figure.ci_low, figure.n, figure.status) == (None, None, 4, "suppressed")


def test_only_a_public_reply_of_a_person_is_a_first_response() -> None:
    start = ago(days=2)
    one = ticket(
        Message(start + timedelta(seconds=30), "bot"),
        Message(start + timedelta(minutes=2), "agent", public=False),
        Message(start + timedelta(minutes=12), "agent"),
    )
    assert arithmetic.first_responses(one) == [(start + timedelta(minutes=12), 720)]
    assert arithmetic.first_responses(dataclasses.replace(one, opened_by="agent")) == []
    assert arithmetic.first_responses(ticket()) == []


def test_a_reopened_ticket_resolves_twice_and_an_unsolved_one_never() -> None:
    start = ago(days=2)
    turns = [Turn(start + timedelta(hours=hours), "open" if hours == 2 else "solved") for hours in (1, 2, 3)]
    once, again, all_of_it = ticket(*turns[:1]), ticket(*turns[:2]), ticket(*turns)
    assert (arithmetic.is_reopened(once), arithmetic.is_reopened(again)) == (False, True)
    assert arithmetic.last_solve(again) is None
    assert arithmetic.last_solve(all_of_it) == start + timedelta(hours=3)
    assert arithmetic.solves(all_of_it)[0] == start + timedelta(hours=1)


def test_the_window_takes_its_start_and_not_its_end() -> None:
    answers = tuple(
        Answer(str(number), ANA, "nps", 9, at)
        for number, at in enumerate((ago(days=30), ago(days=30, seconds=1), ago(seconds=1), END))
    )
    assert arithmetic.scorecard(told(answers=answers))["nps"].n == 2


def test_a_changed_answer_counts_once_at_its_last_word() -> None:
    answer = Answer("1", ANA, "csat", 5, ago(hours=1), before=(ago(hours=2), 1))
    stories = told(answers=(answer,))
    assert arithmetic.scorecard(stories)["csat"].n == 1
    assert outcomes.timeline(ANA, stories) == [(ago(hours=1), "survey_response")]
    assert outcomes.cases(stories) == []


def test_a_timeline_is_newest_first_and_of_one_customer() -> None:
    start = ago(days=2)
    one = ticket(
        Assignment(start + timedelta(minutes=1), "7"),
        Message(start + timedelta(minutes=2), "agent", public=False),
        Turn(start + timedelta(hours=1), "solved"),
    )
    visits = (Visit("v1", ANA, "purchase", ago(days=3), 5.0), Visit("v2", BEN, "usage", ago(days=1)))
    stories = told(tickets=(one,), visits=visits)
    kinds = [kind for _, kind in outcomes.timeline(ANA, stories)]
    assert kinds == ["ticket_solved", "ticket_note", "ticket_assigned", "ticket_created", "touchpoint"]
    assert outcomes.identifiers(ANA, stories) == {
        "email:ana@example.com",
        "user:u-1",
        "zendesk.requester:11",
    }


def test_two_low_scores_of_one_rule_are_one_case_and_old_ones_none() -> None:
    answers = (
        Answer("1", BEN, "csat", 2, ago(days=3)),
        Answer("2", BEN, "csat", 1, ago(days=1)),
        Answer("3", BEN, "nps", 6, ago(days=2)),
        Answer("4", BEN, "ces", 3, ago(days=8)),
        Answer("5", ANA, "nps", 0, ago(days=1)),
    )
    found = {(case.person.name, case.rule): case for case in outcomes.cases(told(answers=answers))}
    assert found.keys() == {
        ("Ben", "bad-contact"),
        ("Ben", "unhappy-customer"),
        ("Ana", "unhappy-customer"),
    }
    assert found["Ben", "bad-contact"].value == 1
    assert found["Ana", "unhappy-customer"].owners == {"Mia Berg"}
    assert found["Ana", "unhappy-customer"].severity == "urgent"
    assert found["Ben", "unhappy-customer"].severity == "high"


def test_each_wait_after_the_first_has_a_next_response() -> None:
    start = ago(days=2)
    one = ticket(
        Message(start + timedelta(minutes=5), "bot"),
        Message(start + timedelta(minutes=9), "agent"),
        Message(start + timedelta(minutes=10), "agent"),
        Message(start + timedelta(minutes=40), "customer"),
        Message(start + timedelta(minutes=45), "customer"),
        Message(start + timedelta(minutes=52), "agent"),
    )
    assert arithmetic.next_responses(one) == [(start + timedelta(minutes=52), 720)]
    begun_by_agent = dataclasses.replace(one, opened_by="agent")
    assert arithmetic.next_responses(begun_by_agent) == [(start + timedelta(minutes=52), 720)]
    assert (len(arithmetic.inbound(one)), len(arithmetic.inbound(begun_by_agent))) == (3, 2)


def test_another_ticket_within_seven_days_repeats_a_contact_and_refutes_a_solve() -> None:
    first = ticket(Turn(ago(days=9), "solved"), at=ago(days=9, hours=1))
    second = dataclasses.replace(ticket(at=ago(days=3)), id="2")
    contacts = [(one.opened_at, one) for one in (first, second)]
    assert arithmetic.is_repeated(second.opened_at, second, contacts)
    assert not arithmetic.is_repeated(first.opened_at, first, contacts)
    assert not arithmetic.settles_at_once(first, contacts)
    assert arithmetic.settles_at_once(first, contacts[:1])
    later = dataclasses.replace(second, opened_at=ago(days=1))
    assert arithmetic.settles_at_once(first, [contacts[0], (later.opened_at, later)])


def test_only_a_change_of_hands_is_a_handoff() -> None:
    start = ago(days=2)
    hands = [Assignment(start + timedelta(hours=n), agent) for n, agent in enumerate(("7", "7", "8", "7"))]
    assert [arithmetic.handoffs(ticket(*hands[:n])) for n in range(5)] == [0, 0, 0, 1, 2]


def test_a_target_is_judged_when_it_is_met_or_due() -> None:
    start = ago(days=2)
    met = ticket(Message(start + timedelta(hours=1), "agent"), Turn(start + timedelta(hours=9), "solved"))
    assert arithmetic.targets(met, told(tickets=(met,))) == [True, False]
    pending = ticket(at=ago(hours=3))
    assert arithmetic.targets(pending, told(tickets=(pending,))) == [True]


def test_whoever_cancels_last_is_no_customer_any_more() -> None:
    visits = (Visit("v1", ANA, "purchase", ago(days=40), 5.0), Visit("v2", ANA, "cancellation", ago(days=1)))
    stories = told(visits=visits)
    assert arithmetic.is_active(ANA, stories, ago(days=30))
    assert not arithmetic.is_active(ANA, stories, END)
    assert not arithmetic.is_active(BEN, stories, END)
    figures = arithmetic.scorecard(stories)
    assert (figures["retention"].n, figures["churn"].n) == (1, 1)
