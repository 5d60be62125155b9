"""Whatever a sender writes: no crash, the same events for the same bytes, the same outcome in any order."""

import json
import random
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest_bodies import RECEIVED, comment, delighted, delivery, message, sources, zendesk

from cxloop_ingest.domain.delivery import Delivery, Via, from_record, record_headers
from cxloop_ingest.domain.drafts import Normalised, Status
from cxloop_ingest.domain.expressions import Expression, ExpressionError
from cxloop_ingest.domain.normalise import normalise
from cxloop_ingest.domain.outcome import merged, outcome_of
from cxloop_ingest.domain.reading import Reason, UnreadableError

SOURCES = sources()
NAMES = sorted(SOURCES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
GOOD: list[tuple[str, Any]] = [
    ("zendesk-eu", zendesk("ticket.created")),
    ("zendesk-eu", zendesk("ticket.status_changed", {"current": "SOLVED"})),
    ("zendesk-eu", zendesk("ticket.comment_added", comment(public=True, staff=False))),
    ("zendesk-eu", zendesk("ticket.csat_received", {"satisfaction_score": {"score": "GOOD"}})),
    ("zendesk-eu", zendesk("ticket.merged", {"target_ticket_id": "9"})),
    ("zendesk-eu", message("end_user")),
    ("delighted", delighted()),
    (
        "shop",
        {"type": "order.paid", "data": {"id": 1, "paid_at": 1772791200, "lines": [{"id": 2, "kind": "x"}]}},
    ),
    (
        "bus",
        {
            "specversion": "1.0",
            "id": "e1",
            "type": "cxloop.ticket.deleted",
            "source": "bus",
            "time": "2026-03-06T10:00:00Z",
            "data": {"ticket_id": "1"},
        },
    ),
]


def places(value: Any) -> list[Any]:
    """Give the keys or indices under which something stands."""
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value))
    return list(range(len(cast("list[Any]", value)))) if isinstance(value, list) else []


def evaluated(expression: Expression, document: Any) -> Reason | None:
    try:
        expression.evaluate(document)
    except UnreadableError as error:
        return error.reason
    return None


@st.composite
def bent(draw: st.DrawFn) -> tuple[str, Any]:
    """Take a good body and put anything at all in one of its places."""
    name, body = draw(st.sampled_from(GOOD))
    body = json.loads(json.dumps(body))
    place: Any = body
    while True:
        key = draw(st.sampled_from(places(place)))
        inner = place[key]
        if places(inner) and draw(st.booleans()):
            place = inner
            continue
        if draw(st.booleans()):
            place[key] = draw(JSON)
        else:
            del place[key]
        return name, body


def check(result: Normalised) -> None:
    assert (result.status is Status.QUARANTINED) == bool(result.problems)
    assert result.reason is not None or result.events
    for event in result.events:
        assert event.key
        assert event.model_dump_json()


@given(st.sampled_from(NAMES), st.binary(max_size=200), st.sampled_from(list(Via)))
def test_no_bytes_make_normalising_raise(name: str, body: bytes, via: Via) -> None:
    check(normalise(delivery(name, body, via=via), SOURCES[name]))


@given(st.sampled_from(NAMES), JSON)
def test_no_json_makes_normalising_raise(name: str, body: Any) -> None:
    check(normalise(delivery(name, body), SOURCES[name]))


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(bent())
def test_no_bent_body_makes_normalising_raise_and_equal_bytes_make_equal_events(
    case: tuple[str, Any],
) -> None:
    name, body = case
    one = normalise(delivery(name, body), SOURCES[name])
    check(one)
    later = delivery(name, body, received_at=RECEIVED + timedelta(minutes=5), attempt=3)
    assert normalise(later, SOURCES[name]) == one


