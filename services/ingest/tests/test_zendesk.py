"""Zendesk's ticket events become canonical ones; what they do not say is not invented."""

from typing import Any

import pytest
from ingest_bodies import comment, delivery, message, sources, zendesk

from cxloop_common.events import CanonicalEvent
from cxloop_common.identifiers import derive_id
from cxloop_ingest.domain.drafts import Normalised, Status
from cxloop_ingest.domain.normalise import normalise
from cxloop_ingest.domain.reading import Reason

SOURCE = sources()["zendesk-eu"]


def read(body: Any) -> Normalised:
    return normalise(delivery("zendesk-eu", body), SOURCE)


def event(body: Any) -> CanonicalEvent:
    result = read(body)
    assert not result.problems, result.problems
    (one,) = result.events
    return one


def data(body: Any) -> dict[str, Any]:
    drop = {"id", "source", "time", "identifiers", "dimensions"}
    return event(body).model_dump(mode="json", exclude=drop, exclude_none=True)


def test_a_created_ticket_carries_what_describes_it() -> None:
    created = event(zendesk("ticket.created"))
    assert data(zendesk("ticket.created")) == {
        "type": "cxloop.ticket.created",
        "ticket_id": "815",
        "channel": "web",
        "created_by": "customer",
        "subject": "Lamp stays dark",
        "team": "600",
        "agent": "7001",
        "priority": "high",
        "contact_type": "question",
        "tags": ["lamp", "b2b"],
    }
    assert created.identifiers == ("zendesk-eu.requester:42001",)
    assert created.dimensions == {"region": "eu"}
    assert created.time.isoformat() == "2026-03-06T09:00:00.123456+00:00"
    assert created.id == derive_id(
        "zendesk-eu", "ticket:815", "ticket.created", "0b6e3c1e-tick-4d5a-9c1e-f00000000815", ""
    )


def test_a_ticket_that_an_agent_opens_and_solves_at_once_says_both() -> None:
    result = read(zendesk("ticket.created", submitter_id="7001", status="SOLVED"))
    assert [one.TYPE for one in result.events] == ["cxloop.ticket.created", "cxloop.ticket.status_changed"]
    assert result.events[0].model_dump()["created_by"] == "agent"
    assert len({one.id for one in result.events}) == 2


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ("NEW", "new"),
        ("OPEN", "open"),
        ("Pending", "pending"),
        ("hold", "on_hold"),
        ("On-hold", "on_hold"),
        ("SOLVED", "solved"),
        ("closed", "closed"),
    ],
)
def test_a_status_is_known_in_every_spelling(written: str, status: str) -> None:
    body = zendesk("ticket.status_changed", {"current": written, "previous": "OPEN"})
    assert data(body) == {"type": "cxloop.ticket.status_changed", "ticket_id": "815", "status": status}


def test_statuses_of_the_record_are_no_statuses_of_the_work() -> None:
    gone = zendesk("ticket.status_changed", {"current": "DELETED", "previous": "OPEN"})
    assert data(gone)["type"] == "cxloop.ticket.deleted"
    archived = read(zendesk("ticket.status_changed", {"current": "ARCHIVED", "previous": "CLOSED"}))
    assert (archived.status, archived.events) == (Status.IGNORED, ())
    unknown = read(zendesk("ticket.status_changed", {"current": "FROZEN"}))
    assert unknown.reason is Reason.UNKNOWN_VALUE


