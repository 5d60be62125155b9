"""What answers look like: models for OpenAPI, and figures in their units."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.comparing import Difference
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.joined.verdicts import Arm, Reason, Role
from cxloop_scoring.domain.metrics import BY_NUMBER, DURATIONS, Family, Kind, Metric, MetricNumber
from cxloop_scoring.domain.windows import Span

BANDS = ("low", "middle", "high")
_DIGITS = 6
"""After the point; of probabilities, significant ones."""
UNKNOWN_VALUES: Final = "Conditions of where whose value was never seen: nothing can match them"
Status = Literal["ok", "low_confidence", "suppressed"]


class Window(BaseModel):
    """A half-open stretch of time."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to", description="Not part of the window")

    @classmethod
    def of(cls, span: Span) -> Self:
        """Show a span."""
        return cls.model_validate({"from": instant(span.since), "to": instant(span.until)})


class Value(BaseModel):
    """A value with what is needed to judge it; further figures of a metric (`p90`, `top_box`) stand beside.

    Those that are counts (`provisional`, `unjudged`, `contacted_n`) are whole numbers.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True, serialize_by_alias=True)

    value: float | None = Field(description="None for n = 0, and below 5 observations unless asked for")
    n: int
    ci_low: float | None
    ci_high: float | None
    status: Status


class BusinessValue(BaseModel):
    """A duration in business hours."""

    value: float | None
    p90: float | None
    ci_low: float | None
    ci_high: float | None
    n: int = Field(description="Of those to which a calendar applies")


class Comparison(BaseModel):
    """By how much a value exceeds another one; shares differ by percentage points."""

    against: str
    value: float | None
    n: int
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None = Field(description="To six significant digits, as all p and q values are")
    q_value: float | None = Field(
        default=None, description="p corrected for the number of groups compared together"
    )
    significant: bool


class _About(BaseModel):
    metric: str
    unit: str
    formula_version: int
    population: str | None = Field(default=None, description="Of nps alone")
    window: Window
    where: list[str]
    as_of: datetime | None


class _AboutValue(_About):
    unknown_values: list[str] = Field(default=[], description=UNKNOWN_VALUES)
    currency: str | None = Field(default=None, description="Of amounts; null where no costs are configured")


class MetricValue(Value, _AboutValue):
    """One metric over one window."""

    business: BusinessValue | None = Field(default=None, description="Of durations with business hours")
    comparison: Comparison | None = Field(default=None, description="Where compare was given")


class PointValue(Value):
    """One step of a series."""

    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to")


class SeriesAnswer(_AboutValue):
    """A metric step by step."""

    step: str
    zone: str
    points: list[PointValue]


class GroupValue(Value):
    """One value of a dimension."""

    key: str
    comparison: Comparison | None = Field(default=None, description="Where compare was given")


class GroupsAnswer(_AboutValue):
    """A metric by the values of a dimension."""

    by: str
    groups: list[GroupValue]


class MetDocument(BaseModel):
    """A document that decides what an observation counts for."""

    role: Role = Field(description="What it is to the observation")
    document: str
    at: datetime = Field(description="When it did what decides")
    value: float | None = Field(description="Of a score, or of a state: 1 active, 0 left")
    band: Literal["low", "middle", "high"] | None
    event_ids: list[str]
    deliveries: list[str]


class Explained(BaseModel):
    """One observation."""

    document: str
    metric: str = Field(description="Whose observation it is")
    counts: Literal["n", "value"] = Field(
        description="n: it is one of those that the value is a share of; value: it makes the value, and n where "
        "nothing else does"
    )
    value: float = Field(description="The raw score, seconds, an amount, or a number")
    band: Literal["low", "middle", "high"] | None
    at: datetime
    dimensions: dict[str, str | list[str]]
    event_ids: list[str]
    deliveries: list[str] = Field(
        description="Calls of ingest that list the webhooks of each event; none of cases"
    )
    count: int = 1
    n: int | None = Field(
        default=None,
        description="What it adds to the answer's n. Like the four fields below, it is said of metrics in which "
        "documents meet, and of the relationship population",
    )
    hits: float | None = Field(
        default=None,
        description="What it adds to the numerator: 1 for a hit, an amount at risk; of nps 1, 0 or -1",
    )
    reason: Reason | None = Field(default=None, description="Why it counts that way")
    arm: Arm | None = Field(default=None, description="Of recovery_lift: the arm whose rate it belongs to")
    by: list[MetDocument] = Field(default=[], description="The documents that decided it")


class ChangedObservation(BaseModel):
    """One observation that was booked or withdrawn."""

    metric: str
    value: float
    band: Literal["low", "middle", "high"] | None
    at: datetime
    dimensions: dict[str, str | list[str]]


class RestatedChange(BaseModel):
    """What one late batch changed of one document."""

    document: str
    recorded_at: datetime
    withdrawn: list[ChangedObservation]
    booked: list[ChangedObservation]
    event_ids: list[str]
    deliveries: list[str]
    value: float | None = Field(description="The metric from then on")
    n: int
    effect: float | None = Field(
        description="What it did to the value; no value counts as 0. None where a value is withheld"
    )


class Believed(BaseModel):
    """A value at one state of knowledge."""

    value: float | None
    n: int


class Restatements(_About):
    """A value as it was believed, as it is, and each change between; effects add up to the difference."""

    since: datetime
    believed: Believed
    now: Believed
    difference: float | None
    items: list[RestatedChange]
    next_cursor: str | None = None


class Scorecard(BaseModel):
    """Service beside experience and outcome metrics."""

    window: Window
    where: list[str]
    unknown_values: list[str] = Field(default=[], description=UNKNOWN_VALUES)
    as_of: datetime | None
    service: list[MetricValue]
    experience: list[MetricValue]
    outcome: list[MetricValue]


class CatalogueEntry(BaseModel):
    """One metric of the catalogue."""

    name: str
    title: str
    unit: str
    formula: str
    formula_version: int
    kind: Kind
    explanation: str = Field(description="Markdown: what it tells, counts and is bad at, and its source")
    dimensions: list[str]
    populations: list[str]


def described(metric: Metric, dimensions: Sequence[str]) -> CatalogueEntry:
    """Describe a metric."""
    return CatalogueEntry(
        name=metric.name,
        title=metric.title,
        unit=metric.unit,
        formula=metric.formula,
        formula_version=metric.formula_version,
        kind=metric.kind,
        explanation=metric.explanation,
        dimensions=list(dimensions),
        populations=["transactional", "relationship"] if metric.name == "nps" else ["transactional"],
    )


def rounded(value: float | None) -> float | None:
    """Round a figure to six digits after the point."""
    return None if value is None else round(value, _DIGITS)


def probability(value: float | None) -> float | None:
    """Round a p or q value to six significant digits: how small it is is what it tells."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def value_fields(found: Answer) -> dict[str, Any]:
    """Give the fields of a value; figures are rounded to six digits after the point."""
    fields: dict[str, Any] = {**_figures(found), "status": found.status.value}
    fields |= {name: rounded(value) for name, value in found.extra.items()}
    if found.business is not None:
        twin = found.business
        fields["business"] = {"p90": rounded(twin.extra.get("p90")), **_figures(twin)}
    return fields


