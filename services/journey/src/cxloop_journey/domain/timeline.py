"""What one event adds to a customer's timeline: a compact fact without the customer's own words."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

import msgspec

from cxloop_common.events import (
    CanonicalEventBase,
    ResponseEvent,
    ScoreRecorded,
    SurveyResponded,
    SurveySent,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEscalated,
    TicketEvent,
    TicketMerged,
    TicketReplied,
    TicketStatusChanged,
    TicketUpdated,
    TouchpointRecorded,
)
from cxloop_journey.domain.stages import Stage, declared_stage, touchpoint_stage

LONGEST_SUMMARY: Final = 200
_CLOSED: Final = frozenset({"solved", "closed"})
_DESCRIBING: Final = ("channel", "created_by", "team", "agent", "priority", "contact_type", "tags")


class Kind(StrEnum):
    """Kinds of timeline entries."""

    TICKET_CREATED = "ticket_created"
    TICKET_UPDATED = "ticket_updated"
    TICKET_ASSIGNED = "ticket_assigned"
    TICKET_REPLIED = "ticket_replied"
    TICKET_NOTE = "ticket_note"
    TICKET_NEW = "ticket_new"
    TICKET_OPEN = "ticket_open"
    TICKET_PENDING = "ticket_pending"
    TICKET_ON_HOLD = "ticket_on_hold"
    TICKET_SOLVED = "ticket_solved"
    TICKET_CLOSED = "ticket_closed"
    TICKET_ESCALATED = "ticket_escalated"
    TICKET_MERGED = "ticket_merged"
    TICKET_DELETED = "ticket_deleted"
    SURVEY_SENT = "survey_sent"
    SURVEY_RESPONSE = "survey_response"
    TOUCHPOINT = "touchpoint"


CONTACT_KINDS: Final = frozenset({Kind.TICKET_CREATED, Kind.TICKET_REPLIED, Kind.TOUCHPOINT})
"""What a card lists as a contact: somebody spoke to somebody, or the customer came by."""


class Fact(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event as a document and a timeline keep it."""

    at: datetime
    content: str
    """Content hash: with the time it decides between two events of one id."""
    event_id: str
    kind: Kind
    source: str
    summary: str
    touchpoint: str | None = None
    stage: Stage | None = None
    channel: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    open: bool | None = None
    """Whether the ticket is open after this event; None where the event does not tell."""
    link: str | None = None
    """Document id of the ticket that a response names."""
    who: tuple[int, ...] = ()
    """Row ids of the strong identifiers that the event carries, ascending."""

    @property
    def precedence(self) -> tuple[datetime, str]:
        """Of several contents under one event id the least counts."""
        return self.at, self.content


class Score(msgspec.Struct, frozen=True):
    """What scoring says of a response; the highest (revision, content) counts."""

    revision: tuple[int, int]
    content: str
    at: datetime
    metric: str
    value: float
    least: float
    most: float
    band: str

    @property
    def precedence(self) -> tuple[tuple[int, int], str]:
        """Readers keep the highest revision; the content decides where a revision was published twice."""
        return self.revision, self.content


def event_key(source: str, event_id: str, document: str | None) -> bytes:
    """Name an event in 16 bytes: its id is unique within its source, and within the document it tells of.

    One id told of two documents, as after a changed mapping, is an event of each: no partition sees both.
    """
    digest = blake2b(digest_size=16)
    for part in (source, event_id, document or ""):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.digest()


def document_of(event: CanonicalEventBase) -> str | None:
    """Give the ticket or response that the event belongs to; None where it stands for itself."""
    if isinstance(event, TicketEvent | ResponseEvent):
        return event.document
    # A survey sent to nobody's known response has no document: it hangs on its identifiers alone.
    if isinstance(event, SurveySent) and event.response_id is not None:
        return event.document
    return None


def fact_of(event: CanonicalEventBase, content: str, who: tuple[int, ...]) -> Fact | None:
    """Condense an event; None for an event that has no place on a timeline.

    `content` is the content hash, `who` the row ids of its strong identifiers.
    """
    told = _told(event)
    if told is None:
        return None
    kind, summary, more = told
    return Fact(
        at=event.time,
        content=content,
        event_id=event.id,
        kind=kind,
        source=event.source,
        summary=summary[:LONGEST_SUMMARY],
        stage=_stage(event, kind),
        who=who,
        **more,
    )


