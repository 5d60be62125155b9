"""Values, series, groups and the scorecard."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from cxloop_common.http import parameter_problem
from cxloop_scoring.api.asking import ScoringApi
from cxloop_scoring.api.parameters import (
    Asked,
    By,
    Shared,
    read_compare,
    read_metric,
    read_steps,
    read_zone,
)
from cxloop_scoring.domain.answers import Answer, worst_first
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.metrics import CATALOGUE
from cxloop_scoring.domain.questions import Filter, Population
from cxloop_scoring.presentation import (
    CatalogueEntry,
    GroupsAnswer,
    GroupValue,
    MetricValue,
    PointValue,
    Scorecard,
    SeriesAnswer,
    comparison_fields,
    described,
    value_fields,
)
from cxloop_scoring.store.questions import Snapshot

Compare = Annotated[
    str | None, Query(description="previous (the window before), or dimension:value; for groups also rest")
]


def metric_routes(api: ScoringApi) -> APIRouter:
    """Give the routes."""
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", response_model=dict[str, list[CatalogueEntry]])
    async def catalogue() -> Any:  # pyright: ignore[reportUnusedFunction]
        """Describe all metrics."""
        dimensions = await api.questions.dimensions()
        return {"items": [described(metric, dimensions) for metric in CATALOGUE.values()]}

    @router.get("/metrics/{name}", response_model=MetricValue, response_model_exclude_unset=True)
    async def value(name: str, shared: Shared, compare: Compare = None) -> Any:  # pyright: ignore[reportUnusedFunction]
        """Give a metric over one window, compared with another window or group where asked for."""
        asked = api.asked(shared)
        metric, against = read_metric(name, asked), read_compare(compare, groups=False)
        api.refuse_previous(asked, against)
        async with api.snapshot(compare_with=compare) as snapshot:
            (found,) = await api.points(snapshot, asked.question(metric), unsuppress=asked.unsuppress)
            unknown = await _unknown(snapshot, asked)
            fields = {**api.about(asked, metric), **unknown, **value_fields(found)}
            if against is not None:
                other, difference = await api.compared(snapshot, metric, asked, against)
                fields["comparison"] = comparison_fields(_written(against), other, difference)
        return MetricValue.model_validate(fields)

    @router.get("/metrics/{name}/series", response_model=SeriesAnswer, response_model_exclude_unset=True)
    async def series(  # pyright: ignore[reportUnusedFunction]
        name: str,
        shared: Shared,
        step: Annotated[str, Query(description="Such as 1h, 6h, 1d, 1w or 1mo")] = "1d",
        zone: Annotated[str, Query(description="IANA time zone whose days, weeks and months count")] = "UTC",
    ) -> Any:
        """Give a metric step by step, by the calendar; first and last step are cut to the window."""
        asked = api.asked(shared)
        metric, tz = read_metric(name, asked), read_zone(zone)
        spans = read_steps(asked.window, step, tz, api.limits)
        async with api.snapshot() as snapshot:
            found = await api.points(snapshot, asked.question(metric, spans), unsuppress=asked.unsuppress)
            unknown = await _unknown(snapshot, asked)
        points = [
            PointValue.model_validate(
                {"from": instant(span.since), "to": instant(span.until), **value_fields(one)}
            )
            for span, one in zip(spans, found, strict=True)
        ]
        return SeriesAnswer(**api.about(asked, metric), **unknown, step=step, zone=tz.key, points=points)

    @router.get("/metrics/{name}/groups", response_model=GroupsAnswer, response_model_exclude_unset=True)
    async def groups(name: str, shared: Shared, by: By, compare: Compare = None) -> Any:  # pyright: ignore[reportUnusedFunction]
        """Give a metric for each value of a dimension, the worst first."""
        asked = api.asked(shared)
        metric, against = read_metric(name, asked), read_compare(compare, groups=True)
        api.refuse_previous(asked, against)
        differences: dict[str, Any] = {}
        async with api.snapshot(by, compare) as snapshot:
            question = asked.question(metric, by=by)
            found = await api.answers(snapshot, question, unsuppress=asked.unsuppress)
            unknown = await _unknown(snapshot, asked)
            if against is not None:
                compared = await api.compared_groups(snapshot, metric, asked, by, against)
                differences = {
                    key: comparison_fields(_written(against), *pair) for key, pair in compared.items()
                }
        answers: dict[str, Answer] = {key: one for (_, key), one in found.items() if key is not None}
        return GroupsAnswer(
            **api.about(asked, metric),
            **unknown,
            by=by,
            groups=[
                GroupValue.model_validate(
                    {"key": key, **value_fields(one)}
                    | ({"comparison": differences[key]} if key in differences else {})
                )
                for key, one in worst_first(metric, answers)
            ],
        )

    @router.get("/scorecard", response_model=Scorecard, response_model_exclude_unset=True)
    async def scorecard(shared: Shared) -> Any:  # pyright: ignore[reportUnusedFunction]
        """Give service beside experience and outcome metrics, over one window and from one snapshot."""
        asked = api.asked(shared)
        if asked.population is not Population.TRANSACTIONAL:
            raise parameter_problem("population", "the scorecard shows the transactional one")
        kinds: dict[str, list[MetricValue]] = {"service": [], "experience": [], "outcome": []}
        async with api.snapshot() as snapshot:
            found = await api.scorecard(snapshot, list(CATALOGUE.values()), asked)
            unknown = await _unknown(snapshot, asked)
        for metric, one in found:
            kinds[metric.kind].append(
                MetricValue.model_validate({**api.about(asked, metric), **unknown, **value_fields(one)})
            )
        return Scorecard.model_validate({**asked.frame(), **unknown, **kinds})

    return router


async def _unknown(snapshot: Snapshot, asked: Asked) -> dict[str, Any]:
    """Say which conditions name a value that was never seen, as a slip of the pen does."""
    return {"unknown_values": [_written(item) for item in await snapshot.unknown_values(asked.where)]}


def _written(against: str | Filter) -> str:
    return against if isinstance(against, str) else f"{against.dimension}:{against.value}"