def _figures(found: Answer) -> dict[str, Any]:
    interval = found.interval
    return {
        "value": rounded(found.value),
        "n": found.n,
        "ci_low": None if interval is None else rounded(interval.low),
        "ci_high": None if interval is None else rounded(interval.high),
    }


def comparison_fields(against: str, other: Answer, found: Difference | None) -> dict[str, Any]:
    """Give the fields of a comparison; empty figures where one side has no observations."""
    fields: dict[str, Any] = {"against": against, "value": rounded(other.value), "n": other.n}
    if found is None:
        return fields | {
            **dict.fromkeys(("difference", "ci_low", "ci_high", "p_value")),
            "significant": False,
        }
    fields |= {
        "difference": rounded(found.difference),
        "ci_low": rounded(found.ci_low),
        "ci_high": rounded(found.ci_high),
        "p_value": probability(found.p_value),
        "significant": found.significant,
    }
    return fields | ({} if found.q_value is None else {"q_value": probability(found.q_value)})


_SECONDS: Final = DURATIONS | {
    int(number)
    for number in (MetricNumber.CASE_OPENED, MetricNumber.CASE_CLOSED, MetricNumber.CASE_CONTACTED)
}
_HUNDREDTHS: Final = frozenset(
    int(metric.number)
    for metric in BY_NUMBER.values()
    if metric.number is not None and metric.family in (Family.NET_PROMOTER, Family.TOP_BOX, Family.MEAN)
) | {int(MetricNumber.CUSTOMER_VALUE)}


def in_unit(number: int, value: int) -> float:
    """Give a ledger value as it is shown: seconds, the score itself, an amount, or a number."""
    if number in _SECONDS:
        return value / 1000
    return value / 100 if number in _HUNDREDTHS else float(value)


def name_of(number: int) -> str:
    """Name the metric of a number; the ledger's own ones by what they are called there."""
    metric = BY_NUMBER.get(number)
    return MetricNumber(number).name.lower() if metric is None else metric.name


def deliveries_of(event_ids: Sequence[str]) -> list[str]:
    """Give the calls of ingest that lead from events to the webhooks that gave them."""
    return [f"/v1/deliveries?event_id={quote(event_id, safe='', errors='replace')}" for event_id in event_ids]
