"""Any sender's bodies become canonical events by the rules of sources.yaml."""

from typing import Any

import pytest
from ingest_bodies import RECEIVED, delivery, sources

from cxloop_ingest.domain.drafts import Normalised, Status
from cxloop_ingest.domain.normalise import normalise
from cxloop_ingest.domain.reading import Reason

SOURCES = sources()


def read(body: Any, source: str = "shop") -> Normalised:
    return normalise(delivery(source, body), SOURCES[source])


def order(**changes: Any) -> dict[str, Any]:
    return {
        "type": "order.paid",
        "timestamp": "2026-03-06T10:00:00Z",
        "data": {
            "id": "o-1",
            "paid_at": "2026-03-06T11:00:00",
            "customer": {"id": 77, "email": "ben@example.com", "phone": "030 901820"},
            "origin": "pos",
            "total": 12.5,
            "currency": "EUR",
            "store": "Berlin",
            **changes,
        },
    }


def test_a_rule_turns_a_body_into_an_event() -> None:
    (event,) = read(order()).events
    assert event.model_dump(mode="json", exclude={"id"}, exclude_none=True) == {
        "type": "cxloop.touchpoint.recorded",
        "source": "shop",
        "time": "2026-03-06T10:00:00Z",  # 11:00 in the source's zone
        "identifiers": ["email:ben@example.com", "phone:+4930901820", "user:77"],
        "dimensions": {"location": "Berlin"},
        "touchpoint": "purchase",
        "stage": "purchase",
        "channel": "store",
        "value": {"amount": 12.5, "currency": "EUR"},
    }


def test_a_value_that_the_table_does_not_list_takes_the_default() -> None:
    (event,) = read(order(origin="fax")).events
    assert event.model_dump()["channel"] == "other"


def test_one_delivery_makes_many_events_and_a_bad_one_harms_no_other() -> None:
    lines = [{"id": 1, "kind": "delivery"}, {"id": 2}, {"kind": "return"}, {"id": 4, "kind": "repair"}]
    result = read(order(lines=lines))
    assert [event.model_dump()["touchpoint"] for event in result.events] == ["purchase", "delivery", "repair"]
    assert [problem.reason for problem in result.problems] == [Reason.INVALID_EVENT, Reason.MISSING_FIELD]
    assert result.status is Status.QUARANTINED


def test_regrouped_items_are_the_same_events() -> None:
    lines = [{"id": n, "kind": "delivery"} for n in range(4)]
    together = {event.id for event in read(order(lines=lines)).events}
    apart = {event.id for line in reversed(lines) for event in read(order(lines=[line])).events}
    assert together == apart


def test_items_of_a_list_are_numbered_in_the_problems() -> None:
    result = read([order(), {"type": "mystery"}, order(id="o-2")])
    assert len(result.events) == 2
    assert [(problem.index, problem.reason) for problem in result.problems] == [(1, Reason.NO_RULE_MATCHED)]


def test_a_rule_can_ignore_what_is_known_to_be_of_no_use() -> None:
    result = read({"type": "ping"})
    assert (result.status, result.reason) == (Status.IGNORED, Reason.IGNORED_BY_RULE)


def test_an_erasure_is_read_like_any_other_event() -> None:
    (event,) = read({"type": "customer.erased", "at": 1772791200000, "id": "u9"}).events
    assert (event.TYPE, event.identifiers) == ("cxloop.customer.erased", ("user:u9",))
    assert event.time.isoformat() == "2026-03-06T10:00:00+00:00"


def test_the_source_states_scale_zone_and_survey() -> None:
    body: dict[str, Any] = {
        "submission": "s1",
        "sent": "2026-03-05 09:00:00",
        "email": "ana@example.com",
        "answers": [{"id": "s1-q1", "metric": "csat", "score": "4"}, {"id": "s1-q2", "metric": "free"}],
    }
    (event,) = read(body, "form").events
    found = event.model_dump(mode="json")
    assert (found["time"], found["score"], found["survey_id"]) == ("2026-03-05T14:00:00Z", 4.0, "checkout")
    assert found["scale"] == {"min": 1.0, "max": 5.0, "polarity": "higher_is_better", "good": [4.0, 5.0]}
    body["answers"] = [{"id": "s1-q1", "metric": "csat", "score": 9}]
    assert read(body, "form").reason is Reason.SCORE_OUT_OF_SCALE


@pytest.mark.parametrize(
    ("paid_at", "reason"),
    [
        ("1999-12-31T23:00:00", Reason.TIME_BEFORE_2000),
        ("2026-03-07T13:00:01Z", Reason.TIME_IN_THE_FUTURE),
        ("yesterday", Reason.TIME_UNREADABLE),
        (None, Reason.TIME_UNREADABLE),
        (True, Reason.TIME_UNREADABLE),
        ({}, Reason.TIME_UNREADABLE),
        (10**40, Reason.TIME_UNREADABLE),
    ],
)
def test_a_time_that_cannot_be_is_quarantined(paid_at: Any, reason: Reason) -> None:
    assert read(order(paid_at=paid_at)).reason is reason


@pytest.mark.parametrize(
    "paid_at",
    [
        "2026-03-07T12:00:00Z",
        1772791200,
        1772791200.5,
        "1772791200",
        1772791200000,
        "2026-03-06T02:00:00.1-0800",
    ],
)
def test_times_come_in_many_forms(paid_at: Any) -> None:
    result = read(order(paid_at=paid_at))
    assert not result.problems
    assert abs((result.events[0].time - RECEIVED).total_seconds()) <= 86_400


def test_a_time_without_a_zone_needs_a_configured_one() -> None:
    source = SOURCES["zendesk-eu"]
    body = b'{"type":"zen:event-type:ticket.created","detail":{"id":1},"time":"2026-03-06T09:00:00"}'
    assert normalise(delivery("zendesk-eu", body), source).reason is Reason.TIME_WITHOUT_ZONE
