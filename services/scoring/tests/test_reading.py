"""The quick reader against the pydantic models, for every canonical type."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from cxloop_common.events import (
    CANONICAL_EVENT,
    AlertRecord,
    CustomerErased,
    EventDecodeError,
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
    decode_event,
    encode_event,
)
from cxloop_common.topics import ALERT_EVENT, SCORE_EVENT
from cxloop_scoring.domain import reading
from cxloop_scoring.domain.facts import AUTHORS, encode_fact, event_ids
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.reading import READABLE, SaysNothingError, UnreadableError, read
from cxloop_scoring.domain.responses import fold_response
from cxloop_scoring.domain.scores import score_of

AT = datetime(2026, 3, 6, 16, 30, 0, 123456, tzinfo=UTC)
BASE: dict[str, Any] = {
    "id": "e1",
    "source": "zendesk-eu",
    "time": AT,
    "identifiers": ("email:ana@example.com",),
    "dimensions": {"segment": "smb", "plan": "gold"},
}
TICKET: dict[str, Any] = {**BASE, "ticket_id": "47/11"}
ANSWER: dict[str, Any] = {
    **BASE,
    "response_id": "r 1",
    "metric": "nps",
    "score": 9,
    "scale": {"min": 0, "max": 10},
}
SATISFACTION: dict[str, Any] = {
    **ANSWER,
    "metric": "csat",
    "score": 2.5,
    "scale": {"min": 1, "max": 3, "good": (3.0,)},
}
GOLDEN = [
    TicketCreated(**TICKET, channel="email", created_by="bot", subject="Hi", team="t", tags=("b", "a")),
    TicketUpdated(**TICKET, contact_type="refund", priority="high", worked_s=0.25),
    TicketAssigned(**TICKET, team="billing"),
    TicketReplied(**TICKET, message_id="m1", author="agent", public=True, worked_s=1.001),
    TicketStatusChanged(**TICKET, status="on_hold"),
    TicketEscalated(**TICKET, level="2"),
    TicketMerged(**TICKET, into_ticket_id="4712"),
    TicketDeleted(**TICKET),
    SurveyResponded(**ANSWER, survey_id="s", comment="Fine", touchpoint="checkout", ticket_id="1"),
    SurveyResponded(**SATISFACTION, wants_contact=False, ticket_id="1", ticket_source="intercom"),
    SurveySent(**BASE, send_id="s/1", survey_id="spring"),
    SurveySent(
        **BASE, send_id="s/1", survey_id="spring", response_id="r1", ticket_id="1", ticket_source="desk"
    ),
]
TOUCHPOINT: dict[str, Any] = {**BASE, "touchpoint": "purchase", "value": {"amount": 12.5, "currency": "EUR"}}
CASE: dict[str, Any] = {
    "id": "a1",
    "source": "alerting",
    "time": AT,
    "case_id": "c1",
    "version": 1,
    "change": "opened",
    "at": AT,
    "status": "open",
    "severity": "high",
    "rule": "low-nps",
    "route": "care",
    "reason": "a low score",
    "owner": {"kind": "team", "id": "billing", "name": "Billing"},
}
OUTCOMES = [TouchpointRecorded(**TOUCHPOINT), AlertRecord(**CASE)]


def test_every_readable_type_has_a_golden_event() -> None:
    assert {event.TYPE for event in (*GOLDEN, *OUTCOMES)} == READABLE


@pytest.mark.parametrize("event", OUTCOMES, ids=lambda event: event.TYPE)
def test_outcomes_are_read_quickly_too(event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, value, headers = encode_event(event)
    expected = read(dict(headers), value)
    monkeypatch.setattr(reading, "_read_by_model", None)
    assert read(dict(headers), value) == expected
    assert event_ids({expected.event_id: expected.fact}) == (event.id,)
    assert expected.fact.at == microseconds(AT)


def test_a_touchpoint_of_nobody_known_is_right_and_says_nothing() -> None:
    anonymous: dict[str, Any] = {**TOUCHPOINT, "identifiers": ()}
    _, value, headers = encode_event(TouchpointRecorded(**anonymous))
    with pytest.raises(SaysNothingError):
        read(dict(headers), value)


@pytest.mark.parametrize("event", GOLDEN, ids=lambda event: event.TYPE)
def test_the_quick_way_reads_what_the_model_reads(event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, value, headers = encode_event(event)
    model: Any = decode_event(CANONICAL_EVENT, dict(headers), value)

    def refuse(*_: object) -> None:
        raise AssertionError("the quick way gave up")

    monkeypatch.setattr(reading, "_read_by_model", refuse)
    document, event_id, fact = read(dict(headers), value)
    assert event_id == model.id
    assert fact.at == microseconds(model.time)
    if not isinstance(event, SurveySent) or event.response_id is not None:
        assert document == model.document
    else:
        assert document == "send:zendesk-eu:s%2F1"
    fields = {name: getattr(fact, name) for name in fact.__struct_fields__}
    said = fields.pop("said", {})
    for name in ("team", "agent", "channel", "contact_type", "touchpoint"):
        assert (said.get(name) or None) == getattr(model, name, None)
    if "said" in fact.__struct_fields__:
        assert {name: said[name] for name in model.dimensions} == model.dimensions
    expected: dict[str, Any] = {
        "by": lambda: AUTHORS[model.created_by],
        "tags": lambda: None if getattr(model, "tags", None) is None else tuple(sorted(model.tags)),
        "author": lambda: AUTHORS[model.author],
        "public": lambda: model.public,
        "level": lambda: model.level,
        "metric": lambda: model.metric,
        "score": lambda: model.score,
        "least": lambda: model.scale.min,
        "most": lambda: model.scale.max,
        "lower_is_better": lambda: model.scale.polarity == "lower_is_better",
        "good": lambda: model.scale.good,
        "wants_contact": lambda: model.wants_contact,
        "ticket": lambda: model.ticket_document,
        "survey": lambda: model.survey_id,
        "into": lambda: "ticket:zendesk-eu:4712",
        "worked": lambda: None if getattr(model, "worked_s", None) is None else round(model.worked_s * 1000),
    }
    for name, value_of in expected.items():
        if name in fields:
            assert fields[name] == value_of(), name
    if isinstance(event, TicketCreated | SurveyResponded | SurveySent):
        assert fields["identifiers"] == model.identifiers


DAMAGE: list[dict[str, Any]] = [
    {"ticket_id": ""},
    {"ticket_id": "x" * 257},
    {"ticket_id": 7},
    {"author": "nobody"},
    {"public": "maybe"},
    {"public": "true"},
    {"public": None},
    {"identifiers": ["e"]},
    {"identifiers": ["email:x@example.com"] * 33},
    {"dimensions": {"a": 1}},
    {"dimensions": {str(n): "x" for n in range(33)}},
    {"score": "9"},
    {"score": 9.5},
    {"score": 11},
    {"score": None},
    {"scale": {"min": 0, "max": 0}},
    {"scale": {"min": "0", "max": 10}},
    {"scale": {"min": 0, "max": 10, "polarity": "sideways"}},
    {"comment": "x" * 20_001},
    {"metric": "ces2"},
    {"tags": ["x"] * 129},
    {"created_by": None},
    {"channel": None},
    {"status": "gone"},
    {"ticket_source": ""},
    {"worked_s": -0.1},
    {"worked_s": 604_801},
    {"worked_s": "90"},
    {"worked_s": True},
    {"touchpoint": ""},
    {"value": {"amount": 1, "currency": "euro"}},
    {"value": {"amount": "1.50", "currency": "EUR"}},
    {"status": "lost"},
    {"version": "7"},
    {"supersedes": "c2"},
    {"owner": {"kind": "team"}},
    {"due_at": "tomorrow"},
    {"unknown_field": {"of": "a later version"}},
]


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
@pytest.mark.parametrize("event", [*GOLDEN, *OUTCOMES], ids=lambda event: event.TYPE)
def test_both_ways_accept_and_refuse_the_same(event: Any, damage: dict[str, Any]) -> None:
    _, value, headers = encode_event(event)
    data = {**msgspec.json.decode(value), **damage}
    changed = msgspec.json.encode(data)
    model: Any = ALERT_EVENT if isinstance(event, AlertRecord) else CANONICAL_EVENT
    try:
        decode_event(model, dict(headers), changed)
    except (EventDecodeError, ValueError):
        with pytest.raises(UnreadableError, match=r"^(?!.*ana@)"):
            read(dict(headers), changed)
    else:
        assert read(dict(headers), changed).fact.at == microseconds(AT)


@pytest.mark.parametrize(
    "headers",
    [
        {"ce_id": b""},
        {"ce_id": b"\xff"},
        {"ce_id": b"x" * 257},
        {"ce_source": b""},
        {"ce_type": b"cxloop.ticket.exploded"},
        {"ce_time": b"2026-03-06"},
        {"ce_time": b"2026-03-06T16:30:00"},
        {"ce_time": b"2026-03-06T16:30:00+01:00"},
        {"ce_time": b"not a time at all, Z"},
        {"ce_time": b"1772814600"},
    ],
    ids=str,
)
def test_odd_headers_are_judged_as_the_models_judge_them(headers: dict[str, bytes]) -> None:
    _, value, sound = encode_event(GOLDEN[3])
    odd = {**dict(sound), **headers}
    try:
        model = decode_event(CANONICAL_EVENT, odd, value)
    except EventDecodeError:
        with pytest.raises(UnreadableError):
            read(odd, value)
    else:
        assert read(odd, value).fact.at == microseconds(model.time)


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"{", b"[]", b"null", b'{"a": NaN}', b"\xff\xfe", b"[" * 10_000),
        b'{"deep": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
)
def test_what_is_no_event_is_unreadable(value: bytes | None) -> None:
    _, _, headers = encode_event(GOLDEN[3])
    for odd in (dict(headers), {**dict(headers), "ce_type": reading.LINK_TYPE.encode()}):
        with pytest.raises(UnreadableError):
            read(odd, value)


def test_an_event_of_another_topic_is_unreadable() -> None:
    _, value, headers = encode_event(CustomerErased(**BASE))
    with pytest.raises(UnreadableError, match=r"cxloop\.customer\.erased"):
        read(dict(headers), value)


def test_of_a_comment_only_its_polarity_is_kept() -> None:
    for comment, kept in (("The help was wonderful", True), ("Отлично", False), ("", False), (None, False)):
        _, value, headers = encode_event(SurveyResponded(**ANSWER, comment=comment))
        fact: Any = read(dict(headers), value).fact
        assert (fact.polarity is not None) is kept
        assert b"wonderful" not in encode_fact(fact)


def test_nul_and_long_values_are_brought_into_a_form_that_can_be_stored() -> None:
    event = TicketAssigned(**TICKET, team="a\x00b", agent="ä" * 100)
    _, value, headers = encode_event(event)
    fact: Any = read({**dict(headers), "ce_id": b"e\x001"}, value).fact
    assert fact.said["team"] == "a\ufffdb"
    assert fact.said["agent"] == "ä" * 64


def test_a_dimension_without_a_name_is_left_out() -> None:
    told: dict[str, Any] = {**TICKET, "dimensions": {"": "lost", "plan": "gold"}}
    event = TicketAssigned(**told, team="billing")
    _, value, headers = encode_event(event)
    fact: Any = read(dict(headers), value).fact
    assert fact.said == {"plan": "gold", "team": "billing", "agent": None}


@pytest.mark.parametrize(
    "event", [event for event in GOLDEN if isinstance(event, SurveyResponded)], ids=lambda event: event.metric
)
def test_a_score_is_encoded_as_its_model_encodes_it(event: SurveyResponded) -> None:
    _, value, headers = encode_event(event)
    document, event_id, fact = read(dict(headers), value)
    response = fold_response("zendesk-eu", {event_id: fact})
    assert response is not None
    encoded = score_of(document, {event_id: fact}, response, 1)
    score = decode_event(SCORE_EVENT, dict(encoded.headers), encoded.value)
    key, data, model_headers = encode_event(score)
    assert encoded.key == key
    assert msgspec.json.decode(encoded.value) == msgspec.json.decode(data)
    assert dict(encoded.headers) == dict(model_headers)
    assert (score.raw, score.scale, score.metric) == (event.score, event.scale, event.metric)
    assert score.dimensions["plan"] == "gold"
    assert score.ticket == event.ticket_document
