"""Canonical CloudEvents: structured, batch and binary mode, from `/v1/events` or signed as a webhook."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

from cxloop_common.events import (
    CANONICAL_EVENT,
    CanonicalEvent,
    CustomerErased,
    EventDecodeError,
    from_structured,
)
from cxloop_common.identifiers import IdentifierClass, IdentifierError
from cxloop_common.identifiers import normalise as normalise_identifier
from cxloop_ingest.domain.delivery import Delivery, Via
from cxloop_ingest.domain.drafts import Gathered, ItemProblem, Normalised, check_score
from cxloop_ingest.domain.reading import Reason, UnreadableError, contains_nul, parse_json
from cxloop_ingest.domain.sources import Source
from cxloop_ingest.domain.times import check_time

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
_ATTRIBUTES: Final = ("specversion", "id", "type", "source", "time", "subject")


class InvalidEventError(UnreadableError):
    """A CloudEvent that is no canonical event; `pointers` name each bad field of it."""

    def __init__(self, reason: Reason, detail: str, pointers: tuple[tuple[str, str], ...]) -> None:
        self.pointers = pointers
        super().__init__(reason, detail)


def documents(content_type: str, headers: Mapping[str, str], body: bytes) -> list[Any]:
    """Give the CloudEvents of a request in the JSON format, whichever of the three modes it uses.

    `headers` by lower-case name; those of binary mode are `ce-<attribute>`. Raises UnreadableError.
    """
    media = content_type.partition(";")[0].strip().lower()
    document = parse_json(body)
    if media == BATCH or (media != STRUCTURED and isinstance(document, list)):
        if not isinstance(document, list):
            raise UnreadableError(Reason.UNKNOWN_SHAPE, "a batch is a JSON array of CloudEvents")
        return cast("list[Any]", document)
    if media != STRUCTURED and "ce-id" in headers:
        attributes = {name: headers[f"ce-{name}"] for name in _ATTRIBUTES if f"ce-{name}" in headers}
        return [{**attributes, "data": document}]
    return [document]


def canonical(document: Any, received_at: datetime) -> CanonicalEvent:
    """Read one CloudEvent, its identifiers normalised. Raises InvalidEventError with a pointer to each fault."""
    try:
        event = from_structured(CANONICAL_EVENT, document)
    except EventDecodeError as error:
        raise InvalidEventError(_reason(document), str(error), error.pointers) from None
    if contains_nul([event.id, event.source, *event.model_dump().values()]):
        fault = "holds the character U+0000"
        raise InvalidEventError(Reason.NUL_CHARACTER, f"a text of the event {fault}", (("/data", fault),))
    try:
        check_time(event.time, received_at)
    except UnreadableError as error:
        raise InvalidEventError(error.reason, error.detail, (("/time", error.detail),)) from None
    identifiers: list[str] = []
    faults: list[tuple[str, str]] = []
    for index, written in enumerate(event.identifiers):
        try:
            identifier = normalise_identifier(written, event.source)
        except IdentifierError as error:
            faults.append((f"/data/identifiers/{index}", str(error)))
            continue
        if identifier.class_ is not IdentifierClass.BLOCKED:
            identifiers.append(str(identifier))
    if faults:
        raise InvalidEventError(Reason.INVALID_EVENT, "an identifier is not of its form", tuple(faults))
    if isinstance(event, CustomerErased) and not identifiers:
        fault = "names nobody: every identifier is a placeholder"
        raise InvalidEventError(Reason.INVALID_EVENT, f"the erasure {fault}", (("/data/identifiers", fault),))
    return event.model_copy(update={"identifiers": tuple(dict.fromkeys(identifiers))})


def _reason(document: Any) -> Reason:
    """Name what keeps a document from being an event: a score outside its scale, or else its form."""
    event = cast("dict[Any, Any]", document) if isinstance(document, dict) else {}
    data = event.get("data")
    try:
        check_score(event.get("type"), cast("dict[str, Any]", data) if isinstance(data, dict) else {})
    except UnreadableError as error:
        return error.reason
    return Reason.INVALID_EVENT


def normalise(delivery: Delivery, source: Source | None) -> Normalised:
    """Read the CloudEvents of a delivery. Raises UnreadableError where the body as a whole cannot be read.

    What comes by webhook may speak for its own source only; `/v1/events` has checked the token's sources.
    """
    del source
    events = Gathered()
    problems: list[ItemProblem] = []
    for index, document in enumerate(documents(delivery.content_type, delivery.headers, delivery.body)):
        try:
            event = canonical(document, delivery.received_at)
        except UnreadableError as error:
            problems.append(ItemProblem(index, error.reason, error.detail))
            continue
        if delivery.via is Via.WEBHOOK and event.source != delivery.source:
            detail = f"source must be {delivery.source}, the source it was sent to"
            problems.append(ItemProblem(index, Reason.INVALID_EVENT, detail))
            continue
        events.add(event)
    ignored = Reason.NO_ANSWER if not events.all and not problems else None
    return Normalised(tuple(events.all), tuple(problems), ignored)
