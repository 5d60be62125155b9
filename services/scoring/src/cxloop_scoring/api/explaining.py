"""What a value is made of, and what changed it afterwards."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Query

from cxloop_common.http import Page, Paging, encode_cursor, parameter_problem
from cxloop_common.http.paging import CursorValue
from cxloop_scoring.api.asking import ScoringApi
from cxloop_scoring.api.parameters import (
    Asked,
    Shared,
    SharedParameters,
    read_metric,
    settled_instant,
)
from cxloop_scoring.domain.answers import Answer, Sums, answer
from cxloop_scoring.domain.cases import CASE
from cxloop_scoring.domain.facts import Facts, event_ids
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.joined.verdicts import Met
from cxloop_scoring.domain.metrics import Family, Metric, MetricNumber, Plan
from cxloop_scoring.domain.questions import BOOKED_AHEAD, Population
from cxloop_scoring.domain.statistics import Status
from cxloop_scoring.presentation import (
    BANDS,
    Believed,
    ChangedObservation,
    Explained,
    MetDocument,
    RestatedChange,
    Restatements,
    deliveries_of,
    in_unit,
    name_of,
    rounded,
)
from cxloop_scoring.store.explaining import BookedObservation, explained_numbers
from cxloop_scoring.store.listing import Position
from cxloop_scoring.store.restating import ChangedRow, Restatement, restatements

_OF_N_ALONE: Final = frozenset((MetricNumber.FIRST_RESOLUTION_TIME, MetricNumber.CASE_OPENED))
"""Whose observations only say, where documents meet, what there is a share of."""


def explaining_routes(api: ScoringApi) -> APIRouter:
    """Give the routes."""
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics/{name}/explain", response_model=Page[Explained])
    async def explain(name: str, shared: Shared, page: Paging) -> Any:  # pyright: ignore[reportUnusedFunction]
        """List the observations that add up to a value, in order of time.

        Of a backlog these are the open tickets. Where documents meet, each observation says what it adds to `n`
        and to the numerator, why, and by which other documents.
        """
        listing = _listing("explain", name, shared)
        asked, position = _paged(api, shared, page.after(listing, datetime, datetime, str, int, int))
        metric, after = read_metric(name, asked), cast("Position | None", position)
        async with api.snapshot() as snapshot:
            rows, more = await api.explanations.observations(
                snapshot, asked.question(metric), page.limit, after, api.rules().costs.currency
            )
        return Page[Explained](
            items=[_explained(metric, row) for row in rows],
            next_cursor=_next(asked, rows[-1].position, listing) if more else None,
        )

    @router.get("/metrics/{name}/restatements", response_model=Restatements)
    async def restated(  # pyright: ignore[reportUnusedFunction]
        name: str,
        shared: Shared,
        page: Paging,
        since: Annotated[str, Query(description="The moment of knowledge to start from")],
    ) -> Any:
        """Give a value as it was believed at a moment, as it is now, and every change recorded between."""
        listing = _listing(f"restatements:{since}", name, shared)
        asked, position = _paged(api, shared, page.after(listing, datetime, datetime, str))
        metric, after = read_metric(name, asked), cast("tuple[datetime, str] | None", position)
        known_at = settled_instant(since, "since", api.limits, asked.now)
        _restatable(metric, asked, known_at)
        async with api.snapshot() as snapshot:
            found = await restatements(snapshot, asked.question(metric), known_at, page.limit, after)
        believed, now, before = (
            _answer(metric, sums, asked) for sums in (found.believed, found.now, found.before)
        )
        items: list[RestatedChange] = []
        for change in found.changes:
            value = _answer(metric, change.after, asked)
            items.append(_change(change, before, value))
            before = value
        cursor = None
        if found.more and items:
            cursor = _next(asked, (items[-1].recorded_at, items[-1].document), listing)
        return Restatements(
            **asked.about(metric),
            since=known_at,
            believed=Believed(value=rounded(believed.value), n=believed.n),
            now=Believed(value=rounded(now.value), n=now.n),
            difference=_effect(believed, now),
            items=items,
            next_cursor=cursor,
        )

    return router


def _listing(kind: str, name: str, shared: SharedParameters) -> str:
    return "metrics:" + hashlib.sha256(repr((kind, name, shared)).encode()).hexdigest()


def _paged(
    api: ScoringApi, shared: SharedParameters, place: tuple[Any, ...] | None
) -> tuple[Asked, tuple[Any, ...] | None]:
    """Give what is asked and the position to go on after; all pages have the window of the first one.

    Without `at` a window ends now, which is another one with each page: so a cursor holds its end as well.
    """
    if place is None:
        return api.asked(shared), None
    until: datetime = place[0]
    return api.asked(replace(shared, at=until.isoformat())), place[1:]


def _next(asked: Asked, position: tuple[CursorValue, ...], listing: str) -> str:
    return encode_cursor((instant(asked.window.until), *position), listing)


def _explained(metric: Metric, row: BookedObservation) -> Explained:
    events = list(event_ids(row.facts))
    return Explained(
        document=row.document,
        metric=name_of(row.metric),
        counts="n" if _of_n_alone(metric, row.metric) else "value",
        value=in_unit(row.metric, row.value),
        band=None if row.band is None else BANDS[row.band],
        at=row.at,
        dimensions=row.dimensions,
        event_ids=events,
        deliveries=_deliveries(row.document, events),
        count=row.count,
        **_verdict(metric, row),
    )


def _of_n_alone(metric: Metric, number: int) -> bool:
    if metric.plan is Plan.JOINED:
        return number in _OF_N_ALONE
    return metric.plan is Plan.SHARE_OF and number == explained_numbers(metric)[0] != metric.number


def _verdict(metric: Metric, row: BookedObservation) -> dict[str, Any]:
    verdict = row.verdict
    if verdict is None:
        return {}
    hits = verdict.hits * row.count
    return {
        "n": verdict.n * row.count,
        "hits": hits / 100 if metric.family is Family.AMOUNT else hits,
        "reason": verdict.reason,
        "arm": verdict.arm,
        "by": [_met(one, facts) for one, facts in zip(verdict.by, row.met, strict=True)],
    }


def _met(one: Met, facts: Facts) -> MetDocument:
    events = list(event_ids(facts))
    return MetDocument(
        role=one.role,
        document=one.document,
        at=instant(one.at),
        value=None if one.metric is None or one.value is None else in_unit(one.metric, one.value),
        band=None if one.band is None else BANDS[one.band],
        event_ids=events,
        deliveries=_deliveries(one.document, events),
    )


def _deliveries(document: str, events: Sequence[str]) -> list[str]:
    return [] if document.startswith(CASE) else deliveries_of(events)


def _restatable(metric: Metric, asked: Asked, known_at: datetime) -> None:
    """Refuse what has no changes that add up. Raises Problem 400."""
    if metric.plan is Plan.JOINED:
        raise parameter_problem(
            "name", "its observations meet across documents, so no change has an effect of its own; use as_of"
        )
    if asked.population is Population.RELATIONSHIP:
        raise parameter_problem("population", "restatements are told of the transactional one")
    if asked.as_of is not None:
        raise parameter_problem("as_of", "restatements tell of now; leave it out")
    if metric.number in BOOKED_AHEAD and asked.window.until > microseconds(known_at):
        raise parameter_problem(
            "since", f"{metric.name} changes with time alone; give a window that had ended by then"
        )


def _answer(metric: Metric, sums: Sums, asked: Asked) -> Answer:
    found = answer(metric, sums, unsuppress=asked.unsuppress)
    # A window that empties has no value rather than a withheld one.
    return answer(metric, sums, unsuppress=True) if not sums.n else found


def _effect(before: Answer, after: Answer) -> float | None:
    """Give a difference of shown figures in decimals, so that effects add up to the last digit shown."""
    figures: list[Decimal] = []
    for found in (after, before):
        if found.value is None and found.status is Status.SUPPRESSED and found.n:
            return None
        figures.append(Decimal(repr(rounded(found.value) or 0.0)))
    return float(figures[0] - figures[1])


def _change(change: Restatement, before: Answer, after: Answer) -> RestatedChange:
    events = list(event_ids(change.facts))
    return RestatedChange(
        document=change.document,
        recorded_at=change.recorded_at,
        withdrawn=[_changed(row) for row in change.rows if row.sign < 0],
        booked=[_changed(row) for row in change.rows if row.sign > 0],
        event_ids=events,
        deliveries=deliveries_of(events),
        value=rounded(after.value),
        n=after.n,
        effect=_effect(before, after),
    )


def _changed(row: ChangedRow) -> ChangedObservation:
    return ChangedObservation(
        metric=name_of(row.metric),
        value=in_unit(row.metric, row.value),
        band=None if row.band is None else BANDS[row.band],
        at=row.at,
        dimensions=row.dimensions,
    )
