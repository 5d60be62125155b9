"""What the services conclude: scores, journeys and alerts. Each carries a version by which readers order it."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from cxloop_common.events.base import CloudEvent, UtcTime
from cxloop_common.events.canonical import Scale, SurveyMetric

Band = Literal["low", "middle", "high"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ScoreRecorded(CloudEvent):
    """One revision of a scored response. Readers keep the highest `revision` of a document.

    `time` is when scoring's input last changed at its source (equal to `event_time`); `id` hashes the document,
    the generation and the sorted set of event ids behind this revision, so a second publication is the same
    record.
    """

    TYPE = "cxloop.score.recorded"
    type: Literal["cxloop.score.recorded"] = TYPE

    document: str
    revision: tuple[int, int]
    """[generation of formulas and configuration, number of facts], compared in order."""
    event_time: UtcTime
    event_ids: tuple[str, ...]
    metric: SurveyMetric
    raw: FiniteFloat
    scale: Scale
    normalised: int = Field(ge=0, le=10_000)
    """Position on the scale in hundredths of a percent, 10,000 always the best."""
    band: Band
    customer_hint: str | None = None
    identifiers: tuple[str, ...] = ()
    dimensions: dict[str, str] = Field(default_factory=dict[str, str])
    tags: tuple[str, ...] = ()
    wants_contact: bool | None = None
    ticket: str | None = None
    """Document id of the linked ticket."""

    @property
    def key(self) -> str:
        """The document id."""
        return self.document


class ScoreLink(CloudEvent):
    """A fact of a merged ticket on its way to the survivor's partition."""

    TYPE = "cxloop.scoring.fact_linked"
    type: Literal["cxloop.scoring.fact_linked"] = TYPE

    document: str
    """The survivor: the document that takes the fact."""
    origin: str
    """The document that was merged away."""
    fact: dict[str, Any]

    @property
    def key(self) -> str:
        """The survivor's document id."""
        return self.document


class JourneyChange(StrEnum):
    """Why a journey record was written."""

    LINKED = "linked"
    MERGED = "merged"
    SPLIT = "split"
    CARD = "card"


class IdentifierVersion(_Part):
    """An identifier of this customer as of `version`; readers keep the highest per identifier."""

    id: str
    version: int


class ScoreSummary(_Part):
    """A score in a few words."""

    at: UtcTime
    metric: SurveyMetric
    value: FiniteFloat
    band: Band


class ContactSummary(_Part):
    """A contact in a few words; no customer text."""

    at: UtcTime
    kind: str
    source: str
    channel: str | None = None
    summary: str


class ContextCard(_Part):
    """What an agent or an alert must know of a customer, 8 KiB at most; identifiers masked, no comments."""

    stage: str
    first_seen: UtcTime
    last_seen: UtcTime
    touchpoints: int
    last_contacts: tuple[ContactSummary, ...] = ()
    last_scores: tuple[ScoreSummary, ...] = ()
    open_tickets: int = 0
    signals: tuple[str, ...] = ()
    identity: Literal["sole", "merged", "contested", "split", "shared"] = "sole"
    masked_identifiers: tuple[str, ...] = ()


class JourneyChanged(CloudEvent):
    """The state of one customer after a change. `version` is one sequence over all customers."""

    TYPE = "cxloop.journey.changed"
    type: Literal["cxloop.journey.changed"] = TYPE

    customer_id: str
    version: int
    change: JourneyChange
    merged_into: str | None = None
    """Set when this customer was merged away: the survivor."""
    identifiers: tuple[IdentifierVersion, ...] = ()
    card: ContextCard | None = None

    @property
    def key(self) -> str:
        """The customer id."""
        return self.customer_id


class Owner(_Part):
    """Who answers for a case."""

    kind: Literal["person", "team", "rota", "account", "fallback"]
    id: str
    name: str


class AlertScore(_Part):
    """The score that a case shows: of those that raised it, the latest that still stands."""

    metric: SurveyMetric
    value: FiniteFloat
    scale: Scale
    document: str | None = None


class AlertRecord(CloudEvent):
    """A case after a change, for teams that consume alert topics. Readers drop lower versions of a case."""

    TYPE = "cxloop.alert.changed"
    type: Literal["cxloop.alert.changed"] = TYPE

    case_id: str
    version: int
    supersedes: tuple[str, ...] = ()
    change: Literal[
        "opened", "notified", "acknowledged", "contacted", "escalated", "resolved", "reopened", "updated"
    ]
    at: UtcTime
    status: Literal[
        "open",
        "acknowledged",
        "contacted",
        "resolved",
        "recovered",
        "not_recovered",
        "unverified",
        "reopened",
    ]
    severity: Literal["low", "medium", "high", "urgent"]
    rule: str
    route: str
    owner: Owner
    customer_id: str | None = None
    customer_hint: str | None = None
    """Masked: alert topics carry no contact details."""
    score: AlertScore | None = None
    documents: tuple[str, ...] = ()
    """Documents of the scores that raised the case, oldest first, the newest 1,000. Scores that were met at once
    share a record, so nothing but this list tells of all."""
    reason: str
    due_at: UtcTime | None = None
    context: dict[str, Any] = Field(default_factory=dict[str, Any])
    """`{stage, last_contacts, metrics}` as known when the record was written."""
    muted_by: Annotated[tuple[str, ...], Field()] = ()
    proof: str | None = None
    links: dict[str, str] = Field(default_factory=dict[str, str])

    @property
    def key(self) -> str:
        """The case id."""
        return self.case_id
