"""Reading records of canonical events, links and outcomes: the quick way to a fact.

The structs below say what the pydantic models say, at a third of the cost. What they refuse is shown to the
models, whose word is final: those accept some spellings (a number in quotes) that the structs do not, and
name what is wrong.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from cxloop_common.events import (
    CANONICAL_EVENT,
    AlertRecord,
    CanonicalEvent,
    EventDecodeError,
    decode_event,
    event_data,
)
from cxloop_common.events.base import rfc3339
from cxloop_common.topics import ALERT_EVENT
from cxloop_scoring.domain.dimensions import storable
from cxloop_scoring.domain.documents import document_of
from cxloop_scoring.domain.facts import (
    AUTHORS,
    OPEN,
    STATUSES,
    Created,
    Deleted,
    Escalated,
    Fact,
    Linked,
    Merged,
    Replied,
    Responded,
    Sent,
    StatusChanged,
    Tombstone,
    Updated,
    fact_key,
)
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.reading_outcomes import OUTCOME_READERS, SaysNothingError
from cxloop_scoring.domain.sentiment import polarity

__all__ = ["LINK_TYPE", "READABLE", "Reading", "SaysNothingError", "UnreadableError", "digest_of", "read"]

LINK_TYPE: Final = "cxloop.scoring.fact_linked"

ShortText: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
ObjectId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Author: TypeAlias = Literal["customer", "agent", "bot"]
Identifier: TypeAlias = Annotated[str, msgspec.Meta(min_length=3, max_length=512)]
Identifiers: TypeAlias = Annotated[tuple[Identifier, ...], msgspec.Meta(max_length=32)]
Named: TypeAlias = Annotated[dict[ShortText, ShortText], msgspec.Meta(max_length=32)]
Tags: TypeAlias = Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=128)]
Worked: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=604_800)]


class _Data(msgspec.Struct, gc=False):
    identifiers: Identifiers = ()
    dimensions: Named = {}


class _TicketData(_Data, kw_only=True, gc=False):
    ticket_id: ObjectId


class _Fields(_TicketData, kw_only=True, gc=False):
    channel: ShortText | None = None
    created_by: Author | None = None
    subject: Annotated[str, msgspec.Meta(max_length=1000)] | None = None
    team: ShortText | None = None
    agent: ShortText | None = None
    priority: ShortText | None = None
    contact_type: ShortText | None = None
    tags: Tags | None = None
    worked_s: Worked | None = None


class _Assigned(_TicketData, kw_only=True, gc=False):
    team: ShortText | None = None
    agent: ShortText | None = None


class _Replied(_TicketData, kw_only=True, gc=False):
    message_id: ObjectId
    author: Author
    public: bool
    worked_s: Worked | None = None


class _Status(_TicketData, kw_only=True, gc=False):
    status: Literal["new", "open", "pending", "on_hold", "solved", "closed"]


class _Escalated(_TicketData, kw_only=True, gc=False):
    level: ShortText | None = None


class _Merged(_TicketData, kw_only=True, gc=False):
    into_ticket_id: ObjectId


class _Scale(msgspec.Struct, gc=False):
    min: float
    max: float
    polarity: Literal["higher_is_better", "lower_is_better"] = "higher_is_better"
    good: tuple[float, ...] | None = None


class _Responded(_Data, kw_only=True, gc=False):
    response_id: ObjectId
    metric: Literal["nps", "csat", "ces", "other"]
    score: float
    scale: _Scale
    survey_id: ShortText | None = None
    comment: Annotated[str, msgspec.Meta(max_length=20_000)] | None = None
    touchpoint: ShortText | None = None
    channel: ShortText | None = None
    ticket_id: ObjectId | None = None
    ticket_source: ShortText | None = None
    wants_contact: bool | None = None


class _Sent(_Data, kw_only=True, gc=False):
    send_id: ObjectId
    survey_id: ShortText
    response_id: ObjectId | None = None
    ticket_id: ObjectId | None = None
    ticket_source: ShortText | None = None


class _LinkedFact(msgspec.Struct, gc=False):
    event_id: Annotated[str, msgspec.Meta(min_length=1)]
    at: int
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    author: Annotated[int, msgspec.Meta(ge=0, le=3)]
    tombstone: bool = False


class _Link(msgspec.Struct, gc=False):
    document: Annotated[str, msgspec.Meta(pattern="^ticket:[^:]+:[^:]+$")]
    origin: str
    fact: _LinkedFact


class Reading(NamedTuple):
    """What a record says: a fact, under its key, of a document."""

    document: str
    event_id: str
    fact: Fact


class UnreadableError(ValueError):
    """A record is no event of scoring's topics. The message names fields and quotes no value of theirs."""


