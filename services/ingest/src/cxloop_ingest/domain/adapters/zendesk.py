"""Zendesk event webhooks (`zen:event-type:...`): tickets, comments, messages, satisfaction ratings.

Source: Zendesk's webhook event type reference, version 2022-11-06. Bodies carry ids and no contact details:
the requester is all that is known of the customer. One body holds one event.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from cxloop_common.events import (
    SurveyResponded,
    SurveySent,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketMerged,
    TicketReplied,
    TicketStatusChanged,
    TicketUpdated,
)
from cxloop_ingest.domain.delivery import Delivery
from cxloop_ingest.domain.drafts import (
    Draft,
    IgnoredItem,
    Normalised,
    collect,
    evaluated_dimensions,
)
from cxloop_ingest.domain.reading import (
    Reason,
    UnreadableError,
    as_object,
    item_hash,
    object_id,
    optional_object,
    parse_json,
    required_id,
    text,
    texts,
)
from cxloop_ingest.domain.sources import ScaleDefault, Source
from cxloop_ingest.domain.times import parse_time

_PREFIX: Final = "zen:event-type:"

_STATUS: Final[Mapping[str, str]] = {
    "new": "new",
    "open": "open",
    "pending": "pending",
    "hold": "on_hold",
    "on-hold": "on_hold",
    "on hold": "on_hold",
    "on_hold": "on_hold",
    "solved": "solved",
    "closed": "closed",
}
# Not states of the work but of the record: gone for good, or moved to cheaper storage.
_GONE: Final = frozenset({"deleted", "scrubbed"})
_STORED_AWAY: Final = "archived"

_CHANNELS: Final[Mapping[str, str]] = {
    "web_form": "web",
    "web_service": "api",
    "web_widget": "web",
    "help_center": "web",
    "mail": "email",
    "native_messaging": "chat",
    "messaging": "chat",
    "chat": "chat",
    "voice": "phone",
    "phone_call_inbound": "phone",
    "phone_call_outbound": "phone",
    "voicemail": "phone",
    "twilio_sms": "sms",
}

_THUMBS: Final = ScaleDefault(0, 1, good=(1.0,))
_FIVE: Final = ScaleDefault(1, 5, good=(4.0, 5.0))
_RATINGS: Final[Mapping[str, int]] = {
    "good": 1,
    "good_with_comment": 1,
    "bad": 0,
    "bad_with_comment": 0,
}
_NO_RATING: Final = frozenset({"offered", "unoffered", ""})
_SYSTEM_USER: Final = "-1"
"""The author of what Zendesk's own business rules write."""


def normalise(delivery: Delivery, source: Source) -> Normalised:
    """Read one event body. Raises UnreadableError where the body as a whole cannot be read."""
    document = parse_json(delivery.body)

    def read(item: Any) -> Iterable[Draft]:
        return _Event(item, source).drafts()

    return collect([document], read, delivery, source)


