"""What a metric is: its number in the ledger, its family, and the plan by which it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, Literal


class MetricNumber(IntEnum):
    """How the ledger and the buckets name a metric. A number is never used again for something else."""

    NPS = 1
    CSAT = 2
    CES = 3
    TICKET_VOLUME = 4
    FIRST_RESPONSE_TIME = 5
    FIRST_RESOLUTION_TIME = 6
    FULL_RESOLUTION_TIME = 7
    REOPEN_RATE = 8
    """Reopened tickets alone; what they are a share of are the rows of `FIRST_RESOLUTION_TIME`."""
    CES_V1 = 9
    RESPONSE_RATE = 10
    """Sends whose response would be known by its id: 1 if it came."""
    SEND_UNLINKED = 11
    """Sends whose response is found by customer and survey."""
    NEXT_RESPONSE_TIME = 12
    FIRST_CONTACT_RESOLUTION = 13
    """Candidates: solved with one inbound message and never reopened."""
    REPEAT_CONTACT_RATE = 14
    """Contacts: tickets with an inbound message."""
    HANDOFFS = 15
    ESCALATION_RATE = 16
    HANDLE_TIME = 17
    SLA_BREACH_RATE = 18
    BACKLOG = 19
    """What moves the number of open tickets beside creation and first solve."""
    SENTIMENT = 20
    LIFECYCLE = 21
    """Changes between active (1) and left (0)."""
    CASE_OPENED = 22
    CASE_CLOSED = 23
    CASE_CONTACTED = 24
    MERGED_AWAY = 25
    """Tickets that left the numbers by a merge: 1 if they had been reopened."""
    CUSTOMER_VALUE = 26
    """Money that a customer paid or promised, in hundredths."""
    FIRST_RESPONSE_BUSINESS = 30
    NEXT_RESPONSE_BUSINESS = 31
    FIRST_RESOLUTION_BUSINESS = 32
    FULL_RESOLUTION_BUSINESS = 33


class Plan(StrEnum):
    """Where the sums behind a value come from."""

    OWN = "own"
    """From the metric's own observations."""
    SHARE_OF = "share_of"
    """The metric's own observations are the numerator, booked only where there is something to count; n is
    that of the base metric over the same span, filter and group."""
    BALANCE = "balance"
    """A level at the end of a span, from all that ever came before: creations less first solves, and the
    metric's own observations."""
    JOINED = "joined"
    """From observations of several documents that belong together, such as those of one customer."""


class Family(StrEnum):
    """How observations become a value."""

    NET_PROMOTER = "net_promoter"
    """Share of the high band minus share of the low band, in points."""
    TOP_BOX = "top_box"
    """Share of the high band, in percent."""
    MEAN = "mean"
    """Arithmetic mean of the values, beside the share of the high band."""
    RATE = "rate"
    """Share of observations whose value is 1, in percent."""
    DURATION = "duration"
    """Median of milliseconds, with the 90th percentile, from a histogram."""
    COUNT = "count"
    """How many observations there are."""
    AVERAGE = "average"
    """Arithmetic mean of counts, beside the share with two or more."""
    BALANCE = "balance"
    """A level: how many there are at one moment."""
    LIFT = "lift"
    """Difference of two rates, in points."""
    AMOUNT = "amount"
    """A sum of money."""


class Direction(StrEnum):
    """Which end of the values is worse."""

    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"


Kind = Literal["service", "experience", "outcome"]
"""What was done for customers, what they said of it, and what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of the catalogue."""

    number: MetricNumber | None
    """Its own observations; None for one that is made of those of others alone."""
    name: str
    title: str
    unit: str
    formula: str
    kind: Kind
    family: Family
    direction: Direction
    plan: Plan = Plan.OWN
    base: MetricNumber | None = None
    """Whose observations n counts, where they are not the metric's own."""
    business: MetricNumber | None = None
    """The same duration in business hours."""
    formula_version: int = 1
    explanation: str
    """Markdown, for whoever reads the number: what it tells, what it counts and when, where it comes from,
    what it is bad at."""

    @property
    def is_duration(self) -> bool:
        """Tell whether values are milliseconds, kept in a histogram."""
        return self.family is Family.DURATION


BETTER: Final = Direction.HIGHER_IS_BETTER
WORSE: Final = Direction.LOWER_IS_BETTER


def by_name(*sections: tuple[Metric, ...]) -> Mapping[str, Metric]:
    """Put the sections of the catalogue in one mapping. Raises ValueError for a name that is there twice."""
    named: dict[str, Metric] = {}
    for section in sections:
        for metric in section:
            if metric.name in named:
                raise ValueError(f"the catalogue has two metrics called {metric.name}")
            named[metric.name] = metric
    return MappingProxyType(named)