Data = TypeVar("Data", bound=_Data)
_Builder: TypeAlias = Callable[[str, int, bytes, bytes], tuple[str, Fact]]
_DIGEST_BYTES: Final = 8
_LARGEST_BOUND: Final = 1e300
"""Of a scale: sums and differences of two of them are numbers still."""
_LONGEST_ID, _LONGEST_SOURCE = 256, 128
_LEAST_FRACTION: Final = 1e-6
_SHORTEST_TIME: Final = len("2026-01-01T00:00:00Z")


class _ModelDecidesError(Exception):
    """The quick way does not settle this record."""


def _said(data: _Data, **fields: str | None) -> dict[str, str | None]:
    said: dict[str, str | None] = {}
    for name, value in data.dimensions.items():
        if name:  # nobody could ask for one without a name
            said[storable(name)] = storable(value)
    # A field of the event outranks a dimension of the same name that the source configured.
    for name, value in fields.items():
        if value is not None:
            said[name] = storable(value)
    return said


def _ticket(data: _TicketData, source: str) -> str:
    return document_of("ticket", source, data.ticket_id)


def _tags(data: _Fields) -> tuple[str, ...] | None:
    return None if data.tags is None else tuple(sorted({storable(tag) for tag in data.tags}))


def _milliseconds(seconds: float | None) -> int | None:
    # 1.001 s are 1001 ms, although the product of floats lies below.
    return None if seconds is None else int(seconds * 1000 + _LEAST_FRACTION)


def _about(data: _Responded | _Sent, source: str) -> str | None:
    """Give the document of the ticket that a survey asks about."""
    if data.ticket_id is None:
        return None
    return document_of("ticket", data.ticket_source or source, data.ticket_id)


def _described(data: _Fields) -> dict[str, str | None]:
    return _said(
        data,
        channel=data.channel,
        team=data.team,
        agent=data.agent,
        contact_type=data.contact_type,
        priority=data.priority,
    )


