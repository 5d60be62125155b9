"""A delivery: one webhook or one posted event as it was accepted, and its form on the deliveries topic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from cxloop_common.identifiers import derive_id

DELIVERY_TYPE: Final = "cxloop.delivery.received"
_TYPE: Final = DELIVERY_TYPE.encode()
HTTP_PREFIX: Final = "http_"
"""Headers of the request stand under this prefix on the topic."""

KEPT_HEADERS: Final = frozenset(
    {
        "webhook-id",
        "x-zendesk-webhook-id",
        "x-zendesk-webhook-invocation-id",
        "x-zendesk-account-id",
        "x-github-event",
        "x-gitlab-event",
        "x-helpscout-event",
        "x-jotform-event",
        "ce-specversion",
        "ce-id",
        "ce-type",
        "ce-source",
        "ce-time",
        "ce-subject",
    }
)
"""Request headers that an adapter may need; a source can name more. All others are dropped, because a list
of what to hide would forget the next sender's token."""


class Via(StrEnum):
    """The door a delivery came through."""

    WEBHOOK = "webhook"
    EVENTS = "events"
    """`POST /v1/events`: one canonical CloudEvent, already validated and authorised for its source."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was accepted. `body` is the sender's own bytes after decompression."""

    id: str
    source: str
    received_at: datetime
    body: bytes
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Kept request headers by lower-case name."""
    via: Via = Via.WEBHOOK
    attempt: int = 0
    """How often an operator had replayed it when this record was written; the sender's retries count zero."""


class DeliveryDecodeError(ValueError):
    """A record of the deliveries topic was not written by intake."""


def delivery_id(source: str, body: bytes, signed_id: str | bytes = "") -> str:
    """Derive the id of a delivery from its source, its bytes and the sender's id where that was signed.

    An id from an unsigned header takes no part: whoever relays a delivery could give one body many ids. The
    body takes part even beside a signed id, so that a sender that uses an id twice loses nothing.
    """
    return derive_id("delivery", source, signed_id, body)


def attributes(
    identity: str, source: str, received_at: str, content_type: bytes
) -> tuple[tuple[str, bytes], ...]:
    """Give the CloudEvents attributes of a delivery in binary mode; `received_at` is RFC 3339."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_type", _TYPE),
        ("ce_source", source.encode()),
        ("ce_time", received_at.encode()),
        ("content-type", content_type),
    )


def record_headers(delivery: Delivery, traceparent: str | None = None) -> tuple[tuple[str, bytes], ...]:
    """Give the headers under which a delivery's body is written."""
    received_at = delivery.received_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    content_type = delivery.content_type.encode("latin-1", "replace")
    headers = list(attributes(delivery.id, delivery.source, received_at, content_type))
    if delivery.via is not Via.WEBHOOK:
        headers.append(("cxloop_via", delivery.via.encode()))
    if delivery.attempt:
        headers.append(("cxloop_attempt", str(delivery.attempt).encode()))
    headers.extend(
        (HTTP_PREFIX + name, value.encode("utf-8", "replace")) for name, value in delivery.headers.items()
    )
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return tuple(headers)


def from_record(headers: Mapping[str, bytes], value: bytes | None) -> Delivery:
    """Read a delivery back from its record. Raises DeliveryDecodeError."""
    if value is None or headers.get("ce_type") != _TYPE:
        raise DeliveryDecodeError(f"the record has no value or is no {DELIVERY_TYPE}")
    try:
        received_at = datetime.fromisoformat(headers["ce_time"].decode())
        attempt = int(headers.get("cxloop_attempt", b"0"))
        via = Via(headers.get("cxloop_via", Via.WEBHOOK.encode()).decode())
        identity, source = headers["ce_id"].decode(), headers["ce_source"].decode()
    except (KeyError, ValueError) as error:
        raise DeliveryDecodeError("a CloudEvents attribute is missing or unreadable") from error
    if received_at.tzinfo is None or not identity or not source or not 0 <= attempt < 2**31:
        raise DeliveryDecodeError("a CloudEvents attribute is out of its range")
    return Delivery(
        id=identity,
        source=source,
        received_at=received_at.astimezone(UTC),
        body=value,
        content_type=_text(headers.get("content-type", b"")),
        headers={
            name.removeprefix(HTTP_PREFIX): _text(raw)
            for name, raw in headers.items()
            if name.startswith(HTTP_PREFIX)
        },
        via=via,
        attempt=attempt,
    )


def _text(raw: bytes) -> str:
    # Header values are bytes of the sender's choice; PostgreSQL takes no U+0000.
    return raw.decode("utf-8", "replace").replace("\0", "")
