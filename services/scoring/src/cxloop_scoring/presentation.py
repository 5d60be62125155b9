"""What answers look like: models for OpenAPI, and cards of single documents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.documents import contributions, source_of
from cxloop_scoring.domain.facts import CUSTOMER, Deleted, Facts, Merged, event_ids
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.metrics import BY_NUMBER, Family, Metric
from cxloop_scoring.domain.responses import fold_response
from cxloop_scoring.domain.tickets import Ticket, fold_ticket
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store.explaining import HeldDocument

BANDS = ("low", "middle", "high")
_AUTHORS = ("nobody", "customer", "agent", "bot")
_DIGITS = 6
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
    """A value with what is needed to judge it; further figures of a metric (`p90`, `top_box`) stand beside."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, serialize_by_alias=True)

    value: float | None = Field(description="None for n = 0, and below 5 observations unless asked for")
    n: int
    ci_low: float | None
    ci_high: float | None
    status: Status


class _About(BaseModel):
    metric: str
    unit: str
    formula_version: int
    population: str | None = Field(default=None, description="Of nps alone")
    window: Window
    where: list[str]
    as_of: datetime | None


class MetricValue(Value, _About):
    """One metric over one window."""


class PointValue(Value):
    """One step of a series."""

    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to")


class SeriesAnswer(_About):
    """A metric step by step."""

    points: list[PointValue]


class GroupValue(Value):
    """One value of a dimension."""

    key: str


class GroupsAnswer(_About):
    """A metric by the values of a dimension."""

    by: str
    groups: list[GroupValue]


class Explained(BaseModel):
    """One observation."""

    document: str
    value: float = Field(description="The raw score, seconds, or 0 and 1")
    band: Literal["low", "middle", "high"] | None
    at: datetime
    dimensions: dict[str, str | list[str]]
    event_ids: list[str]
    count: int = 1


class Scorecard(BaseModel):
    """Service metrics beside experience metrics."""

    window: Window
    where: list[str]
    as_of: datetime | None
    service: list[MetricValue]
    experience: list[MetricValue]


class CatalogueEntry(BaseModel):
    """One metric of the catalogue."""

    name: str
    title: str
    unit: str
    formula: str
    formula_version: int
    kind: Literal["service", "experience"]
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
        dimensions=list(dimensions),
        populations=["transactional", "relationship"] if metric.name == "nps" else ["transactional"],
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def value_fields(found: Answer) -> dict[str, Any]:
    """Give the fields of a value; figures are rounded to six digits after the point."""
    interval = found.interval
    return {
        "value": _rounded(found.value),
        "n": found.n,
        "ci_low": None if interval is None else _rounded(interval.low),
        "ci_high": None if interval is None else _rounded(interval.high),
        "status": found.status.value,
        **{name: _rounded(value) for name, value in found.extra.items()},
    }


def in_unit(metric: Metric, value: int) -> float:
    """Give a ledger value as it is shown: seconds, the score itself, or 0 and 1."""
    match metric.family:
        case Family.DURATION:
            return value / 1000
        case Family.NET_PROMOTER | Family.TOP_BOX | Family.MEAN:
            return value / 100
        case Family.RATE | Family.COUNT:
            return float(value)


def _observations(document: str, facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "metric": BY_NUMBER[found.metric].name,
            "value": in_unit(BY_NUMBER[found.metric], found.value),
            "band": None if found.band is None else BANDS[found.band],
            "at": instant(found.at),
        }
        for found in contributions(document, facts)
    ]


def _common(held: HeldDocument) -> dict[str, Any]:
    return {
        "document": held.id,
        "revision": [held.generation, len(held.facts)],
        "event_ids": event_ids(held.facts),
        "observations": _observations(held.id, held.facts),
    }


def response_card(held: HeldDocument) -> dict[str, Any]:
    """Show a response; `metric` and what follows from it are missing while only its sending is known."""
    response = fold_response(source_of(held.id), held.facts)
    card = _common(held)
    if response is not None:
        answer = response.answer
        card |= {
            "metric": answer.metric,
            "score": answer.score,
            "scale": {
                "min": answer.least,
                "max": answer.most,
                "polarity": "lower_is_better" if answer.lower_is_better else "higher_is_better",
                "good": answer.good,
            },
            "normalised": response.normalised,
            "band": BANDS[response.band],
            "answered_at": instant(answer.at),
            "dimensions": response.dimensions.named(),
            "ticket": answer.ticket,
            "wants_contact": answer.wants_contact,
        }
    return card


def ticket_card(held: HeldDocument) -> dict[str, Any]:
    """Show a ticket; its clocks are missing until its creation is known, and once it left the numbers."""
    facts = held.facts
    ticket = fold_ticket(source_of(held.id), held.id, facts)
    merged = [fact for fact in facts.values() if isinstance(fact, Merged) and fact.into != held.id]
    card = _common(held) | {
        "state": "deleted"
        if any(isinstance(fact, Deleted) for fact in facts.values())
        else "merged"
        if merged
        else "counted"
        if ticket is not None
        else "incomplete",
        "merged_into": sorted({fact.into for fact in merged}),
    }
    if ticket is not None:
        card |= {
            "created_by": _AUTHORS[ticket.created_by],
            "dimensions": ticket.dimensions.named(),
            "tags": [value for name, value in ticket.dimensions.more if name == "tag"],
            "clocks": _clocks(ticket),
        }
    return card


def _clocks(ticket: Ticket) -> dict[str, Any]:
    def at(moment: int | None) -> datetime | None:
        return None if moment is None else instant(moment)

    return {
        "created_at": at(ticket.created_at),
        "waiting_since": at(ticket.waiting_since),
        "first_reply_at": at(ticket.first_reply_at),
        "first_solved_at": at(ticket.first_solved_at),
        "last_solved_at": at(ticket.last_solved_at),
        "reopened": ticket.reopened,
        "customer_facing": ticket.created_by == CUSTOMER or ticket.waiting_since is not None,
    }
