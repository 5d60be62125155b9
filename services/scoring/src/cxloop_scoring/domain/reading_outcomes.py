"""Reading touchpoints and alert records: the quick way to a fact, as `reading` does it for canonical events."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from cxloop_scoring.domain.cases import CLOSED_STATUSES, case_document, dimensions_said
from cxloop_scoring.domain.dimensions import storable
from cxloop_scoring.domain.facts import CaseChanged, Fact, Touched
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.lifecycle import lifecycle_document
from cxloop_scoring.domain.observations import customer_of

LARGEST_AMOUNT: Final = 10**15
"""Hundredths of a currency that are still taken for an amount; sums of them stay within 64 bits."""

ShortText: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
ObjectId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Identifiers: TypeAlias = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=3, max_length=512)], ...], msgspec.Meta(max_length=32)
]
Named: TypeAlias = Annotated[dict[ShortText, ShortText], msgspec.Meta(max_length=32)]
Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Status: TypeAlias = Literal[
    "open",
    "acknowledged",
    "contacted",
    "resolved",
    "recovered",
    "not_recovered",
    "unverified",
    "reopened",
]
Builder: TypeAlias = Callable[[str, int, bytes, bytes], tuple[str, Fact]]
"""From source, time, digest and data to a document and its fact. Raises ValueError for data that is none."""


class SaysNothingError(Exception):
    """An event is right, and belongs to no document: there is nothing to fold."""


class _Value(msgspec.Struct, gc=False):
    amount: float
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]


class _Touchpoint(msgspec.Struct, kw_only=True, gc=False):
    touchpoint: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    stage: ShortText | None = None
    channel: ShortText | None = None
    value: _Value | None = None
    identifiers: Identifiers = ()
    dimensions: Named = {}


class _Owner(msgspec.Struct, gc=False):
    kind: str
    id: str


class _Score(msgspec.Struct, gc=False):
    document: str | None = None


class _Alert(msgspec.Struct, kw_only=True, gc=False):
    case_id: ObjectId
    version: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    at: Instant
    change: str
    status: Status
    severity: str
    rule: str
    route: str
    owner: _Owner
    supersedes: tuple[ObjectId, ...] = ()
    score: _Score | None = None
    documents: tuple[str, ...] = ()
    due_at: Instant | None = None


_decode_touchpoint = msgspec.json.Decoder(_Touchpoint).decode
_decode_alert = msgspec.json.Decoder(_Alert).decode


def _hundredths(amount: float) -> int | None:
    """Give an amount in hundredths, half to even, of the digits as they were written."""
    minor = int((Decimal(repr(amount)) * 100).to_integral_value(ROUND_HALF_EVEN))
    return minor if abs(minor) <= LARGEST_AMOUNT else None


def _touched(source: str, at: int, digest: bytes, value: bytes) -> tuple[str, Fact]:
    data = _decode_touchpoint(value)
    customer = customer_of(data.identifiers).hash
    if customer is None:
        raise SaysNothingError
    said: dict[str, str | None] = {storable(name): storable(text) for name, text in data.dimensions.items()}
    for name, text in (("touchpoint", data.touchpoint), ("stage", data.stage), ("channel", data.channel)):
        if text is not None:
            said[name] = storable(text)
    worth = data.value
    amount = None if worth is None else _hundredths(worth.amount)
    return lifecycle_document(customer), Touched(
        at,
        digest,
        storable(data.touchpoint),
        source,
        said,
        data.identifiers,
        amount,
        None if worth is None or amount is None else worth.currency,
    )


def _case_changed(source: str, at: int, digest: bytes, value: bytes) -> tuple[str, Fact]:
    # The record says itself when the case changed; source and time of its envelope add nothing.
    del source, at
    data = _decode_alert(value)
    # A record of an older alerting names the score that it shows, and no other.
    shown = None if data.score is None else data.score.document
    return case_document(data.case_id), CaseChanged(
        microseconds(data.at),
        digest,
        data.version,
        data.status in CLOSED_STATUSES,
        "contacted" in (data.status, data.change),
        None if data.due_at is None else microseconds(data.due_at),
        tuple(sorted({*data.documents, *(() if shown is None else (shown,))})),
        tuple(sorted({case_document(id_) for id_ in data.supersedes})),
        {
            name: None if text is None else storable(text)
            for name, text in dimensions_said(
                data.rule, data.route, data.severity, (data.owner.kind, data.owner.id)
            ).items()
        },
    )


OUTCOME_READERS: Final[Mapping[bytes, Builder]] = {
    b"cxloop.touchpoint.recorded": _touched,
    b"cxloop.alert.changed": _case_changed,
}
"""How the data of an event becomes a fact, by the event's type."""
