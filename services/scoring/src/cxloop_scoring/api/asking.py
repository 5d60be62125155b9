"""The way from a question to its answers: one snapshot, whatever plan a metric is read by."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from cxloop_common.http import Problem, parameter_problem
from cxloop_scoring.api.parameters import (
    PREVIOUS,
    REST,
    Asked,
    Limits,
    SharedParameters,
    read_shared,
    refuse_before_retention,
    unknown_dimension,
)
from cxloop_scoring.domain.answers import Answer, Sums, answer, largest_groups, shown
from cxloop_scoring.domain.comparing import Difference, compare, compare_many
from cxloop_scoring.domain.dimensions import OTHER
from cxloop_scoring.domain.metrics import Family, Metric, Plan
from cxloop_scoring.domain.questions import Filter, Question
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.statistics import Status
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store import meeting
from cxloop_scoring.store.explaining import Explanations
from cxloop_scoring.store.joined import joined_answers
from cxloop_scoring.store.questions import (
    GroupSums,
    Questions,
    SlowQuestionError,
    Snapshot,
    UnknownDimensionError,
)

Groups = dict[str | None, Sums]
"""Sums by group; None is the whole."""

_NOTHING = Answer(None, 0, None, Status.SUPPRESSED)
_RETRY_AFTER_S = "30"
"""Long enough for a burst of questions, or for a load that keeps the database busy, to pass."""
_SHARES = frozenset((Family.RATE, Family.TOP_BOX))


def before(window: Span) -> Span:
    """Give the window of equal length that ends where one begins."""
    return Span(2 * window.since - window.until, window.since)


class ScoringApi:
    """What the routes need."""

    def __init__(
        self,
        questions: Questions,
        explanations: Explanations,
        now: Callable[[], datetime],
        limits: Limits,
        rules: Callable[[], Rules],
    ) -> None:
        self.questions = questions
        self.explanations = explanations
        self.now = now
        self.limits = limits
        self.rules = rules

    def asked(self, shared: SharedParameters) -> Asked:
        """Read the shared parameters. Raises Problem 400 saying what is possible."""
        return read_shared(shared, self.limits, self.now())

    def about(self, asked: Asked, metric: Metric) -> dict[str, Any]:
        """Say which metric was asked for, and what of it; of amounts also the currency that they are in."""
        about = asked.about(metric)
        return about | {"currency": self.rules().costs.currency} if metric.family is Family.AMOUNT else about

    @asynccontextmanager
    async def snapshot(
        self, by: str | None = None, compare_with: str | None = None
    ) -> AsyncGenerator[Snapshot]:
        """Open a snapshot.

        Raises Problem 400 naming the parameter whose dimension is unknown, and 503 where the answer takes too long.
        """
        try:
            async with self.questions.snapshot() as snapshot:
                yield snapshot
        except UnknownDimensionError as error:
            raise unknown_dimension(error, by, compare_with) from error
        except SlowQuestionError as error:
            raise _too_slow(error) from error

    async def sums(self, snapshot: Snapshot, question: Question) -> GroupSums:
        """Add up what a question asks for; of shares that are joined, what they amount to as sums.

        Raises Problem 400 for a metric that is no share and is joined: its answer is not made of sums.
        """
        if question.metric.plan is not Plan.JOINED:
            return await snapshot.sums(question)
        if question.metric.family not in _SHARES:
            raise parameter_problem("name", f"{question.metric.name} cannot be taken apart or compared")
        found = await self._of_joined(snapshot, question)
        return {cell: _as_sums(one) for cell, one in found.items()}

    async def _of_joined(
        self, snapshot: Snapshot, question: Question
    ) -> Mapping[tuple[int, str | None], Answer]:
        (found,) = await joined_answers(snapshot.connection, [question], self.rules(), self.now())
        return found

    async def answers(
        self, snapshot: Snapshot, question: Question, *, unsuppress: bool
    ) -> dict[tuple[int, str | None], Answer]:
        """Answer a question by number of the span and group; groups are the 500 largest and `__other__`."""
        metric = question.metric
        if metric.plan is Plan.JOINED:
            joined = await self._of_joined(snapshot, question)
            return {cell: shown(found, unsuppress=unsuppress) for cell, found in joined.items()}
        found = await snapshot.sums(question)
        if question.by is not None:
            found = {(0, key): sums for key, sums in _kept(found).items()}
        return {cell: answer(metric, sums, unsuppress=unsuppress) for cell, sums in found.items()}

    async def points(self, snapshot: Snapshot, question: Question, *, unsuppress: bool) -> list[Answer]:
        """Answer for each span of a question, in their order."""
        found = await self.answers(snapshot, question, unsuppress=unsuppress)
        empty = nothing(question.metric)
        return [found.get((place, None), empty) for place in range(len(question.spans))]

    async def rows_that_meet(self, snapshot: Snapshot, question: Question) -> meeting.Asked | None:
        """Prepare to read rows of several documents; None where a filter's value was never seen."""
        return await meeting.asked_of(snapshot.connection, [question], self.rules(), self.now())

    async def scorecard(
        self, snapshot: Snapshot, metrics: Sequence[Metric], asked: Asked
    ) -> list[tuple[Metric, Answer]]:
        """Answer for several metrics over one window; those that are made of sums are read together."""
        summed = [metric for metric in metrics if metric.plan is not Plan.JOINED]
        found = await snapshot.all_sums([asked.question(metric) for metric in summed])
        answers = {
            metric.name: answer(metric, sums.get((0, None), Sums()), unsuppress=asked.unsuppress)
            for metric, sums in zip(summed, found, strict=True)
        }
        meeting_ones = [metric for metric in metrics if metric.plan is Plan.JOINED]
        joined = await joined_answers(
            snapshot.connection,
            [asked.question(metric) for metric in meeting_ones],
            self.rules(),
            self.now(),
        )
        for metric, cells in zip(meeting_ones, joined, strict=True):
            one = cells.get((0, None), nothing(metric))
            answers[metric.name] = shown(one, unsuppress=asked.unsuppress)
        return [(metric, answers[metric.name]) for metric in metrics]

    def refuse_previous(self, asked: Asked, against: str | Filter | None) -> None:
        """Raise Problem 400 where the window before is asked for and not kept any more."""
        if against == PREVIOUS:
            refuse_before_retention("compare", before(asked.window), self.limits, asked.now)

    async def compared(
        self, snapshot: Snapshot, metric: Metric, asked: Asked, against: str | Filter
    ) -> tuple[Answer, Difference | None]:
        """Compare a value with the window before, or with another value of a dimension."""
        now = (await self.sums(snapshot, asked.question(metric))).get((0, None), Sums())
        then = (await self.sums(snapshot, _other(metric, asked, against, None))).get((0, None), Sums())
        found = compare(metric, now, then, unsuppress=asked.unsuppress)
        return answer(metric, then, unsuppress=asked.unsuppress), found

    async def compared_groups(
        self, snapshot: Snapshot, metric: Metric, asked: Asked, by: str, against: str | Filter
    ) -> dict[str, tuple[Answer, Difference | None]]:
        """Compare each group with itself in the window before, with one value, or with all other groups.

        The group that is compared with has no comparison of its own.
        """
        groups = _kept(await self.sums(snapshot, asked.question(metric, by=by)))
        pairs: dict[str, tuple[Sums, Sums]] = {}
        if against == REST:
            for key, sums in groups.items():
                rest = Sums()
                for other, theirs in groups.items():
                    if other != key:
                        rest.add(theirs)
                pairs[key] = sums, rest
        elif isinstance(against, Filter):
            one = (await self.sums(snapshot, _other(metric, asked, against, None))).get((0, None), Sums())
            own = against.value if against.dimension == by else None
            pairs = {key: (sums, one) for key, sums in groups.items() if key != own}
        else:
            earlier = await self.sums(snapshot, _other(metric, asked, against, by))
            then = {key: sums for (_, key), sums in earlier.items() if key is not None}
            kept = {key: then.pop(key, Sums()) for key in groups}
            for rest in then.values():
                if OTHER in kept:
                    kept[OTHER].add(rest)
            pairs = {key: (sums, kept[key]) for key, sums in groups.items()}
        found = compare_many(metric, pairs, unsuppress=asked.unsuppress)
        return {
            key: (answer(metric, then, unsuppress=asked.unsuppress), found.get(key))
            for key, (_, then) in pairs.items()
        }


def _too_slow(error: SlowQuestionError) -> Problem:
    return Problem(
        503,
        detail=f"The answer was given up, for it took longer than {error.limit_s:g} s. Ask for a shorter window, "
        "or ask again later.",
        errors=[{"parameter": "window", "detail": "ask for a shorter one"}],
        headers={"Retry-After": _RETRY_AFTER_S},
    )


def nothing(metric: Metric) -> Answer:
    """Give the answer for a span of which nothing is known."""
    return _NOTHING if metric.plan is Plan.JOINED else answer(metric, Sums())


def _as_sums(found: Answer) -> Sums:
    share = 0 if found.value is None else round(found.value * found.n / 100)
    return Sums(n=found.n, sum=share, high=share)


def _kept(found: GroupSums) -> dict[str, Sums]:
    return largest_groups({key: sums for (_, key), sums in found.items() if key is not None})


def _other(metric: Metric, asked: Asked, against: str | Filter, by: str | None) -> Question:
    if isinstance(against, Filter):
        rest = tuple(item for item in asked.where if item.dimension != against.dimension)
        return asked.question(metric, where=(*rest, against))
    return asked.question(metric, [before(asked.window)], by)