def _created(data: _Fields, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    if data.channel is None or data.created_by is None:
        raise _ModelDecidesError
    said = _described(data)
    return _ticket(data, source), Created(
        at,
        digest,
        AUTHORS[data.created_by],
        said,
        _tags(data),
        data.identifiers,
        _milliseconds(data.worked_s),
    )


def _updated(data: _Fields, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    said = _described(data)
    worked = _milliseconds(data.worked_s)
    return _ticket(data, source), Updated(at, digest, said, _tags(data), data.identifiers, worked)


def _assigned(data: _Assigned, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    said = _said(data)
    # None takes the assignment away, so both are always said.
    said["team"] = None if data.team is None else storable(data.team)
    said["agent"] = None if data.agent is None else storable(data.agent)
    return _ticket(data, source), Updated(at, digest, said, None, data.identifiers)


def _replied(data: _Replied, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    return _ticket(data, source), Replied(
        at,
        digest,
        AUTHORS[data.author],
        data.public,
        _said(data),
        _milliseconds(data.worked_s),
        data.identifiers,
    )


def _status(data: _Status, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    return _ticket(data, source), StatusChanged(
        at, digest, STATUSES.get(data.status, OPEN), _said(data), data.identifiers
    )


def _escalated(data: _Escalated, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    return _ticket(data, source), Escalated(at, digest, data.level, _said(data), data.identifiers)


def _merged(data: _Merged, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    into = document_of("ticket", source, data.into_ticket_id)
    return _ticket(data, source), Merged(at, digest, into, _said(data), data.identifiers)


def _deleted(data: _TicketData, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    return _ticket(data, source), Deleted(at, digest)


def _responded(data: _Responded, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    scale, score = data.scale, data.score
    sound = (
        -_LARGEST_BOUND <= scale.min <= score <= scale.max <= _LARGEST_BOUND
        and scale.min < scale.max
        and (data.metric != "nps" or score.is_integer())
    )
    if not sound:
        raise _ModelDecidesError
    said = _said(data, channel=data.channel, touchpoint=data.touchpoint, survey=data.survey_id)
    return document_of("response", source, data.response_id), Responded(
        at,
        digest,
        data.metric,
        score,
        scale.min,
        scale.max,
        scale.polarity == "lower_is_better",
        scale.good,
        said,
        data.identifiers,
        data.wants_contact,
        _about(data, source),
        # The words end here: what is kept of a comment is this number.
        polarity(data.comment) if data.comment else None,
    )


def _sent(data: _Sent, source: str, at: int, digest: bytes) -> tuple[str, Fact]:
    if data.response_id is None:
        document = document_of("send", source, data.send_id)
    else:
        document = document_of("response", source, data.response_id)
    return document, Sent(
        at, digest, storable(data.survey_id), _said(data), data.identifiers, _about(data, source)
    )


def _reader(model: type[Data], build: Callable[[Data, str, int, bytes], tuple[str, Fact]]) -> _Builder:
    decode = msgspec.json.Decoder(model).decode

    def build_from(source: str, at: int, digest: bytes, value: bytes) -> tuple[str, Fact]:
        return build(decode(value), source, at, digest)

    return build_from


_READERS: Final[Mapping[bytes, _Builder]] = {
    b"cxloop.ticket.created": _reader(_Fields, _created),
    b"cxloop.ticket.updated": _reader(_Fields, _updated),
    b"cxloop.ticket.assigned": _reader(_Assigned, _assigned),
    b"cxloop.ticket.replied": _reader(_Replied, _replied),
    b"cxloop.ticket.status_changed": _reader(_Status, _status),
    b"cxloop.ticket.escalated": _reader(_Escalated, _escalated),
    b"cxloop.ticket.merged": _reader(_Merged, _merged),
    b"cxloop.ticket.deleted": _reader(_TicketData, _deleted),
    b"cxloop.survey.responded": _reader(_Responded, _responded),
    b"cxloop.survey.sent": _reader(_Sent, _sent),
    **OUTCOME_READERS,
}
_ALERT: Final = AlertRecord.TYPE.encode()
READABLE: Final = frozenset(name.decode() for name in _READERS)
"""Event types that scoring folds."""

_decode_link = msgspec.json.Decoder(_Link).decode


def _instant(text: str) -> int:
    # Only the form that our own writers use; the models know the others.
    if len(text) < _SHORTEST_TIME or text[-1] != "Z" or text[10] != "T" or text[4] != "-":
        raise _ModelDecidesError
    return microseconds(datetime.fromisoformat(text))


def digest_of(value: bytes) -> bytes:
    """Give the first 8 bytes of the content hash of an event's data."""
    return blake2b(value, digest_size=16).digest()[:_DIGEST_BYTES]


def read(headers: Mapping[str, bytes], value: bytes | None) -> Reading:
    """Read one record.

    Raises UnreadableError for what no model of scoring's topics accepts, and SaysNothingError for an event that
    is right and belongs to no document, such as a touchpoint of nobody known.
    """
    if headers.get("ce_type") == LINK_TYPE.encode():
        return _read_link(value)
    try:
        return _read_quickly(headers, value)
    # msgspec's errors are ValueErrors, but for JSON that is too deep.
    except (_ModelDecidesError, KeyError, ValueError, TypeError, RecursionError):
        return _read_by_model(headers, value)


def _read_quickly(headers: Mapping[str, bytes], value: bytes | None) -> Reading:
    if value is None:
        raise _ModelDecidesError
    build = _READERS[headers["ce_type"]]
    event_id = headers["ce_id"].decode()
    source = headers["ce_source"].decode()
    at = _instant(headers["ce_time"].decode())
    if not 0 < len(event_id) <= _LONGEST_ID or not 0 < len(source) <= _LONGEST_SOURCE:
        raise _ModelDecidesError
    document, fact = build(source, at, digest_of(value), value)
    return Reading(document, fact_key(event_id, fact), fact)


def _read_by_model(headers: Mapping[str, bytes], value: bytes | None) -> Reading:
    event: CanonicalEvent | AlertRecord
    try:
        if headers.get("ce_type") == _ALERT:
            event = decode_event(ALERT_EVENT, headers, value)
        else:
            event = decode_event(CANONICAL_EVENT, headers, value)
    except EventDecodeError as error:
        raise UnreadableError(str(error)) from error
    if event.TYPE not in READABLE or value is None:
        raise UnreadableError(f"scoring reads no events of the type {event.TYPE}")
    canonical = {
        "ce_id": event.id.encode(),
        "ce_type": event.TYPE.encode(),
        "ce_source": event.source.encode(),
        "ce_time": rfc3339(event.time).encode(),
    }
    try:
        reading = _read_quickly(canonical, event_data(event))
    except (_ModelDecidesError, ValueError) as error:
        raise UnreadableError("the event is valid, yet cannot be folded; report this as a fault") from error
    # The content hash is of the bytes as they came, as every service hashes them.
    return reading._replace(fact=msgspec.structs.replace(reading.fact, digest=digest_of(value)))


def _read_link(value: bytes | None) -> Reading:
    try:
        link = _decode_link(value or b"")
    except (ValueError, RecursionError) as error:
        raise UnreadableError("the link is no fact of a merged ticket") from error
    fact = link.fact
    digest = bytes.fromhex(fact.digest)
    linked: Fact = Tombstone(fact.at, digest) if fact.tombstone else Linked(fact.at, digest, fact.author)
    return Reading(link.document, fact.event_id, linked)
