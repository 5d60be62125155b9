"""Answers against an oracle that knows raw events and the definitions, and nothing of this service's code."""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from cxloop_common.events import (
    CanonicalEventBase,
    SurveyResponded,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketReplied,
    TicketStatusChanged,
)
from cxloop_scoring.domain.answers import Answer, Sums, answer
from cxloop_scoring.domain.metrics import CATALOGUE
from cxloop_scoring.domain.questions import Filter, Population, Question
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store.questions import Questions

END = datetime(2026, 3, 20, 15, 47, 13, 250_000, tzinfo=UTC)
DAYS = 60
TEAMS = ["billing", "returns", "onboarding"]
SEGMENTS = ["smb", "enterprise"]
METRICS = {
    name: CATALOGUE[name]
    for name in (
        "nps",
        "csat",
        "ces",
        "first_response_time",
        "first_resolution_time",
        "full_resolution_time",
        "reopen_rate",
        "ticket_volume",
    )
}


def history(seed: int, size: int) -> list[CanonicalEventBase]:
    """Make tickets and responses of two months, with all that clocks must not be fooled by."""
    chance = random.Random(seed)  # noqa: S311 - test data
    events: list[CanonicalEventBase] = []

    def when(least: datetime, days: float) -> datetime:
        return least + timedelta(microseconds=chance.randrange(int(days * 86_400_000_000)))

    def fields(at: datetime, **more: Any) -> dict[str, Any]:
        return {"id": f"event-{chance.getrandbits(64):x}", "time": at, **more}

    for number in range(size):
        ticket = {"source": chance.choice(["zd", "ic"]), "ticket_id": str(number)}
        created = at = when(END - timedelta(days=DAYS), DAYS)
        events.append(
            TicketCreated(
                **fields(at, **ticket),
                channel=chance.choice(["email", "chat"]),
                created_by=chance.choice(["customer", "customer", "customer", "agent", "bot"]),
                dimensions={"segment": chance.choice(SEGMENTS)},
            )
        )
        for _ in range(chance.randrange(6)):
            author = chance.choice(["agent", "agent", "customer", "bot"])
            events.append(
                TicketReplied(
                    **fields(when(created, 2), **ticket),
                    message_id="m",
                    author=author,  # type: ignore[arg-type]
                    public=chance.random() < 0.7,
                )
            )
        for _ in range(chance.randrange(3)):
            team = chance.choice(TEAMS)
            events.append(TicketAssigned(**fields(when(created, 2), **ticket), team=team, agent=None))
        for _ in range(chance.randrange(5)):
            status = chance.choice(["open", "pending", "solved", "solved"])
            events.append(TicketStatusChanged(**fields(when(created, 3), **ticket), status=status))  # type: ignore[arg-type]
        if chance.random() < 0.05:
            events.append(TicketDeleted(**fields(when(created, 1), **ticket)))
    for number in range(size):
        at = when(END - timedelta(days=DAYS), DAYS)
        metric, top = chance.choice([("nps", 10), ("nps", 10), ("csat", 5), ("ces", 7)])
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            events.append(
                SurveyResponded(
                    **fields(at, source=chance.choice(["sm"])),
                    response_id=str(number),
                    metric=metric,  # type: ignore[arg-type]
                    score=chance.randint(0 if metric == "nps" else 1, top),
                    scale={"min": 0 if metric == "nps" else 1, "max": top},  # type: ignore[arg-type]
                    dimensions={"team": chance.choice(TEAMS), "segment": chance.choice(SEGMENTS)},
                    identifiers=()
                    if chance.random() < 0.1
                    else (f"email:c{chance.randrange(size // 3 + 1)}@example.com",),
                )
            )
            at = when(at, 1)
    return events


@dataclass
class Fact:
    """One thing the oracle counts."""

    value: float
    at: datetime
    team: str | None
    segment: str | None
    customer: str | None = None
    document: str = ""


