"""What tickets add to the metrics, definition by definition, without a database."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cxloop_common.business_time import Calendar, Calendars, Window
from cxloop_scoring.domain.clocks import ClockAnomaly
from cxloop_scoring.domain.documents import anomalies, contributions, fold, times_of_their_own
from cxloop_scoring.domain.facts import (
    AGENT,
    BOT,
    CLOSED,
    CUSTOMER,
    OPEN,
    SOLVED,
    Created,
    Deleted,
    Escalated,
    Fact,
    Facts,
    Linked,
    Merged,
    Replied,
    StatusChanged,
    Updated,
)
from cxloop_scoring.domain.metrics import DURATIONS, MetricNumber
from cxloop_scoring.domain.observations import Band, Observation, customer_of
from cxloop_scoring.domain.rules import DEFAULT_RULES, Clock, Hours, Rules, SlaPolicy, SlaTarget

TICKET = "ticket:zendesk-eu:1"
SECOND = 1_000_000
HOUR = 3600


def created(at: int, by: int = CUSTOMER, **more: Any) -> Fact:
    said = {"channel": "email", **more.pop("said", {})}
    return Created(at * SECOND, b"c%d" % at, by, said, None, more.pop("identifiers", ()), **more)


def reply(at: int, author: int = AGENT, *, public: bool = True, **more: Any) -> Fact:
    return Replied(at * SECOND, b"r%d" % at, author, public, {}, **more)


def status(at: int, became: int, **more: Any) -> Fact:
    return StatusChanged(at * SECOND, b"s%d" % at, became, {}, **more)


def updated(at: int, **more: Any) -> Fact:
    said = {name: more.pop(name) for name in ("team", "agent", "contact_type") if name in more}
    return Updated(at * SECOND, b"u%d" % at, said, None, more.pop("identifiers", ()), **more)


def named(facts: tuple[Fact, ...]) -> Facts:
    return {f"e{place:02}": fact for place, fact in enumerate(facts)}


def observed(*facts: Fact, rules: Rules = DEFAULT_RULES) -> list[Observation]:
    return contributions(TICKET, named(facts), rules)


def rows(name: str, *facts: Fact, rules: Rules = DEFAULT_RULES) -> list[tuple[int, int]]:
    """Give value and time of all observations of a metric, both in seconds where they are times."""
    number = MetricNumber[name]
    unit = 1000 if number in DURATIONS else 1
    return [
        (one.value // unit, one.at // SECOND) for one in observed(*facts, rules=rules) if one.metric == number
    ]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([created(0), reply(60)], [(60, 60)]),
        ([created(0), reply(30, BOT), reply(40, public=False), reply(60)], [(60, 60)]),
        ([created(0), reply(30, CUSTOMER), reply(60)], [(60, 60)]),
        ([created(0), reply(30, CUSTOMER, public=False), reply(60)], [(60, 60)]),
        ([created(0, AGENT), reply(30, CUSTOMER), reply(60)], []),
        ([created(0, BOT), reply(60)], []),
        ([created(0, BOT), reply(10), reply(30, CUSTOMER), reply(60)], [(30, 60)]),
        ([created(0), reply(0)], [(0, 0)]),
        ([reply(60), reply(0, CUSTOMER)], []),
        ([created(100), Linked(40 * SECOND, b"l", CUSTOMER), Linked(70 * SECOND, b"m", AGENT)], [(30, 70)]),
    ],
)
def test_only_people_start_and_stop_the_first_response(
    facts: list[Fact], expected: list[tuple[int, int]]
) -> None:
    assert rows("FIRST_RESPONSE_TIME", *facts) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([created(0), reply(60)], []),
        ([created(0), reply(60), reply(100, CUSTOMER), reply(130)], [(30, 130)]),
        ([created(0), reply(60), reply(100, CUSTOMER), reply(110, CUSTOMER), reply(130)], [(30, 130)]),
        ([created(0), reply(60), reply(70), reply(100, CUSTOMER)], []),
        ([created(0), reply(60), reply(70, BOT), reply(100)], []),
        (
            [created(0), reply(5), reply(6, CUSTOMER), reply(8), reply(9, CUSTOMER), reply(12)],
            [(2, 8), (3, 12)],
        ),
        ([created(0, AGENT), reply(30, CUSTOMER), reply(60)], [(30, 60)]),
        ([created(0, AGENT), reply(30), reply(60)], []),
        ([created(0), reply(5), Linked(7 * SECOND, b"l", CUSTOMER), reply(10)], [(3, 10)]),
    ],
)
def test_every_wait_but_the_first_is_a_next_response(
    facts: list[Fact], expected: list[tuple[int, int]]
) -> None:
    assert rows("NEXT_RESPONSE_TIME", *facts) == expected


@pytest.mark.parametrize(
    ("statuses", "first", "full", "reopened"),
    [
        ([], None, None, False),
        ([(10, SOLVED)], 10, 10, False),
        ([(10, SOLVED), (20, OPEN)], 10, None, True),
        ([(10, SOLVED), (20, OPEN), (50, SOLVED)], 10, 50, True),
        ([(10, SOLVED), (90, CLOSED)], 10, 10, False),
        ([(10, SOLVED), (90, SOLVED)], 10, 90, False),
        ([(10, CLOSED)], 10, 10, False),
        ([(5, OPEN), (10, SOLVED)], 10, 10, False),
    ],
)
def test_resolution_runs_to_the_first_and_to_the_last_solve(
    statuses: list[tuple[int, int]], first: int | None, full: int | None, *, reopened: bool
) -> None:
    facts = [created(0), *(status(at, became) for at, became in statuses)]
    assert rows("FIRST_RESOLUTION_TIME", *facts) == ([] if first is None else [(first, first)])
    assert rows("FULL_RESOLUTION_TIME", *facts) == ([] if full is None else [(full, full)])
    assert rows("REOPEN_RATE", *facts) == ([(1, first)] if reopened else [])
    assert rows("TICKET_VOLUME", *facts) == [(1, 0)]


@pytest.mark.parametrize(
    ("statuses", "moves"),
    [
        ([(10, SOLVED)], []),
        ([(10, SOLVED), (20, OPEN)], [(1, 20)]),
        ([(10, SOLVED), (12, SOLVED), (20, OPEN)], [(1, 20)]),
        ([(10, SOLVED), (20, OPEN), (25, OPEN), (50, SOLVED), (60, CLOSED)], [(1, 20), (-1, 50)]),
        ([(10, CLOSED), (20, OPEN), (30, CLOSED), (40, OPEN)], [(1, 20), (1, 40), (-1, 30)]),
    ],
)
def test_created_less_solved_and_the_backlogs_moves_are_the_open_tickets(
    statuses: list[tuple[int, int]], moves: list[tuple[int, int]]
) -> None:
    facts = [created(0), *(status(at, became) for at, became in statuses)]
    assert rows("BACKLOG", *facts) == moves
    open_now = 1 - len(rows("FIRST_RESOLUTION_TIME", *facts)) + sum(value for value, _ in moves)
    assert open_now == (statuses[-1][1] == OPEN)


@pytest.mark.parametrize(
    ("facts", "is_candidate"),
    [
        ([created(0), reply(5), status(9, SOLVED)], True),
        ([created(0), reply(5), reply(6), status(9, SOLVED)], True),
        ([created(0), reply(5)], False),
        ([created(0), reply(5), reply(6, CUSTOMER), status(9, SOLVED)], False),
        ([created(0), status(9, SOLVED), reply(20, CUSTOMER)], False),
        ([created(0), status(9, SOLVED), status(20, OPEN), status(30, SOLVED)], False),
        ([created(0, AGENT), status(9, SOLVED)], False),
        ([created(0, AGENT), reply(4, CUSTOMER), status(9, SOLVED)], True),
        ([created(0), Linked(3 * SECOND, b"l", CUSTOMER), status(9, SOLVED)], False),
    ],
)
def test_one_inbound_message_and_no_reopening_may_be_a_first_contact_resolution(
    facts: list[Fact], *, is_candidate: bool
) -> None:
    assert rows("FIRST_CONTACT_RESOLUTION", *facts) == ([(1, 9)] if is_candidate else [])


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([created(0)], [(1, 0)]),
        ([created(0), reply(5, CUSTOMER)], [(1, 0)]),
        ([created(0, AGENT)], []),
        ([created(0, AGENT), reply(5, CUSTOMER)], [(1, 5)]),
        ([created(0, BOT), reply(5, CUSTOMER, public=False)], []),
    ],
)
def test_a_contact_is_a_ticket_at_its_first_inbound_message(
    facts: list[Fact], expected: list[tuple[int, int]]
) -> None:
    assert rows("REPEAT_CONTACT_RATE", *facts) == expected


BILLING, RETURNS = {"team": "billing"}, {"team": "returns"}


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ([BILLING], 0),
        ([BILLING, BILLING], 0),
        ([BILLING, RETURNS], 1),
        ([BILLING, {"team": None}, BILLING], 0),
        ([BILLING, {"team": None}, RETURNS], 1),
        ([BILLING, RETURNS, BILLING], 2),
        ([BILLING, {"agent": "mia"}], 0),
        ([{"agent": "mia"}, {"agent": "noa"}], 1),
        ([{**BILLING, "agent": "mia"}, {**RETURNS, "agent": "noa"}], 1),
        ([{**BILLING, "agent": "mia"}, {**RETURNS, "agent": None}, {"agent": "noa"}], 2),
        ([{"contact_type": "refund"}, {"team": ""}], 0),
    ],
)
def test_a_handoff_leaves_another_known_team_or_agent_behind(
    said: list[Mapping[str, Any]], count: int
) -> None:
    facts = [created(0), *(updated(9 + place, **one) for place, one in enumerate(said))]
    found = [one for one in observed(*facts) if one.metric == MetricNumber.HANDOFFS]
    expected = [(count, 0, Band.LOW if count == 1 else Band.HIGH)] if count else []
    assert [(one.value, one.at, one.band) for one in found] == expected


def test_the_team_a_ticket_is_created_with_can_be_handed_off() -> None:
    assert rows("HANDOFFS", created(0, said={"team": "billing"}), updated(5, team="returns")) == [(1, 0)]


def test_an_escalated_ticket_counts_once_at_its_creation() -> None:
    twice = [Escalated(at * SECOND, b"e%d" % at, "2", {}) for at in (50, 70)]
    assert rows("ESCALATION_RATE", created(3), *twice) == [(1, 3)]
    assert rows("ESCALATION_RATE", created(3)) == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([created(0), status(9, SOLVED)], []),
        ([created(0, worked=1000), reply(4, worked=500), updated(5, worked=1500)], []),
        (
            [created(0, worked=1000), reply(4, worked=500), updated(5, worked=1500), status(9, SOLVED)],
            [(3, 9)],
        ),
        ([created(0, worked=0), status(9, SOLVED)], [(0, 9)]),
        ([created(0, worked=1000), status(9, SOLVED), status(20, OPEN)], []),
        ([created(0), reply(4, public=False, worked=2000), status(9, SOLVED), status(20, SOLVED)], [(2, 20)]),
    ],
)
def test_handle_time_adds_reported_work_up_while_a_ticket_is_solved(
    facts: list[Fact], expected: list[tuple[int, int]]
) -> None:
    assert rows("HANDLE_TIME", *facts) == expected


@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_deleted_ticket_leaves_every_number(place: int) -> None:
    facts = [created(1), reply(60), status(90, SOLVED), Merged(95 * SECOND, b"m", "ticket:zendesk-eu:2")]
    facts.insert(place, Deleted(place * SECOND, b"d"))
    assert observed(*facts) == []


@pytest.mark.parametrize("reopened", [False, True])
def test_a_merged_ticket_counts_for_nothing_but_its_merge(*, reopened: bool) -> None:
    course = [status(90, SOLVED), *([status(95, OPEN)] if reopened else [])]
    merges = [Merged(at * SECOND, b"m%d" % at, f"ticket:zendesk-eu:{at}") for at in (99, 98)]
    found = observed(created(0), reply(60), *course, *merges, updated(100, team="billing"))
    assert [(one.metric, one.value, one.at // SECOND) for one in found] == [
        (MetricNumber.MERGED_AWAY, int(reopened), 98)
    ]
    assert found[0].dimensions.team == "billing"


def test_a_merged_ticket_of_unknown_creation_counts_for_nothing() -> None:
    assert observed(reply(5), Merged(SECOND, b"m", "ticket:zendesk-eu:2")) == []


def test_a_merge_into_itself_means_nothing() -> None:
    assert rows("TICKET_VOLUME", created(0), Merged(5, b"m", TICKET)) == [(1, 0)]


def test_an_observation_is_filed_under_what_was_said_last() -> None:
    facts: Facts = {
        "a": created(0, AGENT),
        "c": Updated(10, b"1", {"team": "billing", "agent": "mia"}, ("b", "a"), ()),
        "b": Updated(10, b"2", {"team": "returns", "agent": None, "plan": "gold"}, None, ()),
    }
    volume = contributions(TICKET, facts, DEFAULT_RULES)[0]
    assert (volume.dimensions.source, volume.dimensions.channel) == ("zendesk-eu", "email")
    assert (volume.dimensions.team, volume.dimensions.agent) == ("billing", "mia")
    assert volume.dimensions.more == (("plan", "gold"), ("tag", "a"), ("tag", "b"))


def test_the_customer_is_that_of_the_latest_event_that_names_one() -> None:
    ana, bo = ("email:ana@example.com",), ("email:bo@example.com", "user:7")
    later = [reply(5, identifiers=ana), status(9, SOLVED, identifiers=bo), reply(12)]
    assert {one.customer for one in observed(created(0, identifiers=ana), *later)} == {customer_of(bo).hash}


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        ([created(0), status(9, SOLVED)], ()),
        ([created(9), status(9, SOLVED)], ()),
        ([created(9), reply(3, CUSTOMER)], (ClockAnomaly.EVENT_BEFORE_CREATION,)),
        (
            [created(9), status(3, SOLVED)],
            (ClockAnomaly.EVENT_BEFORE_CREATION, ClockAnomaly.SOLVED_BEFORE_CREATED),
        ),
        ([created(9), Linked(3 * SECOND, b"l", CUSTOMER)], ()),
    ],
)
def test_a_clock_that_runs_backwards_gives_nothing_negative_and_is_named(
    facts: list[Fact], reasons: tuple[ClockAnomaly, ...]
) -> None:
    assert anomalies(fold(TICKET, named(tuple(facts)))) == reasons
    assert all(one.value >= 0 for one in observed(*facts))
    if ClockAnomaly.SOLVED_BEFORE_CREATED in reasons:
        assert rows("FULL_RESOLUTION_TIME", *facts) == [(0, 3)]


OPENING = tuple(() if day > 4 else (Window(9 * 60, 17 * 60),) for day in range(7))
FRIDAY = math.floor(datetime(2026, 3, 6, 16, 30, tzinfo=UTC).timestamp())
MONDAY_0930 = math.floor(datetime(2026, 3, 9, 9, 30, tzinfo=UTC).timestamp())
OFFICE = Calendars({"office": Calendar("UTC", OPENING)}, {"billing": "office"})


def test_durations_stand_once_more_in_business_time_where_a_calendar_applies() -> None:
    rules = Rules(calendars=OFFICE)
    facts = [created(FRIDAY), reply(MONDAY_0930), reply(MONDAY_0930 + 60, CUSTOMER), reply(MONDAY_0930 + 90)]
    facts += [status(MONDAY_0930, SOLVED), updated(MONDAY_0930, team="billing")]
    assert rows("FIRST_RESPONSE_BUSINESS", *facts, rules=rules) == [(HOUR, MONDAY_0930)]
    assert rows("NEXT_RESPONSE_BUSINESS", *facts, rules=rules) == [(30, MONDAY_0930 + 90)]
    assert rows("FIRST_RESOLUTION_BUSINESS", *facts, rules=rules) == [(HOUR, MONDAY_0930)]
    assert rows("FULL_RESOLUTION_BUSINESS", *facts, rules=rules) == [(HOUR, MONDAY_0930)]
    elsewhere = [*facts, updated(MONDAY_0930 + 200, team="returns")]
    assert not [one for one in observed(*elsewhere, rules=rules) if 30 <= one.metric <= 33]


def promised(hours: Hours = Hours.CALENDAR, **match: str) -> Rules:
    policy = SlaPolicy(
        tuple((name, frozenset({value})) for name, value in match.items()),
        (
            SlaTarget(Clock.FIRST_RESPONSE, HOUR * SECOND, hours),
            SlaTarget(Clock.RESOLUTION, 2 * HOUR * SECOND, hours),
        ),
    )
    return Rules(calendars=OFFICE, sla=(policy,))


def targets(*facts: Fact, rules: Rules) -> list[tuple[str, int, int]]:
    found = [one for one in observed(*facts, rules=rules) if one.metric == MetricNumber.SLA_BREACH_RATE]
    return sorted((dict(one.dimensions.more)["target"], one.value, one.at // SECOND) for one in found)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            [created(0), reply(HOUR), status(HOUR, SOLVED)],
            [("first_response", 0, HOUR), ("resolution", 0, HOUR)],
        ),
        (
            [created(0), reply(HOUR + 1), status(2 * HOUR + 1, SOLVED)],
            [("first_response", 1, HOUR), ("resolution", 1, 2 * HOUR)],
        ),
        ([created(0)], [("first_response", 1, HOUR), ("resolution", 1, 2 * HOUR)]),
        ([created(0, AGENT)], [("resolution", 1, 2 * HOUR)]),
        ([created(0, AGENT), reply(5, CUSTOMER)], [("resolution", 1, 2 * HOUR)]),
        ([created(0, BOT), reply(5)], [("resolution", 1, 2 * HOUR)]),
        (
            [created(0, BOT), reply(50, CUSTOMER)],
            [("first_response", 1, HOUR + 50), ("resolution", 1, 2 * HOUR)],
        ),
        ([created(60), status(30, SOLVED), reply(99)], [("first_response", 0, 99), ("resolution", 0, 30)]),
    ],
)
def test_a_target_is_met_when_it_is_met_and_else_breached_when_it_is_due(
    facts: list[Fact], expected: list[tuple[str, int, int]]
) -> None:
    assert targets(*facts, rules=promised()) == expected


def test_targets_run_in_business_time_and_match_by_final_dimensions() -> None:
    rules = promised(Hours.BUSINESS, team="billing")
    ticket = [created(FRIDAY), updated(FRIDAY, team="billing")]
    assert targets(*ticket, rules=rules) == [
        ("first_response", 1, MONDAY_0930),
        ("resolution", 1, MONDAY_0930 + HOUR),
    ]
    assert targets(*ticket, updated(FRIDAY + 5, team="returns"), rules=rules) == []


def test_only_a_due_time_is_a_time_that_no_fact_has() -> None:
    facts = named((created(0), reply(60)))
    found = contributions(TICKET, facts, promised())
    assert times_of_their_own(facts, found) == (2 * HOUR * SECOND,)
    assert times_of_their_own(facts, contributions(TICKET, facts, DEFAULT_RULES)) == ()


def test_a_target_stands_beside_the_tags_and_declared_dimensions_of_its_ticket() -> None:
    facts: Facts = {"a": Created(0, b"c", AGENT, {"plan": "gold", "target": "moon"}, ("vip",), ())}
    found = [one.dimensions.more for one in contributions(TICKET, facts, promised())]
    assert found[0] == (("plan", "gold"), ("tag", "vip"), ("target", "moon"))
    assert found[-1] == (("plan", "gold"), ("tag", "vip"), ("target", "resolution"))
