"""Canonical events: what any ticketing, survey or contact system reports, in one vocabulary.

`source` is the configured source's name, `time` when it happened at the sender.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, model_validator

from cxloop_common.events.base import CloudEvent
from cxloop_common.identifiers import best_ranked, document_id

ShortText = Annotated[str, Field(max_length=256)]
ObjectId = Annotated[str, Field(min_length=1, max_length=256)]
LONGEST_WORK_S = 604_800
"""A week: more than that is no stretch of work that a person reports at once."""
Worked = Annotated[FiniteFloat, Field(ge=0, le=LONGEST_WORK_S)]
Author = Literal["customer", "agent", "bot"]
TicketStatus = Literal["new", "open", "pending", "on_hold", "solved", "closed"]
SurveyMetric = Literal["nps", "csat", "ces", "other"]


class CanonicalEventBase(CloudEvent):
    """Fields that all canonical events share."""

    identifiers: tuple[Annotated[str, Field(min_length=3, max_length=512)], ...] = Field((), max_length=32)
    """All identifiers the event carries, `scheme:value`, normalised; may be empty."""

    dimensions: dict[ShortText, ShortText] = Field(default_factory=dict[str, str], max_length=32)
    """Extra dimensions of the source, name to value."""

    @property
    def customer_hint(self) -> str | None:
        """The best-ranked identifier, or None for an anonymous event."""
        return best_ranked(self.identifiers)

    @property
    def key(self) -> str:
        """The customer hint; an anonymous event falls back to its own id, so that it lands somewhere."""
        return self.customer_hint or self.id


class TicketEvent(CanonicalEventBase):
    """Something that happened to one ticket."""

    ticket_id: ObjectId

    @property
    def document(self) -> str:
        """`ticket:<source>:<id>`, percent-encoded."""
        return document_id("ticket", self.source, self.ticket_id)

    @property
    def key(self) -> str:
        """The document id: all events of a ticket meet one worker."""
        return self.document


class TicketFields(TicketEvent):
    """The describing fields of a ticket; None means not said."""

    channel: ShortText | None = None
    created_by: Author | None = None
    subject_line: Annotated[str, Field(max_length=1000)] | None = Field(None, alias="subject")
    """The ticket's own subject; on the wire `subject`, beside CloudEvents' attribute of the same name."""
    team: ShortText | None = None
    agent: ShortText | None = None
    priority: ShortText | None = None
    contact_type: ShortText | None = None
    tags: tuple[ShortText, ...] | None = Field(None, max_length=128)
    worked_s: Worked | None = None
    """Seconds of work that an agent reports with this event; those of all events of a ticket add up."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class TicketCreated(TicketFields):
    """A ticket was created."""

    TYPE = "cxloop.ticket.created"
    type: Literal["cxloop.ticket.created"] = TYPE

    @model_validator(mode="after")
    def _says_where_it_came_from(self) -> Self:
        missing = [name for name in ("channel", "created_by") if getattr(self, name) is None]
        if missing:
            message = f"a created ticket needs {' and '.join(missing)}"
            raise ValueError(message)
        return self


class TicketUpdated(TicketFields):
    """Some describing fields of a ticket changed; only the changed ones are set."""

    TYPE = "cxloop.ticket.updated"
    type: Literal["cxloop.ticket.updated"] = TYPE


class TicketAssigned(TicketEvent):
    """A ticket went to a team, an agent, or both; None takes the assignment away."""

    TYPE = "cxloop.ticket.assigned"
    type: Literal["cxloop.ticket.assigned"] = TYPE

    team: ShortText | None = None
    agent: ShortText | None = None


class TicketReplied(TicketEvent):
    """Someone wrote on a ticket. Private notes carry no text and stop no customer-facing clock."""

    TYPE = "cxloop.ticket.replied"
    type: Literal["cxloop.ticket.replied"] = TYPE

    message_id: ObjectId
    author: Author
    public: bool
    worked_s: Worked | None = None
    """Seconds of work that an agent reports with this message; those of all events of a ticket add up."""


class TicketStatusChanged(TicketEvent):
    """A ticket's status became `status`."""

    TYPE = "cxloop.ticket.status_changed"
    type: Literal["cxloop.ticket.status_changed"] = TYPE

    status: TicketStatus


class TicketEscalated(TicketEvent):
    """A ticket went up a support level."""

    TYPE = "cxloop.ticket.escalated"
    type: Literal["cxloop.ticket.escalated"] = TYPE

    level: ShortText | None = None


class TicketMerged(TicketEvent):
    """A ticket was merged away into another of the same source."""

    TYPE = "cxloop.ticket.merged"
    type: Literal["cxloop.ticket.merged"] = TYPE

    into_ticket_id: ObjectId


