"""A case: one customer's trouble with one rule, from its first trigger to its closing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cxloop_alerting.domain.configuration import (
    SEVERITIES,
    Configuration,
    Route,
    Rule,
    Severity,
)
from cxloop_alerting.domain.facts import LogEntry, ScoreFact, severity_of


class Status(StrEnum):
    """Where a case stands; the words of the API."""

    OPEN = "open"
    REOPENED = "reopened"
    ACKNOWLEDGED = "acknowledged"
    CONTACTED = "contacted"
    RESOLVED = "resolved"


class Reason(StrEnum):
    """Why a case stands where it stands."""

    LOW_SCORE = "low_score"
    BY_HAND = "by_hand"
    SCORE_REVISED = "score_revised"
    LOW_AFTER_CLOSING = "low_after_closing"
    LATE_TRIGGER = "late_trigger"
    ACKNOWLEDGE_OVERDUE = "acknowledge_overdue"
    EVIDENCE = "evidence"
    """A late low score that a better one had already answered; nothing is left to do about it."""
    CONTEXT = "context"
    """It became known whose case it is, or what else is known of them."""
    OVERTAKEN = "overtaken"
    """It was accepted when it was made; later facts ruled out its effect."""


UNCLOSED = frozenset({Status.OPEN, Status.REOPENED, Status.ACKNOWLEDGED, Status.CONTACTED})


@dataclass(frozen=True, slots=True)
class CaseOwner:
    """Who answers for a case."""

    kind: str
    """`person`, `team` (nobody picked yet) or `fallback`."""
    id: str
    name: str
    team: str | None = None
    """The team a person was picked from."""

    def as_body(self) -> dict[str, Any]:
        """Return the form in which log entries hold it."""
        return {"kind": self.kind, "id": self.id, "name": self.name, "team": self.team}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "CaseOwner":
        """Read what `as_body` wrote."""
        return cls(body["kind"], body["id"], body["name"], body.get("team"))


@dataclass(frozen=True, slots=True)
class Trigger:
    """A score that opened, joined or reopened a case."""

    id: str
    fact: ScoreFact
    rule: Rule
    configuration: Configuration
    seen: datetime
    position: datetime
    """Its place on the time line: the event's time, or when it was first seen if that is earlier."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a case's history."""

    at: datetime
    actor: str
    change: str
    status_from: Status | None
    status_to: Status
    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class WantedTimer:
    """A moment at which something happens unless somebody acts before."""

    id: str
    case_id: str
    kind: str
    step: int
    due_at: datetime


@dataclass(eq=True)
class Case:
    """A case as the fold leaves it. Mutable while the fold walks, and not after."""

    rule: str
    triggers: list[Trigger]
    status: Status
    reason: Reason
    opened_at: datetime
    """When we first saw it."""
    clock_from: datetime
    """When we first saw what opened it last; deadlines run from here."""
    configuration: Configuration
    """The configuration the case was opened with, and keeps."""
    route: Route
    owner: CaseOwner
    pending: set[str]
    """Triggers that nobody has answered yet; the last to be revised upwards closes the case."""
    copies: tuple[str, ...] = ()
    """Other routes that hear of the case."""
    is_assigned: bool = False
    """Whether the log says who got it; until then the owner is what the configuration would say."""
    acknowledged_at: datetime | None = None
    contacted_at: datetime | None = None
    contact_from: datetime | None = None
    """When the contact deadline starts."""
    resolved_at: datetime | None = None
    root_cause: str | None = None
    escalated_at: datetime | None = None
    escalated_to: str | None = None
    wants_hand_over: LogEntry | None = None
    """The tick whose hand-over has no chosen person yet."""
    openings: int = 1
    """How often it was opened, the first time included."""
    ticks: set[str] = field(default_factory=set[str])
    """Log entries of timers that fired; none fires twice."""
    revised: set[str] = field(default_factory=set[str])
    history: list[Change] = field(default_factory=list[Change])
    effective: list[str] = field(default_factory=list[str])
    overtaken: list[str] = field(default_factory=list[str])

    @property
    def id(self) -> str:
        """The id of the episode's first trigger."""
        return self.triggers[0].id

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to do something."""
        return self.status in UNCLOSED

    @property
    def trigger_ids(self) -> tuple[str, ...]:
        """All ids that lead to this case."""
        return tuple(trigger.id for trigger in self.triggers)

    @property
    def severity(self) -> Severity:
        """The highest severity of its scores, of those that still stand where any does."""
        standing = [trigger for trigger in self.triggers if trigger.id not in self.revised] or self.triggers
        severities: list[Severity] = [severity_of(trigger.rule, trigger.fact.labels) for trigger in standing]
        return max(severities, key=SEVERITIES.index)

    @property
    def score(self) -> ScoreFact:
        """The score to show: the latest that still stands."""
        standing = [trigger for trigger in self.triggers if trigger.id not in self.revised] or self.triggers
        return max(standing, key=lambda trigger: (trigger.position, trigger.fact.document)).fact

    @property
    def due_at(self) -> datetime | None:
        """When the next thing is due: acknowledgement, then contact, then resolution."""
        deadlines = self.route.deadlines
        if self.status in (Status.OPEN, Status.REOPENED):
            return _after(self.clock_from, deadlines.acknowledge)
        if not self.is_open:
            return None
        if self.contacted_at is None or (self.contact_from or self.contacted_at) > self.contacted_at:
            return _after(self.contact_from or self.clock_from, deadlines.contact)
        return _after(self.clock_from, deadlines.resolve)

    @property
    def latest_reason(self) -> str:
        """Why the case changed last."""
        # Of equal times the line written last: max keeps the first it meets.
        return str(max(reversed(self.history), key=lambda change: change.at).reason)

    def record(
        self, at: datetime, actor: str, change: str, reason: str, detail: Mapping[str, Any] | None = None
    ) -> None:
        """Add a line to the history that leaves the status as it is."""
        self.history.append(Change(at, actor, change, self.status, self.status, reason, detail or {}))

    def move(
        self,
        status: Status,
        at: datetime,
        actor: str,
        change: str,
        *,
        reason: Reason,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a new status and write it down."""
        self.history.append(Change(at, actor, change, self.status, status, reason, detail or {}))
        self.status, self.reason = status, reason


def _after(start: datetime, wait: timedelta | None) -> datetime | None:
    return None if wait is None else start + wait