@pytest.mark.parametrize(
    ("kind", "change", "detail", "expected"),
    [
        (
            "agent_assignment_changed",
            {"current": "7002", "previous": "7001"},
            {},
            {"team": "600", "agent": "7002"},
        ),
        ("agent_assignment_changed", {"current": None, "previous": "7001"}, {}, {"team": "600"}),
        ("agent_assignment_changed", {"current": "0"}, {"group_id": "0"}, {}),
        ("group_assignment_changed", {"current": 601}, {}, {"team": "601", "agent": "7001"}),
        ("group_assignment_changed", {"current": "601"}, {"assignee_id": ""}, {"team": "601"}),
    ],
)
def test_an_assignment_names_both_sides_as_they_are_now(
    kind: str, change: dict[str, Any], detail: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert data(zendesk(f"ticket.{kind}", change, **detail)) == {
        "type": "cxloop.ticket.assigned",
        "ticket_id": "815",
        **expected,
    }


@pytest.mark.parametrize(
    ("public", "staff", "author", "role"),
    [
        (True, True, "7001", "agent"),
        (True, False, "42001", "customer"),
        (False, True, "7001", "agent"),
        (True, True, "-1", "bot"),
    ],
)
def test_a_comment_tells_who_wrote_and_whether_the_customer_sees_it(
    *, public: bool, staff: bool, author: str, role: str
) -> None:
    body = zendesk("ticket.comment_added", comment(public=public, staff=staff, author=author))
    assert data(body) == {
        "type": "cxloop.ticket.replied",
        "ticket_id": "815",
        "message_id": "c-77",
        "author": role,
        "public": public,
    }


def test_the_text_of_a_private_note_goes_nowhere() -> None:
    body = zendesk("ticket.comment_added", comment(public=False, staff=True))
    assert "CONFIDENTIAL" not in event(body).model_dump_json()


@pytest.mark.parametrize("missing", ["is_public", "author", "id"])
def test_a_comment_that_leaves_open_who_sees_it_is_quarantined(missing: str) -> None:
    body = zendesk("ticket.comment_added", comment(public=True, staff=True))
    del body["event"]["comment"][missing]
    assert read(body).reason is Reason.MISSING_FIELD


@pytest.mark.parametrize(
    ("actor", "role"),
    [("system", "bot"), ("end_user", "customer"), ("end-user", "customer"), ("agent", "agent")],
)
def test_a_message_is_a_public_reply(actor: str, role: str) -> None:
    replied = event(message(actor))
    assert replied.model_dump(include={"ticket_id", "message_id", "author", "public"}) == {
        "ticket_id": "816",
        "message_id": "m-1",
        "author": role,
        "public": True,
    }
    known = ("zendesk-eu.requester:42002",) if role == "customer" else ()
    assert replied.identifiers == known


@pytest.mark.parametrize(
    ("kind", "change", "detail", "expected"),
    [
        ("priority_changed", {"current": "URGENT"}, {}, {"priority": "urgent"}),
        ("type_changed", {"current": "INCIDENT"}, {}, {"contact_type": "incident"}),
        ("subject_changed", {"current": "Other lamp"}, {}, {"subject": "Other lamp"}),
        ("tags_changed", {"tags_added": ["vip"]}, {"tags": ["lamp", "vip"]}, {"tags": ["lamp", "vip"]}),
        ("tags_changed", {"tags_removed": ["lamp"]}, {"tags": None}, {"tags": []}),
    ],
)
def test_a_changed_field_becomes_an_update_of_that_field_alone(
    kind: str, change: dict[str, Any], detail: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert data(zendesk(f"ticket.{kind}", change, **detail)) == {
        "type": "cxloop.ticket.updated",
        "ticket_id": "815",
        **expected,
    }


def test_a_merge_names_the_survivor() -> None:
    assert data(zendesk("ticket.merged", {"target_ticket_id": "816"})) == {
        "type": "cxloop.ticket.merged",
        "ticket_id": "815",
        "into_ticket_id": "816",
    }
    assert read(zendesk("ticket.merged", {})).reason is Reason.MISSING_FIELD


@pytest.mark.parametrize("kind", ["soft_deleted", "permanently_deleted", "marked_as_spam"])
def test_a_deleted_ticket_is_deleted(kind: str) -> None:
    assert data(zendesk(f"ticket.{kind}"))["type"] == "cxloop.ticket.deleted"


@pytest.mark.parametrize(
    ("rating", "score", "most"),
    [
        ({"score": "GOOD", "comment": "thanks"}, 1, 1),
        ({"score": "bad_with_comment", "comment": "slow"}, 0, 1),
        ({"score": 2}, 2, 5),
        ({"score": "5"}, 5, 5),
    ],
)
def test_a_rating_is_a_response_linked_to_its_ticket(
    rating: dict[str, Any], score: float, most: float
) -> None:
    found = data(zendesk("ticket.csat_received", {"satisfaction_score": rating}))
    assert (found["score"], found["scale"]["max"], found["metric"]) == (score, most, "csat")
    assert (found["ticket_id"], found["response_id"]) == ("815", "csat-815")
    assert found.get("comment") == rating.get("comment")


def test_a_rating_outside_its_scale_is_quarantined_and_never_clipped() -> None:
    assert read(zendesk("ticket.csat_received", {"satisfaction_score": {"score": 6}})).reason is (
        Reason.SCORE_OUT_OF_SCALE
    )


def test_an_offered_rating_is_no_answer() -> None:
    assert read(zendesk("ticket.csat_received", {"satisfaction_score": {"score": "OFFERED"}})).reason is (
        Reason.NO_ANSWER
    )
    assert data(zendesk("ticket.csat_requested"))["send_id"] == "csat-815"


@pytest.mark.parametrize("kind", ["ticket.custom_field_changed", "user.created", "ticket.brand_changed"])
def test_events_of_no_use_are_ignored_and_not_quarantined(kind: str) -> None:
    result = read(zendesk(kind))
    assert (result.status, result.reason) == (Status.IGNORED, Reason.NOT_OURS)


@pytest.mark.parametrize("body", [{}, [], "text", 7, {"type": "ticket.created"}, {"type": None}])
def test_a_body_of_another_shape_is_quarantined(body: Any) -> None:
    assert read(body).reason is Reason.UNKNOWN_SHAPE


def test_an_event_without_the_senders_id_is_known_by_its_content() -> None:
    body = zendesk("ticket.merged", {"target_ticket_id": "816"})
    del body["id"]
    other = {**body, "time": "2026-03-06T09:00:01Z"}
    reordered = dict(reversed(list(body.items())))
    assert event(body).id == event(reordered).id != event(other).id


def test_the_delivery_id_takes_no_part_in_the_event_id() -> None:
    body = zendesk("ticket.created")
    spaced = delivery("zendesk-eu", body)
    resent = delivery("zendesk-eu", body | {"zendesk_event_version": "2022-11-06 "})
    assert spaced.id != resent.id
    assert normalise(spaced, SOURCE).events[0].id == normalise(resent, SOURCE).events[0].id
