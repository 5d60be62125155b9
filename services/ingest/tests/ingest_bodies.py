"""Bodies in the senders' shapes, with values of our own, and the sources that read them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxloop_ingest.configuration import load_sources
from cxloop_ingest.domain.delivery import Delivery, Via, delivery_id
from cxloop_ingest.domain.sources import Source

RECEIVED = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
GOLDEN = Path(__file__).parent / "ingest_golden"
SECRETS = {
    "CXLOOP_SECRET_ZENDESK": "zendesk-secret-one",
    "CXLOOP_SECRET_ZENDESK_NEXT": "zendesk-secret-two",
    "CXLOOP_SECRET_DELIGHTED": "delighted-secret",
    "CXLOOP_SECRET_SHOP": "whsec_c2hvcC1zZWNyZXQtb2Ytb3Vycw==",
    "CXLOOP_SECRET_FORM": "form-token-of-ours",
}


def sources(path: Path | None = None) -> dict[str, Source]:
    loaded = load_sources(path or GOLDEN / "sources.yaml", SECRETS)
    assert not loaded.problems, "\n".join(map(str, loaded.problems))
    return dict(loaded.sources)


def delivery(source: str, body: Any, *, received_at: datetime = RECEIVED, **options: Any) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    options.setdefault("content_type", "application/json")
    options.setdefault("via", Via.WEBHOOK)
    return Delivery(delivery_id(source, raw), source, received_at, raw, **options)


def zendesk(kind: str, event: dict[str, Any] | None = None, **detail: Any) -> dict[str, Any]:
    """Make an event body as Zendesk sends it."""
    return {
        "account_id": 4711,
        "detail": {
            "actor_id": "9001",
            "assignee_id": "7001",
            "brand_id": "1",
            "created_at": "2026-03-06T08:00:00Z",
            "custom_status": "55",
            "description": "the lamp stays dark",
            "external_id": None,
            "form_id": "3",
            "group_id": "600",
            "id": "815",
            "is_public": True,
            "organization_id": None,
            "priority": "HIGH",
            "requester_id": "42001",
            "status": "OPEN",
            "subject": "Lamp stays dark",
            "submitter_id": "42001",
            "tags": ["lamp", "b2b"],
            "type": "QUESTION",
            "updated_at": "2026-03-06T09:00:00Z",
            "via": {"channel": "web_form"},
            **detail,
        },
        "event": event or {},
        "id": f"0b6e3c1e-{kind[:4]}-4d5a-9c1e-f00000000815",
        "subject": "zen:ticket:815",
        "time": "2026-03-06T09:00:00.123456789Z",
        "type": f"zen:event-type:{kind}",
        "zendesk_event_version": "2022-11-06",
    }


def comment(*, public: bool, staff: bool, author: str = "7001") -> dict[str, Any]:
    return {
        "comment": {
            "id": "c-77",
            "body": "ENTIRELY CONFIDENTIAL",
            "is_public": public,
            "author": {"id": author, "is_staff": staff, "name": "Someone"},
        }
    }


def message(actor: str) -> dict[str, Any]:
    return {
        "account_id": 4711,
        "detail": {"id": "816"},
        "event": {
            "actor": {"id": "42002", "name": "Ben", "type": actor},
            "conversation_id": "67c0ffee",
            "message": {"body": "Hello?", "id": "m-1"},
        },
        "id": "01JXM8T5YV3X1S8K1A7R0Q2N4B",
        "subject": "zen:ticket:816",
        "time": "2026-03-06T09:30:00.5Z",
        "type": "zen:event-type:messaging_ticket.message_added",
        "zendesk_event_version": "2022-11-06",
    }


def delighted(**changes: Any) -> dict[str, Any]:
    """Make a response body as Delighted sends it."""
    return {
        "event_type": "survey_response.updated",
        "event_id": "5be1c0de",
        "event_data": {
            "id": "31337",
            "person": {
                "id": "88",
                "email": "Ana@Example.com",
                "phone_number": "+49 30 901820",
                "name": "Ana",
                "created_at": 1772700000,
            },
            "survey_type": "nps",
            "score": 3,
            "comment": "Waited for a week",
            "permalink": "https://app.delighted.example/r/1",
            "created_at": 1772780000,
            "updated_at": 1772780400,
            "person_properties": {
                "Ticket ID": "815",
                "Location": "Berlin",
                "Plan Name": "gold",
                "Name": "Ana",
            },
            "notes": [],
            "tags": [],
            **changes,
        },
    }
