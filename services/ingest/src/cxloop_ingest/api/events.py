"""`POST /v1/events`: canonical CloudEvents, one or a batch, durable before the answer.

Each event becomes a delivery of its own on the same topic as webhooks, so that the normaliser stays the only
writer of canonical topics.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Request
from prometheus_client import CollectorRegistry, Counter
from pydantic import BaseModel

from cxloop_common.events import CanonicalEvent, content_hash
from cxloop_common.http import Problem, require
from cxloop_common.kafka.records import Message
from cxloop_common.security import Principal, Scope
from cxloop_common.telemetry import current_traceparent
from cxloop_ingest.api.deadlines import Deadlines
from cxloop_ingest.api.delivery_log import DeliveryLog
from cxloop_ingest.api.receive import check_content_type, read_body
from cxloop_ingest.domain.adapters.cloudevents import STRUCTURED, InvalidEventError, canonical, documents
from cxloop_ingest.domain.delivery import Delivery, Via, delivery_id, record_headers
from cxloop_ingest.domain.reading import UnreadableError

_MOST_FAULTS: Final = 100
_CONTENT: Final[dict[str, Any]] = {
    "application/cloudevents+json": {"schema": {"type": "object"}},
    "application/cloudevents-batch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
    "application/json": {"schema": {"type": "object"}},
}


class Accepted(BaseModel):
    """The events that are durable now."""

    accepted: list[str]


def events_router(
    *,
    log: DeliveryLog,
    topic: str,
    now: Callable[[], datetime],
    limit: int,
    deadline_s: float,
    registry: CollectorRegistry,
) -> APIRouter:
    """Make the route."""
    router = APIRouter(prefix="/v1", tags=["intake"])
    deadlines = Deadlines(deadline_s)
    refused = Counter(
        "cxloop_refused_events",
        "CloudEvents that /v1/events answered with 422, by what is wrong with each",
        ["reason"],
        registry=registry,
    )

    @router.post(
        "/events",
        status_code=202,
        summary="Take canonical events as CloudEvents, in binary, structured or batch mode",
        openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
    )
    async def take(  # pyright: ignore[reportUnusedFunction]
        request: Request, caller: Annotated[Principal, Depends(require(Scope.WRITE))]
    ) -> Accepted:
        headers: dict[bytes, bytes] = dict(request.scope["headers"])
        check_content_type(headers)
        body, _ = await read_body(request.receive, headers, limit=limit, deadlines=deadlines)
        received_at = now()
        found = _documents(headers, body)
        events = _validated(found, received_at, caller, refused)
        await log.append_all(
            [
                _message(topic, event, document, received_at)
                for event, document in zip(events, found, strict=True)
            ]
        )
        return Accepted(accepted=[event.id for event in events])

    return router


def _documents(headers: dict[bytes, bytes], body: bytes) -> list[Any]:
    texts = {name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in headers.items()}
    try:
        return documents(texts.get("content-type", ""), texts, body)
    except UnreadableError as error:
        raise Problem(400, detail=f"The body cannot be read: {error.detail}.") from error


def _validated(
    found: list[Any], received_at: datetime, caller: Principal, refused: Counter
) -> list[CanonicalEvent]:
    events: list[CanonicalEvent] = []
    faults: list[dict[str, str]] = []
    forbidden: list[dict[str, str]] = []
    for index, document in enumerate(found):
        place = f"/{index}" if len(found) > 1 else ""
        try:
            event = canonical(document, received_at)
        except InvalidEventError as error:
            refused.labels(error.reason).inc()
            faults += [
                {"pointer": place + pointer, "detail": detail}
                for pointer, detail in error.pointers or (("", error.detail),)
            ]
            continue
        if not caller.may_write(event.source):
            forbidden.append({"pointer": f"{place}/source", "detail": "not one of the sources of this token"})
        events.append(event)
    if faults:
        raise Problem(
            422,
            detail="Nothing was accepted: an event is not of its type's form.",
            errors=faults[:_MOST_FAULTS],
        )
    if forbidden:
        raise Problem(
            403,
            detail=f"Nothing was accepted: the token {caller.name} may not write for a source.",
            errors=forbidden[:_MOST_FAULTS],
        )
    return events


def _message(topic: str, event: CanonicalEvent, document: Any, received_at: datetime) -> Message:
    body = msgspec.json.encode(document, order="deterministic")
    # The content takes part: an id that is sent again with other content is another delivery, and readers
    # settle between the two events by their rule.
    identity = delivery_id(event.source, content_hash(body).encode(), event.id)
    delivery = Delivery(
        id=identity,
        source=event.source,
        received_at=received_at,
        body=body,
        content_type=STRUCTURED,
        via=Via.EVENTS,
    )
    return Message(topic, identity.encode(), body, record_headers(delivery, current_traceparent()))
