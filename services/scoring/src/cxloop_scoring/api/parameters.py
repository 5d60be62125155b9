"""Query parameters: read, checked, and refused with what is possible instead."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import Depends, Query

from cxloop_common.http import Problem, parameter_problem, parse_instant, parse_window
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.metrics import CATALOGUE, Metric
from cxloop_scoring.domain.questions import Filter, Population, Question
from cxloop_scoring.domain.steps import STEPS, StepRefused, cut, near_zones, zone_of
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.presentation import Window
from cxloop_scoring.store.questions import UnknownDimensionError

_FARTHEST: Final = timedelta(days=3660)
"""How far ahead of now a window may end: what is booked ahead (a due time) is found, and no calendar ends."""

PREVIOUS: Final = "previous"
REST: Final = "rest"


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused because it cannot be answered, or not at a reasonable cost."""

    transaction_timeout: timedelta
    series_points: int
    retention: timedelta
    """How long observations are kept."""


@dataclass(frozen=True, slots=True)
class SharedParameters:
    """The parameters that all questions share, as they were sent."""

    window: str
    at: str | None
    as_of: str | None
    where: tuple[str, ...]
    population: str | None
    unsuppress: bool


async def shared_parameters(
    *,
    window: Annotated[str, Query(description="Length, such as 15m, 24h, 30d or 90d")] = "30d",
    at: Annotated[str | None, Query(description="End of the window, excluded; now by default")] = None,
    as_of: Annotated[str | None, Query(description="Answer with what was known then")] = None,
    where: Annotated[list[str] | None, Query(description="dimension:value; repeats mean AND")] = None,
    population: Annotated[str | None, Query(description="nps: transactional or relationship")] = None,
    unsuppress: Annotated[bool, Query(description="Show values of fewer than 5 observations")] = False,
) -> SharedParameters:
    """Take the shared parameters from the query."""
    return SharedParameters(window, at, as_of, tuple(where or ()), population, unsuppress)


Shared = Annotated[SharedParameters, Depends(shared_parameters)]
By = Annotated[str, Query(description="The dimension, such as team")]


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters that all questions share, read and checked."""

    window: Span
    where: tuple[Filter, ...]
    as_of: datetime | None
    population: Population
    unsuppress: bool
    now: datetime

    def question(
        self,
        metric: Metric,
        spans: Sequence[Span] | None = None,
        by: str | None = None,
        where: tuple[Filter, ...] | None = None,
    ) -> Question:
        """Ask this of a metric."""
        return Question(
            metric,
            tuple(spans) if spans is not None else (self.window,),
            self.where if where is None else where,
            by,
            self.population,
            self.as_of,
            self.now,
        )

    def frame(self) -> dict[str, Any]:
        """Repeat in the answer what was asked."""
        return {
            "window": Window.of(self.window),
            "where": [f"{item.dimension}:{item.value}" for item in self.where],
            "as_of": self.as_of,
        }

    def about(self, metric: Metric) -> dict[str, Any]:
        """Say which metric was asked for, and what of it."""
        return {
            "metric": metric.name,
            "unit": metric.unit,
            "formula_version": metric.formula_version,
            "population": self.population.value if metric.name == "nps" else None,
            **self.frame(),
        }


def read_shared(shared: SharedParameters, limits: Limits, now: datetime) -> Asked:
    """Read the shared parameters. Raises Problem 400 saying what is possible."""
    until = parse_instant(shared.at, parameter="at") if shared.at is not None else now
    length = parse_window(shared.window, longest=limits.retention)
    if until > now + _FARTHEST:
        raise parameter_problem("at", f"a window ends within {_FARTHEST.days} days from now")
    end = microseconds(until)
    window = Span(end - length // timedelta(microseconds=1), end)
    refuse_before_retention("at" if shared.at is not None else "window", window, limits, now)
    return Asked(
        window=window,
        where=tuple(read_filter(text, "where") for text in shared.where),
        as_of=None if shared.as_of is None else settled_instant(shared.as_of, "as_of", limits, now),
        population=_population(shared.population),
        unsuppress=shared.unsuppress,
        now=now,
    )


def refuse_before_retention(parameter: str, window: Span, limits: Limits, now: datetime) -> None:
    """Raise Problem 400 for a window whose observations are not all kept any more."""
    oldest = now - limits.retention
    if window.since < microseconds(oldest):
        raise parameter_problem(
            parameter,
            f"the window would begin before {oldest:%Y-%m-%dT%H:%M:%SZ}: "
            f"observations are kept for {limits.retention.days} days",
        )


def settled_instant(text: str, parameter: str, limits: Limits, now: datetime) -> datetime:
    """Read a moment of knowledge. Raises Problem 400 for one that transactions under way may still change."""
    at = parse_instant(text, parameter=parameter)
    if at > now - limits.transaction_timeout:
        raise parameter_problem(
            parameter,
            f"transactions of the last {limits.transaction_timeout.total_seconds():g} s may still add to the "
            f"answer; ask for an earlier time, or leave {parameter} out",
        )
    return at


def read_filter(text: str, parameter: str) -> Filter:
    """Read `dimension:value`. Raises Problem 400."""
    dimension, colon, value = text.partition(":")
    if not colon or not dimension or not value:
        raise parameter_problem(parameter, "write dimension:value, such as team:billing")
    return Filter(dimension, value)


def read_compare(text: str | None, *, groups: bool) -> str | Filter | None:
    """Read what is compared with: `previous`, for groups `rest`, or a filter. Raises Problem 400."""
    if text is None or text == PREVIOUS:
        return text
    if text == REST:
        if groups:
            return REST
        raise parameter_problem("compare", "rest is for groups: each against all others")
    if ":" not in text:
        words = f"{PREVIOUS}, {REST}" if groups else PREVIOUS
        raise parameter_problem("compare", f"write {words} or dimension:value, such as team:billing")
    return read_filter(text, "compare")


def _population(text: str | None) -> Population:
    try:
        return Population.TRANSACTIONAL if text is None else Population(text)
    except ValueError as error:
        raise parameter_problem("population", "it is transactional or relationship") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Write a question that offers the known name most like one; empty where none is."""
    found = difflib.get_close_matches(name[:64].lower(), list(known), n=1, cutoff=0.5)
    return f" Did you mean {found[0]}?" if found else ""


