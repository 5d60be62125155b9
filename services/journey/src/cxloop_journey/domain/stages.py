"""The stage of a customer: where in the relationship they stand at a given time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Stage(StrEnum):
    """The stages in order. `unknown` is the answer where nothing told."""

    UNKNOWN = "unknown"
    AWARENESS = "awareness"
    PURCHASE = "purchase"
    ONBOARDING = "onboarding"
    USE = "use"
    SERVICE = "service"
    RENEWAL = "renewal"
    ADVOCACY = "advocacy"


class StageReason(StrEnum):
    """Why a customer is in a stage."""

    OPEN_TICKET = "open_ticket"
    RECENT_CONTACT = "recent_contact"
    LATEST_TOUCHPOINT = "latest_touchpoint"
    NOTHING_KNOWN = "nothing_known"


SERVICE_AFTER_CONTACT: Final = timedelta(days=14)
ORDER: Final = MappingProxyType({stage: place for place, stage in enumerate(Stage)})
_BY_NAME: Final = MappingProxyType({stage.value: stage for stage in Stage if stage is not Stage.UNKNOWN})
_BY_TOUCHPOINT: Final[tuple[tuple[str, Stage], ...]] = (
    ("visit", Stage.AWARENESS),
    ("signup", Stage.ONBOARDING),
    ("onboarding", Stage.ONBOARDING),
    ("purchase", Stage.PURCHASE),
    ("delivery", Stage.PURCHASE),
    ("usage", Stage.USE),
    ("renewal", Stage.RENEWAL),
    ("referral", Stage.ADVOCACY),
)
"""First match wins; a name matches if it is the touchpoint's own or begins it (`onboarding_step`)."""


def declared_stage(own: str | None, dimensions: Mapping[str, str]) -> Stage | None:
    """Read the stage that an event names itself, in its field or else as a dimension; None for other words."""
    return _BY_NAME.get((own or dimensions.get("stage") or "").strip().lower())


def touchpoint_stage(touchpoint: str) -> Stage | None:
    """Give the stage that a touchpoint's name implies."""
    name = touchpoint.lower()
    return next((stage for prefix, stage in _BY_TOUCHPOINT if name.startswith(prefix)), None)


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What the stage of one customer follows from."""

    open_tickets: int = 0
    last_contact_at: datetime | None = None
    """Latest touchpoint staged `service`."""
    latest: Stage | None = None
    """Stage of the latest touchpoint with any other stage, by (time, stage order)."""


@dataclass(frozen=True, slots=True)
class StageAnswer:
    """The stage at a time, why, and when it can change without an event."""

    stage: Stage
    reason: StageReason
    next_check_at: datetime | None = None


def stage_at(facts: StageFacts, now: datetime) -> StageAnswer:
    """Place a customer: in service while a ticket is open or 14 days after a contact, else as last told."""
    if facts.open_tickets > 0:
        return StageAnswer(Stage.SERVICE, StageReason.OPEN_TICKET)
    if facts.last_contact_at is not None:
        until = facts.last_contact_at + SERVICE_AFTER_CONTACT
        if now < until:
            return StageAnswer(Stage.SERVICE, StageReason.RECENT_CONTACT, until)
    if facts.latest is not None:
        return StageAnswer(facts.latest, StageReason.LATEST_TOUCHPOINT)
    return StageAnswer(Stage.UNKNOWN, StageReason.NOTHING_KNOWN)
