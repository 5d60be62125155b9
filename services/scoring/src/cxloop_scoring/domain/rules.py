"""Rules: what an installation decides about its own metrics, as the folds and the questions read it.

The files are read elsewhere (`configuration.py`); here are only their meaning and what holds without files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from cxloop_common.business_time import Calendar, Calendars


class Clock(StrEnum):
    """What a target is for; also the value of the dimension `target`."""

    FIRST_RESPONSE = "first_response"
    RESOLUTION = "resolution"


class Hours(StrEnum):
    """How the time of a target runs."""

    CALENDAR = "calendar"
    """Around the clock."""
    BUSINESS = "business"
    """In the business time of the team's calendar, else the default one."""


@dataclass(frozen=True, slots=True)
class SlaTarget:
    """One promise about one clock; `within` is microseconds above 0."""

    clock: Clock
    within: int
    hours: Hours

    def due(self, start: int, calendar: Calendar | None) -> int:
        """Give the moment, in microseconds since 1970, by which a clock that starts at `start` is to be met.

        Business hours without a calendar run around the clock; the configuration does not let it come to that.
        """
        if self.hours is Hours.BUSINESS and calendar is not None:
            return calendar.after(start, self.within)
        return start + self.within


@dataclass(frozen=True, slots=True)
class SlaPolicy:
    """Targets for the tickets that match: each named dimension has one of the listed values."""

    match: tuple[tuple[str, frozenset[str]], ...]
    targets: tuple[SlaTarget, ...]

    def matches(self, dimensions: Mapping[str, str]) -> bool:
        """Tell whether a ticket with these final dimensions falls under this policy."""
        return all(dimensions.get(name) in values for name, values in self.match)


@dataclass(frozen=True, slots=True)
class Costs:
    """What contacts cost; amounts in hundredths of the currency."""

    currency: str | None = None
    """ISO 4217 code in capitals; None where nothing is configured, and then nothing is costed."""
    per_contact: int | None = None
    per_channel: Mapping[str, int] = field(default_factory=dict[str, int])
    """Cost of a contact by channel; the others cost `per_contact`."""
    per_hour: int | None = None
    """Cost of an hour of handle time; None where handling is not costed."""
    avoidable: frozenset[str] = frozenset()
    """Contact types that a better product, text or process would have spared the customer."""

    def contact(self, channel: str | None) -> int | None:
        """Give the cost of one contact over a channel, in hundredths; None where it is not known."""
        return self.per_channel.get(channel, self.per_contact) if channel is not None else self.per_contact


@dataclass(frozen=True, slots=True)
class Watch:
    """A metric that is watched for shifts: a window against the one before it."""

    metric: str
    """Name in the catalogue."""
    window: int
    """Length in microseconds."""
    by: tuple[str, ...] = ()
    """Dimensions whose values are watched one by one; the total is always watched."""


_DAY: Final = 86_400_000_000

ACTIVE_WORDS: Final = ("purchase", "signup", "onboarding", "renewal", "usage", "delivery")
LEFT_WORDS: Final = ("cancellation", "churn")
WATCHES: Final = tuple(
    Watch(metric, 7 * _DAY, ("team", "channel"))
    for metric in ("nps", "csat", "ces", "first_response_time", "first_resolution_time", "reopen_rate")
)


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that an installation decides; the same for every document that is folded with it."""

    generation: int = 0
    """Names formulas and configuration: the version of the folds times 100,000, and the configuration's number."""
    calendars: Calendars = field(default_factory=Calendars)
    sla: tuple[SlaPolicy, ...] = ()
    """In the order of the file: the first that matches a ticket is the only one that counts."""
    active_words: tuple[str, ...] = ACTIVE_WORDS
    """Lower-case beginnings of touchpoint names that show an active customer."""
    left_words: tuple[str, ...] = LEFT_WORDS
    """Lower-case beginnings of touchpoint names that show a customer who left."""
    costs: Costs = field(default_factory=Costs)
    shifts: tuple[Watch, ...] = WATCHES

    def calendar_for(self, team: str | None) -> Calendar | None:
        """Give the calendar that applies to a team: its own, else the default; None where there is neither."""
        return self.calendars.for_team(team)

    def sla_targets(self, dimensions: Mapping[str, str]) -> tuple[SlaTarget, ...]:
        """Give the targets of the first policy that matches a ticket's final dimensions; none or up to two."""
        for policy in self.sla:
            if policy.matches(dimensions):
                return policy.targets
        return ()

    def booking_content(self) -> str:
        """Give, as canonical JSON, what decides about the observations that documents are booked with.

        Costs and watches are left out: they are read when a question is answered, and a new price books
        nothing anew. Calendars count for the business time they tell, not for how the file puts it.
        """
        content = {
            "calendars": self.calendars.content(),
            "sla": [
                {
                    "match": {name: sorted(values) for name, values in policy.match},
                    "targets": [[target.clock, target.within, target.hours] for target in policy.targets],
                }
                for policy in self.sla
            ],
            "active": sorted(self.active_words),
            "left": sorted(self.left_words),
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def booking_digest(self) -> bytes:
        """Give 16 bytes that are equal where, and only where, documents are booked alike."""
        return blake2b(self.booking_content().encode("utf-8", "surrogatepass"), digest_size=16).digest()


DEFAULT_RULES: Final = Rules()
"""What holds without files: no calendars, no targets, no costs, the usual words."""