class _Event:
    """One event body, its parts taken apart."""

    def __init__(self, item: Any, source: Source) -> None:
        self._source = source
        self._body = body = as_object(item, "the body")
        kind = text(body.get("type"))
        if kind is None or not kind.startswith(_PREFIX):
            raise UnreadableError(Reason.UNKNOWN_SHAPE, f"type is not one of Zendesk's {_PREFIX} names")
        self._kind = kind.removeprefix(_PREFIX)
        self._change = optional_object(body.get("event"))
        self._detail = optional_object(body.get("detail"))

    def drafts(self) -> Iterable[Draft]:
        reader = _READERS.get(self._kind)
        if reader is None:
            # Zendesk has some hundred event types; the ones that say nothing about a customer's ticket or
            # answer are known to be of no use, whatever else is in them.
            raise IgnoredItem
        self.ticket_id = required_id(self._detail.get("id"), "detail.id")
        self.at = parse_time(self._body.get("time"), self._source.time_zone)
        return list(reader(self))

    def draft(
        self,
        event_type: str,
        data: Mapping[str, Any],
        *,
        suffix: str = "",
        at: datetime | None = None,
        identifiers: Iterable[str] | None = None,
    ) -> Draft:
        own_id = object_id(self._body.get("id")) or ""
        return Draft(
            type=event_type,
            object_id=f"ticket:{self.ticket_id}",
            kind=self._kind + suffix,
            time=at or self.at,
            data=data,
            own_id=own_id,
            content="" if own_id else item_hash(self._body),
            identifiers=tuple(identifiers if identifiers is not None else self.requester()),
            dimensions=evaluated_dimensions(self._source, self._body),
        )

    def requester(self) -> list[str]:
        requester = object_id(self._detail.get("requester_id"))
        return [] if requester is None else [f"requester:{requester}"]

    def created(self) -> Iterable[Draft]:
        detail = self._detail
        submitter, requester = object_id(detail.get("submitter_id")), object_id(detail.get("requester_id"))
        by_customer = submitter is None or submitter == requester
        created_by = "bot" if submitter == _SYSTEM_USER else "customer" if by_customer else "agent"
        yield self.draft(
            TicketCreated.TYPE,
            {
                "ticket_id": self.ticket_id,
                "channel": _channel(detail),
                "created_by": created_by,
                "subject": _short(detail.get("subject"), 1000),
                "team": object_id(detail.get("group_id")),
                "agent": object_id(detail.get("assignee_id")),
                "priority": _lower(detail.get("priority")),
                "contact_type": _lower(detail.get("type")),
                "tags": texts(detail.get("tags")),
            },
        )
        # A ticket is born new or open; one that an agent opened and solved at once says so here alone.
        status = _STATUS.get(_lower(detail.get("status")) or "new", "new")
        if status not in ("new", "open"):
            yield self.draft(
                TicketStatusChanged.TYPE, {"ticket_id": self.ticket_id, "status": status}, suffix="/status"
            )

    def status_changed(self) -> Iterable[Draft]:
        written = _lower(self._change.get("current"))
        if written is None:
            raise UnreadableError(Reason.MISSING_FIELD, "event.current is missing or empty")
        if written in _GONE:
            return [self.draft(TicketDeleted.TYPE, {"ticket_id": self.ticket_id})]
        if written == _STORED_AWAY:
            raise IgnoredItem
        status = _STATUS.get(written)
        if status is None:
            raise UnreadableError(Reason.UNKNOWN_VALUE, "event.current is no status of Zendesk's")
        return [self.draft(TicketStatusChanged.TYPE, {"ticket_id": self.ticket_id, "status": status})]

    # An assignment names both sides, and what it leaves out it takes away. The detail is the ticket after the
    # change, so it holds the side that did not change.
    def agent_assignment_changed(self) -> Iterable[Draft]:
        return [self._assigned(object_id(self._detail.get("group_id")), self._current_id())]

    def group_assignment_changed(self) -> Iterable[Draft]:
        return [self._assigned(self._current_id(), object_id(self._detail.get("assignee_id")))]

    def _current_id(self) -> str | None:
        return object_id(self._change.get("current"))

    def _assigned(self, team: str | None, agent: str | None) -> Draft:
        return self.draft(TicketAssigned.TYPE, {"ticket_id": self.ticket_id, "team": team, "agent": agent})

    def comment_added(self) -> Iterable[Draft]:
        comment = as_object(self._change.get("comment"), "event.comment")
        author = optional_object(comment.get("author"))
        author_id = object_id(author.get("id"))
        if author_id == _SYSTEM_USER:
            role = "bot"
        elif isinstance(author.get("is_staff"), bool):
            role = "agent" if author["is_staff"] else "customer"
        elif author_id is not None and author_id == object_id(self._detail.get("requester_id")):
            role = "customer"
        else:
            raise UnreadableError(Reason.MISSING_FIELD, "event.comment.author.is_staff is missing")
        public = comment.get("is_public")
        if not isinstance(public, bool):
            # Guessing public would stop a customer-facing clock with a private note.
            raise UnreadableError(Reason.MISSING_FIELD, "event.comment.is_public is missing")
        yield self._replied(comment.get("id"), "event.comment.id", role, public=public)

    def message_added(self) -> Iterable[Draft]:
        actor, message = optional_object(self._change.get("actor")), self._change.get("message")
        message = as_object(message, "event.message")
        role = _ACTORS.get((_lower(actor.get("type")) or "").replace("-", "_"))
        if role is None:
            raise UnreadableError(Reason.UNKNOWN_VALUE, "event.actor.type is no kind of actor we know")
        identifiers = self.requester()
        actor_id = object_id(actor.get("id"))
        if role == "customer" and actor_id is not None:
            identifiers.append(f"requester:{actor_id}")
        yield self._replied(message.get("id"), "event.message.id", role, public=True, identifiers=identifiers)

    def _replied(
        self,
        message_id: Any,
        name: str,
        role: str,
        *,
        public: bool,
        identifiers: Iterable[str] | None = None,
    ) -> Draft:
        return self.draft(
            TicketReplied.TYPE,
            {
                "ticket_id": self.ticket_id,
                "message_id": required_id(message_id, name),
                "author": role,
                "public": public,
            },
            identifiers=identifiers,
        )

    def priority_changed(self) -> Iterable[Draft]:
        return [self._updated(priority=_lower(self._change.get("current")))]

    def type_changed(self) -> Iterable[Draft]:
        return [self._updated(contact_type=_lower(self._change.get("current")))]

    def subject_changed(self) -> Iterable[Draft]:
        return [self._updated(subject=_short(self._change.get("current"), 1000))]

    def tags_changed(self) -> Iterable[Draft]:
        return [self._updated(tags=texts(self._detail.get("tags")))]

    def _updated(self, **changed: Any) -> Draft:
        return self.draft(TicketUpdated.TYPE, {"ticket_id": self.ticket_id, **changed})

    def merged(self) -> Iterable[Draft]:
        into = required_id(self._change.get("target_ticket_id"), "event.target_ticket_id")
        return [self.draft(TicketMerged.TYPE, {"ticket_id": self.ticket_id, "into_ticket_id": into})]

    def deleted(self) -> Iterable[Draft]:
        return [self.draft(TicketDeleted.TYPE, {"ticket_id": self.ticket_id})]

    def csat_requested(self) -> Iterable[Draft]:
        return [
            self.draft(
                SurveySent.TYPE,
                {
                    "send_id": self._rating_id(),
                    "survey_id": self._source.survey_id or "zendesk-csat",
                    "response_id": self._rating_id(),
                },
            )
        ]

    def csat_received(self) -> Iterable[Draft]:
        rating = self._rating()
        written = rating.get("score")
        if written is None or (isinstance(written, str) and written.strip().lower() in _NO_RATING):
            raise IgnoredItem(Reason.NO_ANSWER)
        score, scale = _csat(written, self._source.scales.get("csat"))
        comment = text(rating.get("comment")) or text(optional_object(rating.get("comment")).get("body"))
        yield self.draft(
            SurveyResponded.TYPE,
            {
                "response_id": self._rating_id(),
                "metric": "csat",
                "score": score,
                "scale": scale.as_data(),
                "survey_id": self._source.survey_id or "zendesk-csat",
                "comment": _short(comment, 20_000),
                "touchpoint": self._source.touchpoint,
                "channel": _channel(self._detail),
                "ticket_id": self.ticket_id,
            },
        )

    def _rating(self) -> dict[str, Any]:
        for name in ("satisfaction_score", "satisfaction_rating", "rating"):
            value = self._change.get(name)
            if isinstance(value, dict):
                return optional_object(value)
            if value is not None:
                return {"score": value, "comment": self._change.get("comment")}
        current = self._change.get("current")
        return (
            optional_object(current)
            if isinstance(current, dict)
            else {**self._change, "score": (self._change.get("score") if current is None else current)}
        )

    def _rating_id(self) -> str:
        # A ticket has one rating, which the customer can change: every change is an edit of one response.
        return f"csat-{self.ticket_id}"