def read_metric(name: str, asked: Asked, parameter: str = "name") -> Metric:
    """Find a metric and check what is asked of it. Raises Problem 400 offering the nearest name."""
    metric = CATALOGUE.get(name)
    if metric is None:
        raise Problem(
            400,
            title="Unknown metric",
            detail=f"This service answers: {', '.join(CATALOGUE)}.{nearest(name, CATALOGUE)}",
            errors=[{"parameter": parameter, "detail": f"unknown metric.{nearest(name, CATALOGUE)}"}],
        )
    if asked.population is Population.RELATIONSHIP and metric.name != "nps":
        raise parameter_problem("population", "only nps has a relationship population")
    return metric


def unknown_dimension(error: UnknownDimensionError, by: str | None, compare: str | None = None) -> Problem:
    """Give the 400 for a dimension that nothing was ever filed under."""
    first = error.unknown[0] if error.unknown else ""
    against = None if compare is None else compare.partition(":")[0]
    parameter = "by" if first == by else "compare" if first == against else "where"
    return Problem(
        400,
        title="Unknown dimension",
        detail=f"Known dimensions: {', '.join(error.known)}.{nearest(first, error.known)}",
        errors=[
            {"parameter": parameter, "detail": f"unknown dimension.{nearest(first, error.known)}"},
        ],
    )


def read_zone(name: str) -> ZoneInfo:
    """Find a time zone. Raises Problem 400 offering names that are near."""
    zone = zone_of(name)
    if zone is None:
        raise parameter_problem(
            "zone", f"there is no such IANA time zone; near names: {', '.join(near_zones(name))}"
        )
    return zone


def read_steps(window: Span, name: str, zone: ZoneInfo, limits: Limits) -> tuple[Span, ...]:
    """Cut a window. Raises Problem 400 for a step that is unknown, too long or makes too many points."""
    step = STEPS.get(name)
    if step is None:
        raise parameter_problem("step", f"it is one of {', '.join(STEPS)}")
    spans = cut(window, step, zone, limits.series_points)
    if not isinstance(spans, StepRefused):
        return spans
    possible = [
        other.name
        for other in STEPS.values()
        if not isinstance(cut(window, other, zone, limits.series_points), StepRefused)
    ]
    within = f"; this window takes {', '.join(possible)}" if possible else ""
    if spans is StepRefused.LONGER_THAN_WINDOW:
        raise parameter_problem("step", f"it must be no longer than the window{within}")
    raise parameter_problem("step", f"a series has at most {limits.series_points} points{within}")
