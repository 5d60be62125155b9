"""What analyses answer: drivers, divergence, gaming and cost, as models for OpenAPI."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from cxloop_scoring.domain.cost import CostLine
from cxloop_scoring.domain.divergence import Finding, Segment
from cxloop_scoring.domain.drivers import Driver, Drivers, Effect
from cxloop_scoring.domain.gaming import Reason, Suspicion
from cxloop_scoring.presentation import Window, probability, rounded, value_fields


class EffectOut(BaseModel):
    """Part of a change, in the metric's unit."""

    value: float
    ci_low: float | None
    ci_high: float | None


class DriverOut(BaseModel):
    """What one value of the dimension did to the metric."""

    key: str | None = Field(description="None for observations without a value of the dimension")
    n: int
    n_then: int
    value: float | None
    value_then: float | None
    mix: EffectOut | None = Field(
        description="It became a greater or smaller part of the whole; None of counts"
    )
    rate: EffectOut | None = Field(description="It got better or worse itself; None of counts")
    total: EffectOut
    p_value: float | None
    q_value: float | None = Field(description="p corrected for the number of values")
    significant: bool


class DriversOut(BaseModel):
    """A change of a metric, taken apart; the effects add up to it."""

    metric: str
    unit: str
    by: str
    window: Window
    against: Window
    where: list[str]
    as_of: datetime | None
    of: Literal["value", "mean"] = Field(
        description="mean for durations: means of parts add up, medians do not"
    )
    value: float | None
    value_then: float | None
    change: EffectOut | None = Field(description="None where a window is empty")
    drivers: list[DriverOut]
    unattributed: DriverOut | None


def _effect(found: Effect | None) -> EffectOut | None:
    return None if found is None else _shown(found)


def _shown(found: Effect) -> EffectOut:
    # Not rounded: the effects of all values add up to the change.
    return EffectOut(value=found.value, ci_low=rounded(found.ci_low), ci_high=rounded(found.ci_high))


def _driver(found: Driver) -> DriverOut:
    return DriverOut(
        key=found.key,
        n=found.n,
        n_then=found.n_then,
        value=rounded(found.value),
        value_then=rounded(found.value_then),
        mix=_effect(found.mix),
        rate=_effect(found.rate),
        total=_shown(found.total),
        p_value=probability(found.p_value),
        q_value=probability(found.q_value),
        significant=found.significant,
    )


def drivers_fields(found: Drivers | None) -> dict[str, Any]:
    """Show what a change is made of; empty where one of the windows is."""
    if found is None:
        return {
            "of": "value",
            "value": None,
            "value_then": None,
            "change": None,
            "drivers": [],
            "unattributed": None,
        }
    return {
        "of": found.of,
        "value": found.value,
        "value_then": found.value_then,
        "change": _shown(found.change),
        "drivers": [_driver(one) for one in found.values],
        "unattributed": None if found.unattributed is None else _driver(found.unattributed),
    }


class SegmentOut(BaseModel):
    """One segment: how it was served, and how its customers' experience moved."""

    key: str
    finding: Finding
    service: dict[str, Any] = Field(description="value, n, interval and status")
    good_from: float | None = Field(description="What the service had to reach")
    experience: dict[str, Any] | None = Field(
        description="Difference to the window before, with interval, p and q; None where one window is empty"
    )


class DivergenceOut(BaseModel):
    """Segments that are served well and lose goodwill all the same, in front."""

    by: str
    service: str
    experience: str
    window: Window
    against: Window
    where: list[str]
    as_of: datetime | None
    segments: list[SegmentOut]


def segment_out(found: Segment) -> SegmentOut:
    """Show one segment."""
    moved = found.experience
    return SegmentOut(
        key=found.key,
        finding=found.finding,
        service=value_fields(found.service),
        good_from=rounded(found.good_from),
        experience=None
        if moved is None
        else {
            "difference": rounded(moved.difference),
            "ci_low": rounded(moved.ci_low),
            "ci_high": rounded(moved.ci_high),
            "p_value": probability(moved.p_value),
            "q_value": probability(moved.q_value),
            "significant": moved.significant,
            "n": moved.n,
            "n_then": moved.n_then,
            "status": moved.status.value,
        },
    )


class SuspicionOut(BaseModel):
    """One agent in one test, held against all others together."""

    agent: str
    n: int
    share: float | None = Field(description="In percent; of picked surveys, a gap in percentage points")
    expected: float | None = Field(description="The same of all other agents")
    p_value: float | None
    q_value: float | None = Field(description="p corrected for the number of agents")
    distribution_p: float | None = Field(description="Of scores: whether the whole distribution differs")
    flagged: bool
    reason: Reason


class GamingOut(BaseModel):
    """Numbers of agents that look made rather than earned: reasons to look, not verdicts."""

    window: Window
    where: list[str]
    as_of: datetime | None
    top_scores: dict[str, list[SuspicionOut]] = Field(description="By metric")
    picked_surveys: list[SuspicionOut]
    merged_away: list[SuspicionOut]


def suspicions_out(found: Iterable[Suspicion]) -> list[SuspicionOut]:
    """Show what one test found, the most suspicious first."""
    return [
        SuspicionOut(
            agent=one.agent,
            n=one.n,
            share=rounded(one.share),
            expected=rounded(one.expected),
            p_value=probability(one.p_value),
            q_value=probability(one.q_value),
            distribution_p=probability(one.distribution_p),
            flagged=one.flagged,
            reason=one.reason,
        )
        for one in found
    ]


class CostOut(BaseModel):
    """What the contacts of one group and channel cost; amounts are None where no rate is configured."""

    group: str | None = Field(description="None where nothing is known of it, or no group was asked for")
    channel: str | None
    contacts: int
    repeated: int = Field(description="Of customers who came about the same within seven days")
    avoidable: int = Field(description="Of types that are configured as avoidable")
    avoidable_types: dict[str, int]
    worked: float = Field(description="Reported work in seconds")
    contact_cost: float | None
    repeated_cost: float | None
    avoidable_cost: float | None
    handle_cost: float | None


class CostsOut(BaseModel):
    """What contacts cost, by group and channel."""

    window: Window
    where: list[str]
    as_of: datetime | None
    by: str | None
    currency: str | None = Field(description="None where no costs are configured")
    items: list[CostOut]
    total: CostOut = Field(
        description="Over all items; a contact that is in several groups, as with tags, counts in each"
    )


def _amount(hundredths: int | None) -> float | None:
    return None if hundredths is None else hundredths / 100


def cost_out(line: CostLine) -> CostOut:
    """Show one line, in units of the currency and seconds."""
    return CostOut(
        group=line.group,
        channel=line.channel,
        contacts=line.contacts,
        repeated=line.repeated,
        avoidable=line.avoidable,
        avoidable_types=dict(sorted(line.avoidable_types.items())),
        worked=line.worked_ms / 1000,
        contact_cost=_amount(line.contact_cost),
        repeated_cost=_amount(line.repeated_cost),
        avoidable_cost=_amount(line.avoidable_cost),
        handle_cost=_amount(line.handle_cost),
    )
