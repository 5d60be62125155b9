"""Touchpoints and alert records, from the record to what is booked."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cxloop_common.events import AlertRecord, Owner, TouchpointRecorded, encode_event
from cxloop_common.events.canonical import Value
from cxloop_common.events.outcomes import AlertScore
from cxloop_scoring.domain.cases import CaseLink, LinkKind, case_links, case_observations, fold_case
from cxloop_scoring.domain.customers import hash_of
from cxloop_scoring.domain.documents import contributions
from cxloop_scoring.domain.facts import Facts, add_fact, decode_facts, encode_facts, event_ids
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.lifecycle import lifecycle_document
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.reading import SaysNothingError, UnreadableError, read
from cxloop_scoring.domain.rules import DEFAULT_RULES, Rules

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
AT = microseconds(NOON)
HOUR = 3_600_000_000
STATE, MONEY = MetricNumber.LIFECYCLE, MetricNumber.CUSTOMER_VALUE
SCALE: Any = {"min": 0, "max": 10}


def touchpoint(name: str, hours: float = 0, **more: Any) -> TouchpointRecorded:
    fields: dict[str, Any] = {
        "id": f"{name}-{hours}",
        "source": "shop",
        "identifiers": ("email:ana@example.com",),
        **more,
    }
    return TouchpointRecorded(time=NOON + timedelta(hours=hours), touchpoint=name, **fields)


def alert(version: int, status: str, **more: Any) -> AlertRecord:
    fields: dict[str, Any] = {
        "id": f"a{version}",
        "source": "alerting",
        "case_id": "c1",
        "change": "updated",
        "severity": "high",
        "rule": "low-nps",
        "route": "vip",
        "owner": Owner(kind="team", id="care", name="Care"),
        "reason": "x",
        "at": NOON + timedelta(hours=version),
        **more,
    }
    return AlertRecord(version=version, status=status, time=fields["at"], **fields)  # type: ignore[arg-type] - a table's text


def facts_of(*events: Any) -> tuple[str, Facts]:
    document, facts = "", Facts()
    for event in events:
        _, value, headers = encode_event(event)
        reading = read(dict(headers), value)
        document = reading.document
        add_fact(facts, reading.event_id, reading.fact)
    assert decode_facts(encode_facts(facts)) == facts
    return document, facts


def booked(*events: Any, rules: Rules = DEFAULT_RULES) -> list[tuple[int, int, float]]:
    """Give metric, value and hours since noon, by time."""
    found = [(o.metric, o.value, (o.at - AT) / HOUR) for o in contributions(*facts_of(*events), rules)]
    return sorted(found, key=lambda row: (row[2], row[0]))


# Lifecycles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "states"),
    [
        (["purchase"], [(1, 0)]),
        (["Purchase completed", "usage", "RENEWAL"], [(1, 0)]),
        (["signup", "cancellation"], [(1, 0), (0, 1)]),
        (["cancellation", "cancellation requested"], [(0, 0)]),
        (["visit", "delivery", "payment", "churned", "visit", "onboarding step"], [(1, 1), (0, 3), (1, 5)]),
        (["pre-purchase", "visit"], []),
    ],
)
def test_each_change_of_state_is_booked_where_it_shows(
    names: list[str], states: list[tuple[int, int]]
) -> None:
    events = [touchpoint(name, hours) for hours, name in enumerate(names)]
    assert booked(*events) == [(STATE, state, hours) for state, hours in states]


@pytest.mark.parametrize(
    ("told", "states"),
    [
        (["a-purchase", "b-churn"], [(0, 1)]),
        (["a-churn", "b-purchase"], [(1, 1)]),
        (["a-purchase", "b-churn", "c-usage"], [(1, 1)]),
    ],
)
def test_of_several_changes_at_one_moment_the_last_is_told(
    told: list[str], states: list[tuple[int, int]]
) -> None:
    events = [touchpoint(text.split("-")[1], 1, id=text) for text in told]
    assert booked(*events) == [(STATE, state, hours) for state, hours in states]
    before = touchpoint("purchase", 0)
    after = [(STATE, state, hours) for state, hours in states if state == 0]
    assert booked(before, *events) == [(STATE, 1, 0), *after]


def test_the_words_are_the_installations() -> None:
    rules = Rules(active_words=("abo",), left_words=("storno",))
    events = [touchpoint("Abo begonnen"), touchpoint("purchase", 1), touchpoint("Storno", 2)]
    assert booked(*events, rules=rules) == [(STATE, 1, 0), (STATE, 0, 2)]


@pytest.mark.parametrize(
    ("amount", "minor"), [(12.34, 1234), (0.125, 12), (0.135, 14), (19.995, 2000), (-5, -500), (1e14, None)]
)
def test_amounts_are_hundredths_half_to_even(amount: float, minor: int | None) -> None:
    event = touchpoint("payment", value=Value(amount=amount, currency="EUR"), channel="web")
    found = contributions(*facts_of(event), DEFAULT_RULES)
    assert [(o.metric, o.value) for o in found] == ([] if minor is None else [(MONEY, minor)])
    for observation in found:
        named = observation.dimensions.named()
        assert named == {"source": "shop", "channel": "web", "touchpoint": "payment", "currency": "EUR"}


def test_a_lifecycle_is_its_customers_document() -> None:
    document, _ = facts_of(touchpoint("purchase"))
    customer = hash_of("email:ana@example.com")
    assert document == lifecycle_document(customer)
    assert len(document) == len("lifecycle:") + 16
    assert contributions(*facts_of(touchpoint("purchase")), DEFAULT_RULES)[0].customer == customer


def test_an_anonymous_touchpoint_says_nothing_of_anybody() -> None:
    _, value, headers = encode_event(touchpoint("purchase", identifiers=()))
    with pytest.raises(SaysNothingError):
        read(dict(headers), value)


# Cases ------------------------------------------------------------------------------------------------------

OPENED, CLOSED, CONTACTED = MetricNumber.CASE_OPENED, MetricNumber.CASE_CLOSED, MetricNumber.CASE_CONTACTED


def times(*events: AlertRecord) -> dict[int, float]:
    """Give hours from the opening to each of a case's times."""
    case = fold_case(facts_of(*events)[1])
    assert case is not None
    assert case.opened_at == microseconds(min(events, key=lambda event: event.version).at)
    return {o.metric: o.value / 3_600_000 for o in case_observations(case)}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["open"], {OPENED: 0}),
        (["open", "acknowledged", "contacted"], {OPENED: 0, CONTACTED: 2}),
        (["open", "contacted", "resolved", "recovered"], {OPENED: 0, CONTACTED: 1, CLOSED: 2}),
        (["open", "resolved", "reopened"], {OPENED: 0}),
        (["open", "resolved", "reopened", "contacted", "unverified"], {OPENED: 0, CONTACTED: 3, CLOSED: 4}),
        (["open", "not_recovered"], {OPENED: 0, CLOSED: 1}),
    ],
)
def test_a_case_is_what_its_versions_tell_in_their_order(
    statuses: list[str], expected: dict[int, float]
) -> None:
    events = [alert(version, status) for version, status in enumerate(statuses, start=1)]
    assert times(*events) == expected
    chance = random.Random(3)  # noqa: S311 - shuffles, reproducible by their seed
    for _ in range(5):
        shuffled = [*events, *chance.choices(events, k=3)]
        chance.shuffle(shuffled)
        assert times(*shuffled) == expected


