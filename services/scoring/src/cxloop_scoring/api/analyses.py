"""Why a number moved, where service and experience part, which numbers look made, and what contacts cost."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from cxloop_common.http import parameter_problem, parse_instant
from cxloop_scoring.api.asking import Groups, ScoringApi, before
from cxloop_scoring.api.parameters import Asked, By, Shared, read_metric, refuse_before_retention
from cxloop_scoring.domain.answers import Sums
from cxloop_scoring.domain.dimensions import TAG
from cxloop_scoring.domain.divergence import Measured, divergence
from cxloop_scoring.domain.drivers import drivers
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.findings import (
    DivergenceOut,
    DriversOut,
    drivers_fields,
    segment_out,
)
from cxloop_scoring.presentation import Window
from cxloop_scoring.store.questions import Snapshot


def analysis_routes(api: ScoringApi) -> APIRouter:
    """Give the routes."""
    router = APIRouter(tags=["analyses"])

    @router.get("/metrics/{name}/drivers", response_model=DriversOut)
    async def drivers_of(  # pyright: ignore[reportUnusedFunction]
        name: str,
        shared: Shared,
        by: By,
        against: Annotated[
            str | None, Query(description="End of the earlier window; the begin of this one by default")
        ] = None,
    ) -> Any:
        """Take a change apart: what each value of a dimension added to it, by mix and by rate."""
        asked = api.asked(shared)
        metric = read_metric(name, asked)
        if by == TAG:
            raise parameter_problem(
                "by", "a document has any number of tags, so their effects cannot add up; ask for groups"
            )
        then = _earlier(api, asked, against)
        both = (asked.window, then)
        async with api.snapshot(by) as snapshot:
            now_whole, then_whole = await _windows(api, snapshot, asked.question(metric, both))
            now_groups, then_groups = await _windows(api, snapshot, asked.question(metric, both, by))
        found = drivers(
            metric,
            (now_whole.get(None, Sums()), then_whole.get(None, Sums())),
            _named(now_groups),
            _named(then_groups),
            unsuppress=asked.unsuppress,
        )
        return DriversOut.model_validate(
            {
                "metric": metric.name,
                "unit": metric.unit,
                "by": by,
                **asked.frame(),
                "against": Window.of(then),
                **drivers_fields(found),
            }
        )

    @router.get("/divergence", response_model=DivergenceOut)
    async def divergence_of(  # pyright: ignore[reportUnusedFunction]
        shared: Shared,
        by: By,
        service: Annotated[str, Query(description="A service metric")] = "first_response_time",
        experience: Annotated[str, Query(description="An experience or outcome metric")] = "nps",
        threshold: Annotated[
            float | None,
            Query(
                allow_inf_nan=False,
                description="What good service is, in the metric's unit; the value of the whole by default",
            ),
        ] = None,
    ) -> Any:
        """Find groups that are served well and whose experience got worse against the window before."""
        asked = api.asked(shared)
        served = read_metric(service, asked, "service")
        felt = read_metric(experience, asked, "experience")
        if served.kind != "service":
            raise parameter_problem(
                "service", f"{served.name} is no service metric, but an {served.kind} one"
            )
        if felt.kind == "service":
            raise parameter_problem("experience", f"{felt.name} is a service metric")
        then = _earlier(api, asked, None)
        both = (asked.window, then)
        async with api.snapshot(by) as snapshot:
            whole = await api.sums(snapshot, asked.question(served))
            groups = await api.sums(snapshot, asked.question(served, by=by))
            now, earlier = await _windows(api, snapshot, asked.question(felt, both, by))
        found = divergence(
            served,
            {key: sums for (_, key), sums in groups.items() if key is not None},
            whole.get((0, None), Sums()),
            Measured(felt, _named(now), _named(earlier)),
            threshold,
        )
        return DivergenceOut.model_validate(
            {
                "by": by,
                "service": served.name,
                "experience": felt.name,
                **asked.frame(),
                "against": Window.of(then),
                "segments": [segment_out(segment) for segment in found],
            }
        )

    return router


def _earlier(api: ScoringApi, asked: Asked, against: str | None) -> Span:
    """Give the window that is compared with. Raises Problem 400 for one that overlaps or is not kept any more."""
    window = asked.window
    then = before(window)
    if against is not None:
        end = _end(against, window)
        then = Span(end - (window.until - window.since), end)
    refuse_before_retention("against" if against is not None else "window", then, api.limits, asked.now)
    return then


def _end(against: str, window: Span) -> int:
    at: datetime = parse_instant(against, parameter="against")
    end = microseconds(at)
    if end > window.since:
        raise parameter_problem("against", "the earlier window ends at or before the window begins")
    return end


async def _windows(api: ScoringApi, snapshot: Snapshot, question: Question) -> tuple[Groups, Groups]:
    """Add up the two spans of a question: now and then."""
    groups: tuple[Groups, Groups] = ({}, {})
    for (place, key), sums in (await api.sums(snapshot, question)).items():
        groups[place][key] = sums
    return groups


def _named(groups: Groups) -> dict[str, Sums]:
    return {key: sums for key, sums in groups.items() if key is not None}
