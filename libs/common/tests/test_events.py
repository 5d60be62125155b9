from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cxloop_common.events import (
    CANONICAL_EVENT,
    CanonicalEventBase,
    CustomerErased,
    EventDecodeError,
    Scale,
    SurveyResponded,
    SurveySent,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEscalated,
    TicketMerged,
    TicketReplied,
    TicketStatusChanged,
    TicketUpdated,
    TouchpointRecorded,
    Value,
    content_hash,
    decode_event,
    encode_event,
    event_data,
    from_structured,
    to_structured,
)
from cxloop_common.topics import NORMALISED, TOPICS

AT = datetime(2026, 3, 6, 16, 30, 0, 123456, tzinfo=UTC)
BASE: dict[str, Any] = {
    "id": "e1",
    "source": "zendesk-eu",
    "time": AT,
    "identifiers": ("email:ana@example.com",),
    "dimensions": {"tier": "gold"},
}
NPS = Scale(min=0, max=10)
EVERY_TYPE: Sequence[CanonicalEventBase] = [
    TicketCreated(**BASE, ticket_id="7", channel="email", created_by="customer", subject="Broken: lid"),
    TicketUpdated(**BASE, ticket_id="7", priority="high", tags=("a", "b")),
    TicketAssigned(**BASE, ticket_id="7", team="billing", agent="mia"),
    TicketReplied(**BASE, ticket_id="7", message_id="m1", author="agent", public=True, worked_s=90.5),
    TicketStatusChanged(**BASE, ticket_id="7", status="on_hold"),
    TicketEscalated(**BASE, ticket_id="7", level="2"),
    TicketMerged(**BASE, ticket_id="7", into_ticket_id="8"),
    TicketDeleted(**BASE, ticket_id="7"),
    SurveyResponded(
        **BASE, response_id="r:1", metric="nps", score=3, scale=NPS, ticket_id="7", comment="zu spät"
    ),
    SurveySent(**BASE, send_id="s1", survey_id="post-contact", ticket_id="7", ticket_source="desk"),
    TouchpointRecorded(**BASE, touchpoint="purchase", value=Value(amount=12.5, currency="EUR")),
    CustomerErased(**BASE),
]


def test_every_canonical_type_has_an_example_here_and_a_topic() -> None:
    assert {event.TYPE for event in EVERY_TYPE} == set(NORMALISED)


@pytest.mark.parametrize("event", EVERY_TYPE, ids=lambda event: event.TYPE)
def test_an_event_survives_kafka_and_http_unchanged(event: CanonicalEventBase) -> None:
    key, value, headers = encode_event(event)
    assert key == event.key.encode()
    assert decode_event(CANONICAL_EVENT, dict(headers), value) == event
    assert from_structured(CANONICAL_EVENT, to_structured(event)) == event


def test_the_ticket_subject_is_data_and_the_cloudevent_subject_is_the_document() -> None:
    document = to_structured(EVERY_TYPE[0])
    assert document["data"]["subject"] == "Broken: lid"
    assert document["subject"] == "ticket:zendesk-eu:7"


def test_a_reader_survives_a_writer_that_knows_more() -> None:
    _, value, headers = encode_event(EVERY_TYPE[3])
    grown = value[:-1] + b',"mood":"fine"}'
    assert decode_event(CANONICAL_EVENT, dict(headers), grown) == EVERY_TYPE[3]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"score": 11}, ""),
        ({"score": 3.5}, ""),
        ({"scale": {"min": 5, "max": 5}}, "/data/scale"),
        ({"metric": "happiness"}, "/data/metric"),
        ({"response_id": None}, "/data/response_id"),
    ],
)
def test_a_bad_field_is_named_and_its_value_is_not_quoted(change: dict[str, Any], pointer: str) -> None:
    document = to_structured(EVERY_TYPE[8])
    document["data"] = {**document["data"], "comment": "my secret", **change}
    with pytest.raises(EventDecodeError) as refused:
        from_structured(CANONICAL_EVENT, document)
    assert [where for where, _ in refused.value.pointers] == [pointer]
    assert "secret" not in str(refused.value)
    assert "secret" not in str(refused.value.pointers)


@pytest.mark.parametrize("value", [None, b"", b"{", b"[1]", b"\xff", b"[" * 10_000, b'{"score": NaN}'])
def test_a_value_that_is_no_event_is_refused_not_raised_through(value: bytes | None) -> None:
    _, _, headers = encode_event(EVERY_TYPE[8])
    with pytest.raises(EventDecodeError):
        decode_event(CANONICAL_EVENT, dict(headers), value)


def test_a_created_ticket_must_say_where_it_came_from() -> None:
    with pytest.raises(ValidationError, match="channel and created_by"):
        TicketCreated(**BASE, ticket_id="7")


@pytest.mark.parametrize("worked", [-1, 604_800.5, float("nan"), float("inf")])
def test_work_is_a_stretch_of_time_of_a_week_at_most(worked: float) -> None:
    assert TicketUpdated(**BASE, ticket_id="7", worked_s=604_800).worked_s == 604_800
    with pytest.raises(ValidationError, match="worked_s"):
        TicketUpdated(**BASE, ticket_id="7", worked_s=worked)


def test_a_survey_names_the_ticket_it_asks_about_by_its_document() -> None:
    fields: dict[str, Any] = {**BASE, "send_id": "s1", "survey_id": "post-contact"}
    assert SurveySent(**fields).ticket_document is None
    assert SurveySent(**fields, ticket_id="4/7").ticket_document == "ticket:zendesk-eu:4%2F7"
    assert SurveySent(**fields, ticket_id="7", ticket_source="desk").ticket_document == "ticket:desk:7"


def test_times_without_a_zone_are_refused_and_others_become_utc() -> None:
    with pytest.raises(ValidationError):
        TicketDeleted.model_validate({**BASE, "time": datetime(2026, 3, 6), "ticket_id": "7"})  # noqa: DTZ001  # the point of the test
    berlin = TicketDeleted.model_validate(
        {**BASE, "time": "2026-03-06T17:30:00.123456+01:00", "ticket_id": "7"}
    )
    assert berlin.time == AT
    assert berlin.time.tzinfo is UTC


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=6), st.randoms())
def test_equal_events_have_equal_bytes_whatever_order_their_dimensions_came_in(
    dimensions: dict[str, str], random: Any
) -> None:
    shuffled = list(dimensions.items())
    random.shuffle(shuffled)
    one = TicketDeleted.model_validate({**BASE, "dimensions": dimensions, "ticket_id": "7"})
    other = TicketDeleted.model_validate({**BASE, "dimensions": dict(shuffled), "ticket_id": "7"})
    assert content_hash(event_data(one)) == content_hash(event_data(other))


def test_topic_names_are_unique_and_personal_topics_forget() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    for topic in TOPICS:
        assert topic.config()["message.timestamp.type"] == "LogAppendTime"
        if topic.personal:
            assert topic.config()["retention.ms"] == "2592000000"