def test_a_contact_that_was_told_as_a_change_counts() -> None:
    assert times(alert(1, "open"), alert(2, "acknowledged", change="contacted"))[CONTACTED] == 1


def test_the_deadline_is_the_last_that_was_told() -> None:
    first = alert(1, "open", due_at=NOON + timedelta(hours=3))
    second = alert(2, "contacted", due_at=NOON + timedelta(hours=9))
    assert times(first, second)[OPENED] == 8
    # Alerting drops the deadline of a case that is closed.
    assert times(first, second, alert(3, "resolved"))[OPENED] == 8


def test_a_clock_that_runs_backwards_gives_no_negative_time() -> None:
    assert times(alert(1, "open"), alert(2, "resolved", at=NOON - timedelta(hours=5)))[CLOSED] == 0


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        (Owner(kind="team", id="care", name="Care"), {"team": "care"}),
        (Owner(kind="person", id="ana", name="Ana"), {"agent": "ana"}),
        (Owner(kind="rota", id="night", name="Night"), {}),
    ],
)
def test_a_case_is_filed_under_rule_route_severity_and_owner(owner: Owner, expected: dict[str, str]) -> None:
    case = fold_case(facts_of(alert(1, "open"), alert(2, "open", owner=owner))[1])
    assert case is not None
    assert case.dimensions.named() == {"rule": "low-nps", "route": "vip", "severity": "high", **expected}


def test_links_are_all_that_were_ever_told() -> None:
    first = alert(1, "open", score=AlertScore(metric="nps", value=0, scale=SCALE, document="response:s:1"))
    second = alert(
        2,
        "open",
        score=AlertScore(metric="nps", value=1, scale=SCALE, document="response:s:2"),
        supersedes=("c0", "c1"),
        documents=("response:s:2", "response:s:3"),
    )
    document, facts = facts_of(second, first, alert(3, "open"))
    assert document == "case:c1"
    assert case_links(document, facts) == [
        CaseLink(LinkKind.TRIGGER, "response:s:1", "case:c1"),
        CaseLink(LinkKind.TRIGGER, "response:s:2", "case:c1"),
        CaseLink(LinkKind.TRIGGER, "response:s:3", "case:c1"),
        CaseLink(LinkKind.SUPERSEDED, "case:c0", "case:c1"),
    ]
    assert case_links("response:s:1", facts) == []


def test_an_alert_that_is_none_is_unreadable() -> None:
    _, value, headers = encode_event(alert(1, "open"))
    with pytest.raises(UnreadableError):
        read(dict(headers), (value or b"").replace(b'"open"', b'"ajar"'))


def test_one_event_id_of_two_sources_is_two_touchpoints() -> None:
    worth = {"amount": 10, "currency": "EUR"}
    shops = [touchpoint("purchase", id="1", source=name, value=worth) for name in ("shop", "web")]
    assert [row[:2] for row in booked(*shops, shops[0])] == [(STATE, 1), (MONEY, 1000), (MONEY, 1000)]
    assert event_ids(facts_of(*shops)[1]) == ("1",)