@pytest.mark.parametrize(("name", "body"), GOOD)
def test_the_bodies_that_the_properties_bend_are_good(name: str, body: Any) -> None:
    assert normalise(delivery(name, body), SOURCES[name]).status is Status.NORMALISED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.BROKEN_JSON),
        (b'{"a":', Reason.BROKEN_JSON),
        (b"{} {}", Reason.BROKEN_JSON),
        (b'{"a": NaN}', Reason.BROKEN_JSON),
        (b'{"a": "\x00"}', Reason.BROKEN_JSON),
        (b'{"a": "\\ud800"}', Reason.BROKEN_JSON),
        (b'{"a": "\xff\xfe"}', Reason.INVALID_UTF8),
        (b"[" * 10_000 + b"]" * 10_000, Reason.TOO_DEEP),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, Reason.TOO_DEEP),
        (b"[" * 100 + b"]" * 100, Reason.TOO_DEEP),
        (b'{"a": 1e999}', Reason.NUMBER_OUT_OF_RANGE),
        (b'{"a": ' + b"9" * 5000 + b"}", Reason.NUMBER_OUT_OF_RANGE),
        (b'{"a": ' + b"9" * 100 + b"}", Reason.NUMBER_OUT_OF_RANGE),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_a_poisoned_body_is_quarantined_with_its_reason(name: str, body: bytes, reason: Reason) -> None:
    assert normalise(delivery(name, body), SOURCES[name]).reason is reason


def test_a_nul_character_is_quarantined_where_an_event_would_carry_it() -> None:
    source = SOURCES["zendesk-eu"]
    carried = zendesk("ticket.created", subject="a\0b")
    assert normalise(delivery("zendesk-eu", carried), source).reason is Reason.NUL_CHARACTER
    unused = zendesk("ticket.created", description="a\0b")
    assert normalise(delivery("zendesk-eu", unused), source).status is Status.NORMALISED


def test_a_source_that_is_not_configured_any_more_waits_in_quarantine() -> None:
    assert normalise(delivery("gone", {}), None).reason is Reason.SOURCE_UNKNOWN


@given(st.text(max_size=30), JSON)
def test_no_expression_makes_evaluation_raise_anything_else(path: str, document: Any) -> None:
    try:
        expression = Expression.compile(path)
    except ExpressionError:
        return
    assert evaluated(expression, document) in (None, Reason.EXPRESSION_FAILED)


@pytest.mark.parametrize(
    "path", ["sort(@)", "to_number(a)", "max_by(@, &a)", "join(',', @)", "length(a)", "abs(a)"]
)
@given(document=JSON)
def test_no_function_of_an_expression_raises_anything_else(path: str, document: Any) -> None:
    assert evaluated(Expression.compile(path), document) in (None, Reason.EXPRESSION_FAILED)


@given(
    st.sampled_from(NAMES),
    st.binary(max_size=50),
    st.dictionaries(st.sampled_from(["webhook-id", "x-github-event"]), st.text(max_size=10), max_size=2),
    st.integers(0, 9),
    st.sampled_from(list(Via)),
)
def test_a_delivery_survives_its_record(
    name: str, body: bytes, headers: dict[str, str], attempt: int, via: Via
) -> None:
    one = Delivery("d1", name, RECEIVED, body, "application/json", headers, via, attempt)
    two = from_record(dict(record_headers(one, "00-1-2-00")), body)
    assert two.body == one.body
    assert (two.id, two.source, two.received_at, two.attempt, two.via) == (
        one.id,
        one.source,
        one.received_at,
        one.attempt,
        one.via,
    )
    assert set(two.headers) == set(one.headers)


@given(st.randoms(use_true_random=False), st.data())
def test_merging_outcomes_knows_no_order_and_no_duplicates(
    chance: random.Random, data: st.DataObject
) -> None:
    seconds = st.integers(-5, 5).map(lambda n: timedelta(seconds=n))
    # One body, read by code and configurations that changed between its records.
    readings = [
        normalise(delivery("delighted", delighted(score=score)), SOURCES["delighted"])
        for score in (3, 4, 11, None)
    ]
    outcomes = [
        outcome_of(
            delivery(
                "delighted",
                delighted(),
                received_at=RECEIVED + data.draw(seconds),
                attempt=data.draw(st.integers(0, 2)),
                headers=data.draw(st.sampled_from([{}, {"webhook-id": "1"}, {"webhook-id": "2"}])),
            ),
            data.draw(st.sampled_from(readings)),
        )
        for _ in range(data.draw(st.integers(1, 5)))
    ]
    expected = outcomes[0]
    for outcome in outcomes[1:]:
        expected = merged(expected, outcome)
    shuffled = outcomes * 2
    chance.shuffle(shuffled)
    found = shuffled[0]
    for outcome in shuffled[1:]:
        found = merged(found, outcome)
    assert found == expected
