"""HTTP: parameters to questions, sums to answers. Nothing here decides what a metric means."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from cxloop_common.http import (
    Page,
    Paging,
    Problem,
    encode_cursor,
    parameter_problem,
    parse_instant,
    parse_window,
    require,
)
from cxloop_common.security import Scope
from cxloop_scoring.domain.answers import Answer, Sums, answer, largest_groups, worst_first
from cxloop_scoring.domain.documents import document_of
from cxloop_scoring.domain.facts import event_ids
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.metrics import ANSWERED, Metric
from cxloop_scoring.domain.questions import Filter, Population, Question
from cxloop_scoring.domain.windows import LONGEST_WINDOW_DAYS, Span, steps
from cxloop_scoring.presentation import (
    BANDS,
    CatalogueEntry,
    Explained,
    GroupsAnswer,
    GroupValue,
    MetricValue,
    PointValue,
    Scorecard,
    SeriesAnswer,
    Window,
    described,
    in_unit,
    response_card,
    ticket_card,
    value_fields,
)
from cxloop_scoring.store.explaining import BookedObservation, Explanations, HeldDocument
from cxloop_scoring.store.questions import Questions, UnknownDimensionError

_LONGEST = timedelta(days=LONGEST_WINDOW_DAYS)


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters that all questions share, read and checked."""

    window: Span
    where: tuple[Filter, ...]
    as_of: datetime | None
    population: Population
    unsuppress: bool

    def question(
        self, metric: Metric, spans: tuple[Span, ...] | None = None, by: str | None = None
    ) -> Question:
        """Ask this of a metric."""
        return Question(metric, spans or (self.window,), self.where, by, self.population, self.as_of)

    def frame(self) -> dict[str, Any]:
        """Repeat in the answer what was asked."""
        return {
            "window": Window.of(self.window),
            "where": [f"{item.dimension}:{item.value}" for item in self.where],
            "as_of": self.as_of,
        }


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
    window: Annotated[str, Query(description="Length, such as 15m, 24h, 30d; 90d at most")] = "30d",
    at: Annotated[str | None, Query(description="End of the window, excluded; now by default")] = None,
    as_of: Annotated[str | None, Query(description="Answer with what was known then")] = None,
    where: Annotated[list[str] | None, Query(description="dimension:value; repeats mean AND")] = None,
    population: Annotated[str | None, Query(description="nps: transactional or relationship")] = None,
    unsuppress: Annotated[bool, Query(description="Show values of fewer than 5 observations")] = False,
) -> SharedParameters:
    """Take the shared parameters from the query."""
    return SharedParameters(window, at, as_of, tuple(where or ()), population, unsuppress)


Shared = Annotated[SharedParameters, Depends(shared_parameters)]


