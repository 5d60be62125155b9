"""What analyses answer: drivers, divergence, gaming and cost, as models for OpenAPI."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from cxloop_scoring.domain.divergence import Finding, Segment
from cxloop_scoring.domain.drivers import Driver, Drivers, Effect
from cxloop_scoring.presentation import Window, rounded, value_fields


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
        p_value=found.p_value,
        q_value=found.q_value,
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
            "p_value": moved.p_value,
            "q_value": moved.q_value,
            "significant": moved.significant,
            "n": moved.n,
            "n_then": moved.n_then,
            "status": moved.status.value,
        },
    )