@dataclass
class Oracle:
    """All facts by metric, from raw events."""

    facts: dict[str, list[Fact]] = field(default_factory=dict[str, list[Fact]])

    @classmethod
    def of(cls, events: Iterable[CanonicalEventBase]) -> "Oracle":
        oracle = cls({name: [] for name in METRICS})
        tickets: dict[tuple[str, str], list[Any]] = {}
        responses: dict[tuple[str, str], list[SurveyResponded]] = {}
        for event in events:
            if isinstance(event, SurveyResponded):
                responses.setdefault((event.source, event.response_id), []).append(event)
            else:
                ticket: Any = event
                tickets.setdefault((ticket.source, ticket.ticket_id), []).append(event)
        for of_one in tickets.values():
            oracle.ticket(sorted(of_one, key=lambda e: (e.time, e.id)))
        for edits in responses.values():
            last = max(edits, key=lambda e: (e.time, e.id))
            known = [e for e in sorted(edits, key=lambda e: (e.time, e.id)) if e.identifiers]
            customer = known[-1].identifiers[0] if known else None
            oracle.facts[last.metric].append(
                Fact(last.score, last.time, last.dimensions["team"], last.dimensions["segment"], customer)
            )
            oracle.facts[last.metric][-1].document = last.document
        return oracle

    def ticket(self, events: list[Any]) -> None:
        if any(isinstance(e, TicketDeleted) for e in events):
            return
        created = next(e for e in events if isinstance(e, TicketCreated))
        team = None
        for e in events:
            if isinstance(e, TicketAssigned):
                team = e.team
        segment = created.dimensions["segment"]

        def note(metric: str, value: float, at: datetime) -> None:
            self.facts[metric].append(Fact(value, at, team, segment))

        note("ticket_volume", 1, created.time)
        asked = [
            e.time for e in events if isinstance(e, TicketReplied) and e.public and e.author == "customer"
        ]
        if created.created_by == "customer":
            asked.append(created.time)
        if asked and created.created_by != "agent":
            answers = [
                e.time
                for e in events
                if isinstance(e, TicketReplied) and e.public and e.author == "agent" and e.time >= min(asked)
            ]
            if answers:
                note("first_response_time", (min(answers) - min(asked)).total_seconds(), min(answers))
        statuses = [e for e in events if isinstance(e, TicketStatusChanged)]
        solved = [e.time for e in statuses if e.status == "solved"]
        if solved:
            note("first_resolution_time", (solved[0] - created.time).total_seconds(), solved[0])
            reopened = any(e.status != "solved" and e.time > solved[0] for e in statuses)
            note("reopen_rate", float(reopened), solved[0])
            if statuses[-1].status == "solved":
                note("full_resolution_time", (solved[-1] - created.time).total_seconds(), solved[-1])


def value_of(metric: str, values: list[float]) -> float | None:
    n = len(values)
    if n == 0:
        return None
    formulas: dict[str, Callable[[], float]] = {
        "nps": lambda: 100 * (sum(v >= 9 for v in values) - sum(v <= 6 for v in values)) / n,
        "csat": lambda: 100 * sum(v >= 4 for v in values) / n,
        "ces": lambda: sum(values) / n,
        "reopen_rate": lambda: 100 * sum(values) / n,
        "ticket_volume": lambda: float(n),
    }
    return formulas.get(metric, lambda: median(values))()


def same(metric: str, found: Answer, values: list[float]) -> None:
    expected = value_of(metric, values)
    assert found.n == len(values), metric
    if expected is None or found.value is None:
        assert found.value == expected, metric
    elif metric.endswith("_time"):
        assert math.isclose(found.value, expected, rel_tol=0.01, abs_tol=0.001), metric
    else:
        assert math.isclose(found.value, expected, abs_tol=1e-9), metric