class ScoringApi:
    """Answers for the routes below."""

    def __init__(
        self,
        questions: Questions,
        explanations: Explanations,
        now: Callable[[], datetime],
        transaction_timeout: timedelta,
        most_points: int,
    ) -> None:
        self._questions = questions
        self._explanations = explanations
        self._now = now
        self._transaction_timeout = transaction_timeout
        self._most_points = most_points

    def asked(self, shared: SharedParameters) -> Asked:
        """Read the shared parameters. Raises Problem 400 saying what is possible."""
        now = self._now()
        until = parse_instant(shared.at, parameter="at") if shared.at is not None else now
        length = parse_window(shared.window, longest=_LONGEST)
        if until - datetime.min.replace(tzinfo=until.tzinfo) < length:
            raise parameter_problem("at", "the window would begin before the year 1")
        return Asked(
            window=Span(microseconds(until - length), microseconds(until)),
            where=tuple(_filter(text) for text in shared.where),
            as_of=self._as_of(shared.as_of, now),
            population=_population(shared.population),
            unsuppress=shared.unsuppress,
        )

    def _as_of(self, text: str | None, now: datetime) -> datetime | None:
        if text is None:
            return None
        as_of = parse_instant(text, parameter="as_of")
        settled = now - self._transaction_timeout
        if as_of > settled:
            raise parameter_problem(
                "as_of",
                f"transactions of the last {self._transaction_timeout.total_seconds():g} s may still add to the "
                "answer; ask for an earlier time, or leave as_of out",
            )
        return as_of

    async def sums(self, question: Question) -> Mapping[tuple[int, str | None], Sums]:
        """Ask the store. Raises Problem 400 naming the dimensions where one is unknown."""
        try:
            return await self._questions.sums(question)
        except UnknownDimensionError as error:
            raise _unknown_dimension(error) from error

    async def value(self, metric: Metric, asked: Asked) -> Answer:
        """Answer with one value."""
        found = await self.sums(asked.question(metric))
        return answer(metric, found.get((0, None), Sums()), unsuppress=asked.unsuppress)

    def steps(self, window: Span, step: str) -> tuple[Span, ...]:
        """Cut a window. Raises Problem 400 for a step that is longer than the window or makes too many points."""
        length = int(parse_window(step, parameter="step", longest=_LONGEST) / timedelta(microseconds=1))
        points = -(-(window.until - window.since) // length)
        if length > window.until - window.since or points > self._most_points:
            raise parameter_problem(
                "step", f"choose one no longer than the window that gives at most {self._most_points} points"
            )
        return steps(window, length)

    async def dimensions(self) -> list[str]:
        """Name all dimensions there are."""
        return await self._questions.dimensions()

    async def explain(
        self, question: Question, limit: int, after: tuple[Any, ...] | None
    ) -> list[BookedObservation]:
        """List observations, one more than asked for where there are more."""
        position = None if after is None else (after[0], after[1], after[2])
        try:
            return await self._explanations.observations(question, limit, position)
        except UnknownDimensionError as error:
            raise _unknown_dimension(error) from error

    async def document(self, candidates: Sequence[str], kind: str) -> HeldDocument:
        """Read a document. Raises Problem 404."""
        held = await self._explanations.document(candidates)
        if held is None:
            raise Problem(
                404,
                detail=f"No {kind} of this id is known. Write {kind}:<source>:<id>, percent-encoded, "
                "or <source>:<id>.",
            )
        return held


def _unknown_dimension(error: UnknownDimensionError) -> Problem:
    return Problem(400, title="Unknown dimension", detail=f"Known dimensions: {', '.join(error.known)}.")


def _filter(text: str) -> Filter:
    dimension, colon, value = text.partition(":")
    if not colon or not dimension or not value:
        raise parameter_problem("where", "write dimension:value, such as team:billing")
    return Filter(dimension, value)


def _population(text: str | None) -> Population:
    try:
        return Population.TRANSACTIONAL if text is None else Population(text)
    except ValueError as error:
        raise parameter_problem("population", "it is transactional or relationship") from error


def _metric(name: str) -> Metric:
    metric = ANSWERED.get(name)
    if metric is None:
        raise Problem(400, title="Unknown metric", detail=f"This service answers: {', '.join(ANSWERED)}.")
    return metric


def _checked(metric: Metric, asked: Asked) -> None:
    if asked.population is Population.RELATIONSHIP and metric.name != "nps":
        raise parameter_problem("population", "only nps has a relationship population")


def _listing(metric: Metric, asked: Asked) -> str:
    parts = (metric.name, asked.window, asked.where, asked.population, asked.as_of)
    return "explain:" + hashlib.sha256(repr(parts).encode()).hexdigest()


def routes(api: ScoringApi) -> APIRouter:  # noqa: C901 - one short function a route
    """Give the routes of the service."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(require(Scope.READ))], tags=["metrics"])

    @router.get("/metrics", response_model=dict[str, list[CatalogueEntry]])
    async def catalogue() -> Any:
        """Describe all metrics."""
        dimensions = await api.dimensions()
        return {"items": [described(metric, dimensions) for metric in ANSWERED.values()]}

    @router.get("/metrics/{name}", response_model=MetricValue)
    async def value(name: str, shared: Shared) -> Any:
        """Give a metric over one window."""
        metric, asked = _metric(name), api.asked(shared)
        _checked(metric, asked)
        return _value(metric, asked, await api.value(metric, asked))

    @router.get("/metrics/{name}/series", response_model=SeriesAnswer)
    async def series(
        name: str, shared: Shared, step: Annotated[str, Query(description="Such as 1h or 1d")] = "1d"
    ) -> Any:
        """Give a metric step by step; the last step is shorter where the window is no multiple of it."""
        metric, asked = _metric(name), api.asked(shared)
        _checked(metric, asked)
        spans = api.steps(asked.window, step)
        found = await api.sums(asked.question(metric, spans))
        points = [
            PointValue.model_validate(
                {
                    "from": instant(span.since),
                    "to": instant(span.until),
                    **value_fields(
                        answer(metric, found.get((place, None), Sums()), unsuppress=asked.unsuppress)
                    ),
                }
            )
            for place, span in enumerate(spans)
        ]
        return SeriesAnswer(**_about(metric, asked), points=points)

    @router.get("/metrics/{name}/groups", response_model=GroupsAnswer)
    async def groups(
        name: str, shared: Shared, by: Annotated[str, Query(description="The dimension, such as team")]
    ) -> Any:
        """Give a metric for each value of a dimension, the worst first."""
        metric, asked = _metric(name), api.asked(shared)
        _checked(metric, asked)
        found = await api.sums(asked.question(metric, by=by))
        kept = largest_groups({key: sums for (_, key), sums in found.items() if key is not None})
        answers = {key: answer(metric, sums, unsuppress=asked.unsuppress) for key, sums in kept.items()}
        return GroupsAnswer(
            **_about(metric, asked),
            by=by,
            groups=[
                GroupValue.model_validate({"key": key, **value_fields(found)})
                for key, found in worst_first(metric, answers)
            ],
        )

    @router.get("/metrics/{name}/explain", response_model=Page[Explained])
    async def explain(name: str, shared: Shared, page: Paging) -> Any:
        """List the observations that add up to a value, in order of time."""
        metric, asked = _metric(name), api.asked(shared)
        _checked(metric, asked)
        listing = _listing(metric, asked)
        after = page.after(listing, datetime, str, int)
        rows = await api.explain(asked.question(metric), page.limit, after)
        shown, last = rows[: page.limit], rows[: page.limit][-1:]
        cursor = None
        if len(rows) > page.limit:
            cursor = encode_cursor((last[0].at, last[0].document, last[0].value), listing)
        return Page[Explained](
            items=[
                Explained(
                    document=row.document,
                    value=in_unit(metric, row.value),
                    band=None if row.band is None else BANDS[row.band],
                    at=row.at,
                    dimensions=row.dimensions,
                    event_ids=list(event_ids(row.facts)),
                    count=row.count,
                )
                for row in shown
            ],
            next_cursor=cursor,
        )

    @router.get("/scorecard", response_model=Scorecard)
    async def scorecard(shared: Shared) -> Any:
        """Give service metrics beside experience metrics, over one window."""
        asked = api.asked(shared)
        if asked.population is not Population.TRANSACTIONAL:
            raise parameter_problem("population", "the scorecard shows the transactional one")
        both: dict[str, list[MetricValue]] = {"service": [], "experience": []}
        for metric in ANSWERED.values():
            both[metric.kind].append(_value(metric, asked, await api.value(metric, asked)))
        return Scorecard.model_validate({**asked.frame(), **both})

    @router.get("/responses/{response_id:path}")
    async def response(response_id: str) -> dict[str, Any]:
        """Give a response: its score, its observations and its revision."""
        return response_card(await api.document(_candidates("response", response_id), "response"))

    @router.get("/tickets/{ticket_id:path}")
    async def ticket(ticket_id: str) -> dict[str, Any]:
        """Give a ticket: its clocks, its observations and its revision."""
        return ticket_card(await api.document(_candidates("ticket", ticket_id), "ticket"))

    return router


def _about(metric: Metric, asked: Asked) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "unit": metric.unit,
        "formula_version": metric.formula_version,
        "population": asked.population.value if metric.name == "nps" else None,
        **asked.frame(),
    }


def _value(metric: Metric, asked: Asked, found: Answer) -> MetricValue:
    return MetricValue.model_validate({**_about(metric, asked), **value_fields(found)})


def _candidates(kind: str, text: str) -> list[str]:
    """Read `<kind>:<source>:<id>` as it stands or with an id that is not percent-encoded, or `<source>:<id>`."""
    found = [text]
    whole = text.removeprefix(f"{kind}:")
    for spelling in (whole, text):
        source, colon, object_id = spelling.partition(":")
        if colon and source and object_id:
            found.append(document_of(kind, source, object_id))
    return list(dict.fromkeys(found))