class TicketDeleted(TicketEvent):
    """A ticket was deleted: it leaves every number."""

    TYPE = "cxloop.ticket.deleted"
    type: Literal["cxloop.ticket.deleted"] = TYPE


class Scale(BaseModel):
    """Bounds and direction of a score; `good` lists the raw values that count as satisfied."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    min: FiniteFloat
    max: FiniteFloat
    polarity: Literal["higher_is_better", "lower_is_better"] = "higher_is_better"
    good: tuple[FiniteFloat, ...] | None = None

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.min >= self.max:
            message = "a scale's min must be below its max"
            raise ValueError(message)
        return self


class ResponseEvent(CanonicalEventBase):
    """Something about one survey response."""

    response_id: ObjectId

    @property
    def document(self) -> str:
        """`response:<source>:<id>`, percent-encoded."""
        return document_id("response", self.source, self.response_id)

    @property
    def key(self) -> str:
        """The document id: every edit of a response meets one worker."""
        return self.document


class SurveyResponded(ResponseEvent):
    """A customer answered; the same `response_id` again is an edit, and the latest `time` wins."""

    TYPE = "cxloop.survey.responded"
    type: Literal["cxloop.survey.responded"] = TYPE

    metric: SurveyMetric
    score: FiniteFloat
    scale: Scale
    survey_id: ShortText | None = None
    comment: Annotated[str, Field(max_length=20_000)] | None = None
    touchpoint: ShortText | None = None
    channel: ShortText | None = None
    ticket_id: ObjectId | None = None
    ticket_source: ShortText | None = None
    """The configured source of `ticket_id`; None means the event's own."""
    wants_contact: bool | None = None

    @model_validator(mode="after")
    def _is_on_its_scale(self) -> Self:
        # Refused, never clipped: a clipped 11 would be an invented promoter.
        if not self.scale.min <= self.score <= self.scale.max:
            message = f"the score lies outside its scale of {self.scale.min:g} to {self.scale.max:g}"
            raise ValueError(message)
        if self.metric == "nps" and not self.score.is_integer():
            message = "an NPS score is a whole number"
            raise ValueError(message)
        return self

    @property
    def ticket_document(self) -> str | None:
        """The document id of the linked ticket, if any."""
        if self.ticket_id is None:
            return None
        return document_id("ticket", self.ticket_source or self.source, self.ticket_id)


class SurveySent(CanonicalEventBase):
    """A survey went out: the denominator of the response rate."""

    TYPE = "cxloop.survey.sent"
    type: Literal["cxloop.survey.sent"] = TYPE

    send_id: ObjectId
    survey_id: ShortText
    response_id: ObjectId | None = None
    ticket_id: ObjectId | None = None
    """The ticket that the survey asks about."""
    ticket_source: ShortText | None = None
    """The configured source of `ticket_id`; None means the event's own."""

    @property
    def document(self) -> str:
        """The response's document where it is known beforehand, else `send:<source>:<id>`."""
        if self.response_id is not None:
            return document_id("response", self.source, self.response_id)
        return document_id("send", self.source, self.send_id)

    @property
    def ticket_document(self) -> str | None:
        """The document id of the linked ticket, if any."""
        if self.ticket_id is None:
            return None
        return document_id("ticket", self.ticket_source or self.source, self.ticket_id)

    @property
    def key(self) -> str:
        """The document id."""
        return self.document


class Value(BaseModel):
    """An amount of money."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    amount: FiniteFloat
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class TouchpointRecorded(CanonicalEventBase):
    """Any other contact: a visit, a purchase, an onboarding step, a payment, a renewal, a cancellation."""

    TYPE = "cxloop.touchpoint.recorded"
    type: Literal["cxloop.touchpoint.recorded"] = TYPE

    touchpoint: Annotated[str, Field(min_length=1, max_length=128)]
    stage: ShortText | None = None
    channel: ShortText | None = None
    value: Value | None = None


class CustomerErased(CanonicalEventBase):
    """A person asked to be forgotten; the identifiers are all that is known of them."""

    TYPE = "cxloop.customer.erased"
    type: Literal["cxloop.customer.erased"] = TYPE

    @model_validator(mode="after")
    def _names_someone(self) -> Self:
        if not self.identifiers:
            message = "an erasure needs at least one identifier"
            raise ValueError(message)
        return self


CanonicalEvent = Annotated[
    TicketCreated
    | TicketUpdated
    | TicketAssigned
    | TicketReplied
    | TicketStatusChanged
    | TicketEscalated
    | TicketMerged
    | TicketDeleted
    | SurveyResponded
    | SurveySent
    | TouchpointRecorded
    | CustomerErased,
    Field(discriminator="type"),
]
CANONICAL_EVENT: TypeAdapter[CanonicalEvent] = TypeAdapter(CanonicalEvent)
"""Validates a flat mapping (attributes and data together) into the model its `type` names."""
