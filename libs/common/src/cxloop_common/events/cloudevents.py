"""CloudEvents 1.0 encodings: binary mode on Kafka, structured mode on HTTP.

Sources: CloudEvents core 1.0.2, its Kafka protocol binding 1.0.2 (section 3.2, `ce_` headers) and its JSON
format (section 3).
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from cxloop_common.events.base import ATTRIBUTES, CloudEvent, rfc3339

JSON_CONTENT = b"application/json"
Headers = list[tuple[str, bytes]]
EventT = TypeVar("EventT", bound=CloudEvent)


class EventDecodeError(ValueError):
    """A record is no event of the expected types. `pointers` name what is wrong without quoting values."""

    def __init__(self, detail: str, pointers: Iterable[tuple[str, str]] = ()) -> None:
        self.pointers = tuple(pointers)
        super().__init__(detail)


def event_data(event: CloudEvent) -> bytes:
    """Encode the event's data: every field that is not an attribute, absent where None, as compact JSON."""
    # Keys are sorted, so that equal events have equal bytes and with them one content hash.
    return msgspec.json.encode(_data(event), order="deterministic")


def _data(event: CloudEvent) -> dict[str, Any]:
    return event.model_dump(mode="json", exclude={"id", "source", "type", "time"}, exclude_none=True)


def event_headers(event: CloudEvent, traceparent: str | None = None) -> Headers:
    """Build the binary-mode headers of an event, with the trace context where there is one."""
    headers: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_type", event.TYPE.encode()),
        ("ce_source", event.source.encode()),
        ("ce_time", rfc3339(event.time).encode()),
        ("content-type", JSON_CONTENT),
    ]
    if event.subject is not None:
        headers.append(("ce_subject", event.subject.encode()))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return headers


def encode_event(event: CloudEvent, traceparent: str | None = None) -> tuple[bytes, bytes, Headers]:
    """Encode for Kafka: (key, value, headers)."""
    return event.key.encode(), event_data(event), event_headers(event, traceparent)


def decode_event(adapter: TypeAdapter[EventT], headers: Mapping[str, bytes], value: bytes | None) -> EventT:
    """Decode a binary-mode record with the adapter of the types its topic holds.

    Raises EventDecodeError, which names fields but quotes no value of theirs.
    """
    if value is None:
        raise EventDecodeError("the record has no value")
    try:
        data: Any = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise EventDecodeError("the value is not JSON") from error
    if not isinstance(data, dict):
        raise EventDecodeError("the value is not a JSON object")
    flat = dict(cast("dict[str, Any]", data))
    for attribute in ("id", "type", "source", "time"):
        raw = headers.get(f"ce_{attribute}")
        if raw is None:
            raise EventDecodeError(f"the record has no ce_{attribute} header")
        try:
            flat[attribute] = raw.decode()
        except UnicodeDecodeError as error:
            raise EventDecodeError(f"the ce_{attribute} header is not UTF-8") from error
    return validate_flat(adapter, flat)


def validate_flat(adapter: TypeAdapter[EventT], flat: Mapping[str, Any]) -> EventT:
    """Validate attributes and data together; raise EventDecodeError with a pointer to each bad field."""
    try:
        return adapter.validate_python(flat)
    except ValidationError as error:
        pointers = [
            (_pointer(problem["loc"]), problem["msg"])
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        where = ", ".join(sorted({pointer or "/" for pointer, _ in pointers}))
        raise EventDecodeError(f"the event is invalid at {where}", pointers) from error


def _pointer(location: tuple[int | str, ...]) -> str:
    # The discriminator's tag stands first in the location of a union; it is no part of the document.
    parts = location[1:] if location and str(location[0]).startswith("cxloop.") else location
    names = ["" if str(part) in ATTRIBUTES - {"subject"} else "/data" for part in parts[:1]]
    return "".join(names) + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def to_structured(event: CloudEvent) -> dict[str, Any]:
    """Render an event in the JSON format: attributes on top, fields under `data`."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "type": event.TYPE,
        "source": event.source,
        "time": rfc3339(event.time),
        "subject": event.subject,
        "datacontenttype": "application/json",
        "data": _data(event),
    }


def from_structured(adapter: TypeAdapter[EventT], document: Any) -> EventT:
    """Read an event in the JSON format. Raises EventDecodeError with pointers to each bad field."""
    if not isinstance(document, dict):
        raise EventDecodeError("a CloudEvent is a JSON object", [("", "not an object")])
    envelope = cast("dict[str, Any]", document)
    if envelope.get("specversion") != "1.0":
        raise EventDecodeError("specversion must be 1.0", [("/specversion", "must be 1.0")])
    data: Any = envelope.get("data")
    if not isinstance(data, dict):
        raise EventDecodeError("data must be a JSON object", [("/data", "must be a JSON object")])
    missing = [name for name in ("id", "type", "source", "time") if not isinstance(envelope.get(name), str)]
    if missing:
        raise EventDecodeError(
            f"the CloudEvent lacks {', '.join(missing)}", [(f"/{name}", "required") for name in missing]
        )
    flat = {
        **cast("dict[str, Any]", data),
        **{name: envelope[name] for name in ("id", "type", "source", "time")},
    }
    return validate_flat(adapter, flat)