def score_of(event: ScoreRecorded, content: str) -> Score:
    """Condense a score."""
    return Score(
        revision=event.revision,
        content=content,
        at=event.event_time,
        metric=event.metric,
        value=event.raw,
        least=event.scale.min,
        most=event.scale.max,
        band=event.band,
    )


def _stage(event: CanonicalEventBase, kind: Kind) -> Stage | None:
    own = event.stage if isinstance(event, TouchpointRecorded) else None
    declared = declared_stage(own, event.dimensions)
    if declared is not None:
        return declared
    if isinstance(event, TouchpointRecorded):
        return touchpoint_stage(event.touchpoint)
    # Only messages are contacts. A ticket closed by a timer days later prolongs nobody's time in service.
    return Stage.SERVICE if kind in CONTACT_KINDS else None


_Told = tuple[Kind, str, Mapping[str, Any]]


def _told(event: CanonicalEventBase) -> _Told | None:
    if isinstance(event, TicketEvent):
        return _told_by_ticket(event)
    if isinstance(event, SurveyResponded):
        more = {"touchpoint": event.touchpoint, "channel": event.channel, "link": event.ticket_document}
        return Kind.SURVEY_RESPONSE, f"Answered {_survey(event.survey_id)} ({event.metric})", more
    if isinstance(event, SurveySent):
        return Kind.SURVEY_SENT, f"Was sent {_survey(event.survey_id)}", {}
    if isinstance(event, TouchpointRecorded):
        worth = ""
        money: dict[str, Any] = {}
        if event.value is not None:
            amount = Decimal(str(event.value.amount))
            worth = f", {amount:f} {event.value.currency}"
            money = {"amount": amount, "currency": event.value.currency}
        more = {"touchpoint": event.touchpoint, "channel": event.channel, **money}
        return Kind.TOUCHPOINT, f"{event.touchpoint}{worth}", more
    return None


def _survey(survey_id: str | None) -> str:
    return "a survey" if survey_id is None else f"survey {survey_id}"


def _who(author: str | None) -> str:
    return "Somebody" if author is None else author.capitalize()


def _told_by_ticket(event: TicketEvent) -> _Told | None:  # noqa: C901, PLR0911  # one answer a type of event
    ticket = f"ticket {event.ticket_id}"
    match event:
        case TicketCreated():
            more: dict[str, Any] = {"channel": event.channel, "open": True}
            return (
                Kind.TICKET_CREATED,
                f"{_who(event.created_by)} opened {ticket} through {event.channel}",
                more,
            )
        case TicketUpdated():
            changed = [name for name in _DESCRIBING if getattr(event, name) is not None]
            if event.subject_line is not None:
                changed.append("subject")
            named = ", ".join(changed) or "details"
            return Kind.TICKET_UPDATED, f"Changed on {ticket}: {named}", {"channel": event.channel}
        case TicketAssigned():
            to = " and ".join(
                f"{name} {value}" for name, value in (("team", event.team), ("agent", event.agent)) if value
            )
            return Kind.TICKET_ASSIGNED, f"Assigned {ticket} to {to or 'nobody'}", {}
        case TicketReplied():
            if event.public:
                return Kind.TICKET_REPLIED, f"{_who(event.author)} wrote on {ticket}", {}
            return Kind.TICKET_NOTE, f"{_who(event.author)} made a note on {ticket}", {}
        case TicketStatusChanged():
            status = event.status.replace("_", " ")
            return (
                Kind(f"ticket_{event.status}"),
                f"Set {ticket} to {status}",
                {"open": event.status not in _CLOSED},
            )
        case TicketEscalated():
            level = "" if event.level is None else f" to {event.level}"
            return Kind.TICKET_ESCALATED, f"Escalated {ticket}{level}", {}
        case TicketMerged():
            return Kind.TICKET_MERGED, f"Merged {ticket} into ticket {event.into_ticket_id}", {"open": False}
        case TicketDeleted():
            return Kind.TICKET_DELETED, f"Deleted {ticket}", {"open": False}
        case _:
            return None