def _csat(written: Any, configured: ScaleDefault | None) -> tuple[float, ScaleDefault]:
    label = _lower(written)
    if label is not None and label in _RATINGS:
        return _RATINGS[label], _THUMBS
    if isinstance(written, bool) or not isinstance(written, int | float):
        try:
            written = float(label or "")
        except ValueError:
            raise UnreadableError(
                Reason.UNKNOWN_VALUE, "the rating is neither good, bad nor a number"
            ) from None
    return written, configured or _FIVE


def _channel(detail: Mapping[str, Any]) -> str | None:
    written = _lower(optional_object(detail.get("via")).get("channel"))
    return _CHANNELS.get(written, written) if written is not None else "unknown"


def _lower(value: Any) -> str | None:
    written = text(value)
    return written.lower() if written is not None else None


def _short(value: Any, most: int) -> str | None:
    written = text(value)
    return written[:most] if written is not None else None


_ACTORS: Final[Mapping[str, str]] = {
    "system": "bot",
    "bot": "bot",
    "agent": "agent",
    "admin": "agent",
    "end_user": "customer",
    "user": "customer",
    "customer": "customer",
}

_READERS: Final = {
    "ticket.created": _Event.created,
    "ticket.status_changed": _Event.status_changed,
    "ticket.agent_assignment_changed": _Event.agent_assignment_changed,
    "ticket.group_assignment_changed": _Event.group_assignment_changed,
    "ticket.comment_added": _Event.comment_added,
    "ticket.priority_changed": _Event.priority_changed,
    "ticket.type_changed": _Event.type_changed,
    "ticket.subject_changed": _Event.subject_changed,
    "ticket.tags_changed": _Event.tags_changed,
    "ticket.merged": _Event.merged,
    "ticket.soft_deleted": _Event.deleted,
    "ticket.permanently_deleted": _Event.deleted,
    "ticket.marked_as_spam": _Event.deleted,
    "ticket.csat_requested": _Event.csat_requested,
    "ticket.csat_received": _Event.csat_received,
    "messaging_ticket.message_added": _Event.message_added,
}
