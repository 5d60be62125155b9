"""The catalogue: every metric this service answers, with its formula, unit and direction."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Literal

GENERATION: Final = 1
"""Names the formulas and configuration that documents are booked with; raise it when a fold changes."""


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


class Direction(StrEnum):
    """Which end of the values is worse."""

    HIGHER_IS_BETTER = "higher_is_better"
    LOWER_IS_BETTER = "lower_is_better"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the catalogue."""

    number: MetricNumber
    name: str
    title: str
    unit: Literal["points", "percent", "score", "seconds", "tickets"]
    formula: str
    kind: Literal["service", "experience"]
    family: Family
    direction: Direction
    formula_version: int = 1

    @property
    def is_duration(self) -> bool:
        """Tell whether values are milliseconds, kept in a histogram."""
        return self.family is Family.DURATION


_BETTER, _WORSE = Direction.HIGHER_IS_BETTER, Direction.LOWER_IS_BETTER

_ALL: Final = (
    Metric(
        MetricNumber.NPS,
        "nps",
        "Net Promoter Score",
        "points",
        "100 * (promoters - detractors) / n on whole scores from 0 to 10: detractors 0-6, promoters 9-10",
        "experience",
        Family.NET_PROMOTER,
        _BETTER,
    ),
    Metric(
        MetricNumber.CSAT,
        "csat",
        "Customer satisfaction",
        "percent",
        "100 * satisfied / n; satisfied is 4-5 on a scale of 1-5, elsewhere what the scale declares as good",
        "experience",
        Family.TOP_BOX,
        _BETTER,
    ),
    Metric(
        MetricNumber.CES,
        "ces",
        "Customer effort score",
        "score",
        "mean of answers from 1 to 7, 7 = made it easy; top_box is the share of 5-7 in percent",
        "experience",
        Family.MEAN,
        _BETTER,
    ),
    Metric(
        MetricNumber.FIRST_RESPONSE_TIME,
        "first_response_time",
        "First response time",
        "seconds",
        "median of first customer message -> first public human reply, booked when the reply was written; "
        "tickets that an agent created do not count",
        "service",
        Family.DURATION,
        _WORSE,
    ),
    Metric(
        MetricNumber.FIRST_RESOLUTION_TIME,
        "first_resolution_time",
        "First resolution time",
        "seconds",
        "median of creation -> first solve, booked when it was solved",
        "service",
        Family.DURATION,
        _WORSE,
    ),
    Metric(
        MetricNumber.FULL_RESOLUTION_TIME,
        "full_resolution_time",
        "Full resolution time",
        "seconds",
        "median of creation -> last solve, reopen cycles included, booked when it was solved; "
        "absent while a ticket is not solved",
        "service",
        Family.DURATION,
        _WORSE,
    ),
    Metric(
        MetricNumber.REOPEN_RATE,
        "reopen_rate",
        "Reopen rate",
        "percent",
        "100 * tickets that left the solved state at least once / tickets solved, booked at the first solve",
        "service",
        Family.RATE,
        _WORSE,
    ),
    Metric(
        MetricNumber.TICKET_VOLUME,
        "ticket_volume",
        "Ticket volume",
        "tickets",
        "tickets created, whoever created them",
        "service",
        Family.COUNT,
        _WORSE,
    ),
)

CATALOGUE: Final[Mapping[str, Metric]] = {metric.name: metric for metric in _ALL}
"""The metrics by name, in the order in which they are listed."""

BY_NUMBER: Final[Mapping[int, Metric]] = {int(metric.number): metric for metric in _ALL}
"""The metrics by their number in the ledger."""

DURATIONS: Final = frozenset(int(metric.number) for metric in _ALL if metric.is_duration)
"""Numbers of the metrics whose values are milliseconds."""