def micros(at: datetime) -> int:
    return round((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


async def ask(worker: Any, question: Question) -> dict[str | None, Answer]:
    found = await Questions(worker.database).sums(question)
    return {key: answer(question.metric, sums, unsuppress=True) for (_, key), sums in found.items()}


@pytest.fixture
async def filled(worker: Any) -> tuple[Any, Oracle]:
    events = history(seed=20, size=150)
    await worker.deliver(events, seed=4, largest=400)
    return worker, Oracle.of(events)


def windows() -> list[tuple[datetime, timedelta]]:
    chance = random.Random(5)  # noqa: S311 - test data
    found = [(END, timedelta(days=90)), (END.replace(minute=0, second=0, microsecond=0), timedelta(days=30))]
    for _ in range(25):
        at = END - timedelta(microseconds=chance.randrange(DAYS * 86_400_000_000))
        length = chance.choice(
            [timedelta(minutes=15), timedelta(hours=5), timedelta(days=3), timedelta(days=30)]
        )
        found.append((at, length))
    return found


async def test_every_metric_over_any_window_equals_the_oracle(filled: tuple[Any, Oracle]) -> None:
    worker, oracle = filled
    for at, length in windows():
        span = Span(micros(at - length), micros(at))
        for name, metric in METRICS.items():
            inside = [f.value for f in oracle.facts[name] if at - length <= f.at < at]
            found = await ask(worker, Question(metric, (span,)))
            same(name, found.get(None, answer(metric, Sums())), inside)


async def test_every_group_and_filter_equals_the_oracle(filled: tuple[Any, Oracle]) -> None:
    worker, oracle = filled
    everyone: Callable[[Fact], bool] = lambda _: True  # noqa: E731 - a table of conditions
    cases: list[tuple[tuple[Filter, ...], Callable[[Fact], bool]]] = [
        ((), everyone),
        ((Filter("team", "billing"),), lambda f: f.team == "billing"),
        (
            (Filter("team", "returns"), Filter("segment", "smb")),
            lambda f: f.team == "returns" and f.segment == "smb",
        ),
        ((Filter("team", "nobody"),), lambda _: False),
    ]
    for at, length in windows()[::4]:
        span = Span(micros(at - length), micros(at))
        for name, metric in METRICS.items():
            inside = [f for f in oracle.facts[name] if at - length <= f.at < at]
            for where, holds in cases:
                one = await ask(worker, Question(metric, (span,), where))
                same(name, one.get(None, answer(metric, Sums())), [f.value for f in inside if holds(f)])
                groups = await ask(worker, Question(metric, (span,), where, by="team"))
                for team in TEAMS:
                    values = [f.value for f in inside if holds(f) and f.team == team]
                    same(name, groups.get(team, answer(metric, Sums())), values)


async def test_relationship_nps_counts_the_latest_response_of_each_customer(
    filled: tuple[Any, Oracle],
) -> None:
    worker, oracle = filled
    metric = METRICS["nps"]
    for at, length in windows():
        latest: dict[str, Fact] = {}
        for fact in sorted(oracle.facts["nps"], key=lambda f: (f.at, f.document)):
            if at - length <= fact.at < at and fact.customer is not None:
                latest[fact.customer] = fact
        span = Span(micros(at - length), micros(at))
        found = await ask(worker, Question(metric, (span,), population=Population.RELATIONSHIP))
        same("nps", found.get(None, answer(metric, Sums())), [f.value for f in latest.values()])


async def test_a_series_adds_up_to_its_window(filled: tuple[Any, Oracle]) -> None:
    worker, oracle = filled
    edges = [END - timedelta(hours=7 * step) for step in range(30, -1, -1)]
    spans = tuple(Span(micros(a), micros(b)) for a, b in pairwise(edges))
    for name, metric in METRICS.items():
        found = await Questions(worker.database).sums(Question(metric, spans))
        for place, (since, until) in enumerate(pairwise(edges)):
            inside = [f.value for f in oracle.facts[name] if since <= f.at < until]
            same(name, answer(metric, found.get((place, None), Sums()), unsuppress=True), inside)


async def test_as_of_answers_what_was_known_then(worker: Any) -> None:
    events = history(seed=21, size=60)
    span = Span(micros(END - timedelta(days=90)), micros(END))
    worker.now = datetime(2026, 3, 21, 10, tzinfo=UTC)
    await worker.deliver(events[::2], seed=1, largest=50)
    worker.now = datetime(2026, 3, 21, 11, tzinfo=UTC)
    await worker.deliver(events[1::2], seed=2, largest=50)
    for minutes, known in ((-1, []), (30, events[::2]), (90, events)):
        as_of = datetime(2026, 3, 21, 10, tzinfo=UTC) + timedelta(minutes=minutes)
        # A ticket whose creation came later counts for nothing yet.
        created = {e.key for e in known if isinstance(e, TicketCreated)}
        oracle = Oracle.of(e for e in known if isinstance(e, SurveyResponded) or e.key in created)
        for name, metric in METRICS.items():
            found = await ask(worker, Question(metric, (span,), as_of=as_of))
            values = [f.value for f in oracle.facts[name] if f.at < END]
            same(name, found.get(None, answer(metric, Sums())), values)
