"""Answers of scoring's API over three months of history, and what that history takes on disk.

The workers themselves make the history, so documents, ledger and buckets are what they are in production. Then
one client asks one question after the other over one connection, each kind in its turn, at ends of the window
that fall on no full hour. The ceiling is what the same application and database cannot go below: `/healthz`,
and the one indexed SELECT behind a 30-day value, sent by a bare client.
"""

import asyncio
import http.client
import itertools
import json
import random
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from bench import history
from bench.backends import backends
from bench.installation import TOKEN, Installation
from bench.load import LOOPBACK, quantile
from bench.processes import BenchError
from bench.report import Figure, Result, Target
from bench.workload import Encoded
from cxloop_common.events.base import rfc3339

FILL_WITHIN_S = 600.0
PIECE = 100_000
HEAVY_EVERY = 5
"""A question that may take long is asked in one of so many rounds."""
BUDGET_MS, AT_LEAST = 6_000.0, 10
"""A kind that has used up so much time in a repeat, and was asked so often, is asked no more in it."""
TABLES = ("documents", "ledger", "bucket_hour", "bucket_day")
_VALUE = """
    SELECT sum(n), sum(sum), sum(low), sum(middle), sum(high) FROM bucket_day
    WHERE metric = 1 AND dimension = 0 AND at >= $1 AND at < $2
"""
HEALTH, SELECT = "/healthz of the same process", "one indexed SELECT, a bare client"


@dataclass(frozen=True)
class Plan:
    """How much history, and how many questions."""

    responses: int = 1_000_000
    tickets: int = 100_000
    repeats: int = 5
    rounds: int = 100
    workers: int = 2


QUICK = Plan(responses=3_000, tickets=500, repeats=1, rounds=10, workers=1)


@dataclass(frozen=True)
class Kind:
    """One kind of question; `limit_ms` is what its 99th percentile should stay under."""

    name: str
    path: str
    limit_ms: float | None = None
    heavy: bool = False


KINDS = (
    Kind("a 30-day value", "/v1/metrics/nps?window=30d", 10),
    Kind("a 30-day value of one team", "/v1/metrics/nps?window=30d&where=team:team-3"),
    Kind("a 90-day series by day", "/v1/metrics/nps/series?window=90d&step=1d", 25),
    Kind("30 days by 60 agents", "/v1/metrics/nps/groups?window=30d&by=agent", 25),
    Kind("a page of explain, 50 of 30 days", "/v1/metrics/nps/explain?window=30d&limit=50", 25),
    Kind("relationship NPS, 30 days", "/v1/metrics/nps?window=30d&population=relationship", 250, heavy=True),
    Kind("relationship NPS, 90 days", "/v1/metrics/nps?window=90d&population=relationship", heavy=True),
    Kind("a 30-day median of durations", "/v1/metrics/first_response_time?window=30d"),
    Kind("first contact resolution, 30 days", "/v1/metrics/first_contact_resolution?window=30d", heavy=True),
    Kind("repeat contact rate, 30 days", "/v1/metrics/repeat_contact_rate?window=30d", heavy=True),
    Kind("backlog", "/v1/metrics/backlog?window=30d", heavy=True),
    Kind("the scorecard, 30 days", "/v1/scorecard?window=30d", heavy=True),
)


@dataclass
class _Took:
    """Times of one kind in milliseconds, by repeat."""

    rounds: list[list[float]] = field(default_factory=list[list[float]])

    def figures(self, name: str) -> tuple[Figure, Figure]:
        return (
            Figure(f"{name}, p50", "ms", [quantile(took, 0.5) for took in self.rounds]),
            Figure(f"{name}, p99", "ms", [quantile(took, 0.99) for took in self.rounds]),
        )


def measure(plan: Plan | None = None) -> Result:
    """Run the benchmark. Raises BenchError."""
    plan = plan or Plan()
    until = history.end()
    with backends() as here:
        at = Installation(here, "bench", "questions-")
        at.install()
        before = at.wal_bytes()
        fill(at, history.responses(plan.responses, until), plan.responses, plan.workers)
        written = at.wal_bytes() - before
        at.check(plan.responses)
        at.execute("VACUUM ANALYZE")
        stored = _stored(at, plan.responses)
        fill(at, history.tickets(plan.tickets, until), plan.tickets * history.EVENTS_A_TICKET, plan.workers)
        at.check(plan.responses + plan.tickets)
        at.execute("VACUUM ANALYZE", "CHECKPOINT")
        with at.api() as port:
            took = asyncio.run(_ask(at, port, plan, until))
    figures: list[Figure] = []
    targets: list[Target] = []
    for kind in KINDS:
        if kind.name in took:
            p50, p99 = took[kind.name].figures(kind.name)
            figures += [p50, p99]
            if kind.limit_ms is not None:
                targets.append(Target(p99, "under", kind.limit_ms))
    for name in (HEALTH, SELECT):
        figures += took[name].figures(name)
    return Result(
        "questions",
        f"{plan.responses:,} responses and {plan.tickets:,} tickets of {history.DAYS} days, "
        f"{plan.repeats} repeats of {plan.rounds} rounds, one client",
        [
            *figures,
            _beside_ceiling(took),
            *stored,
            Figure("write-ahead log of a response", "bytes", [written / plan.responses]),
        ],
        targets,
        [
            "The whole history was read by the workers from Kafka; the series over 90 days counts every response.",
            "Sizes are after VACUUM, with indexes, and before the tickets came.",
        ],
    )


def fill(at: Installation, records: Iterator[Encoded], events: int, workers: int) -> None:
    """Let workers read records that are written at the same time. Raises BenchError."""
    done = at.done()
    with at.workers(workers):
        while piece := list(itertools.islice(records, PIECE)):
            at.here.broker.write(at.addressed(piece))
        at.committed(done + events, FILL_WITHIN_S)


def _stored(at: Installation, responses: int) -> list[Figure]:
    sizes = {table: at.stored_bytes(table) for table in TABLES}
    figures = [
        Figure(f"{table}: {part}", "bytes a response", [size / responses])
        for table, both in sizes.items()
        for part, size in zip(("rows", "indexes"), both, strict=True)
    ]
    total = sum(map(sum, sizes.values()))
    return [*figures, Figure("stored in all", "bytes a response", [total / responses])]


def _beside_ceiling(took: dict[str, _Took]) -> Figure:
    ratios = [
        quantile(value, 0.5) / (quantile(health, 0.5) + quantile(select, 0.5))
        for value, health, select in zip(
            took[KINDS[0].name].rounds, took[HEALTH].rounds, took[SELECT].rounds, strict=True
        )
    ]
    return Figure("a 30-day value / (/healthz + SELECT), p50", "", ratios)


class _Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
        self._headers = {"Authorization": f"Bearer {TOKEN}"}

    def get(self, path: str) -> tuple[float, Any]:
        """Give the milliseconds that an answer took, and the answer. Raises BenchError."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        took = (time.perf_counter() - began) * 1000
        if answer.status != http.client.OK:
            raise BenchError(f"GET {path} answered {answer.status}: {body[:300]!r}")
        return took, json.loads(body)

    def close(self) -> None:
        self._connection.close()


async def _ask(at: Installation, port: int, plan: Plan, until: datetime) -> dict[str, _Took]:
    connection = await at.connect()
    client = _Client(port)
    try:
        known = {item["name"] for item in client.get("/v1/metrics")[1]["items"]}
        kinds = [kind for kind in KINDS if _metric(kind) in known | {None}]
        _check(client, plan, until)
        took = {name: _Took() for name in (*(kind.name for kind in kinds), HEALTH, SELECT)}
        ends = _ends(until)
        await _rounds(client, connection, kinds, took, itertools.islice(ends, HEAVY_EVERY))  # warm
        for one in took.values():
            one.rounds.clear()
        for _ in range(plan.repeats):
            await _rounds(client, connection, kinds, took, itertools.islice(ends, plan.rounds))
    finally:
        client.close()
        await connection.close()
    return took


async def _rounds(
    client: _Client,
    connection: asyncpg.Connection,
    kinds: Iterable[Kind],
    took: dict[str, _Took],
    ends: Iterable[datetime],
) -> None:
    """Ask each kind once a round, and note the times as one repeat."""
    for one in took.values():
        one.rounds.append([])
    for number, end in enumerate(ends):
        text = urllib.parse.quote(rfc3339(end))
        for kind in kinds:
            so_far = took[kind.name].rounds[-1]
            spent = sum(so_far) > BUDGET_MS and len(so_far) >= AT_LEAST
            if not spent and (not kind.heavy or number % HEAVY_EVERY == 0):
                so_far.append(client.get(f"{kind.path}&at={text}")[0])
        took[HEALTH].rounds[-1].append(client.get("/healthz")[0])
        day = int(end.timestamp()) // 86_400
        began = time.perf_counter()
        await connection.fetchrow(_VALUE, day - 30, day)
        took[SELECT].rounds[-1].append((time.perf_counter() - began) * 1000)


def _metric(kind: Kind) -> str | None:
    """Give the metric that a question names; None for the scorecard."""
    parts = urllib.parse.urlsplit(kind.path).path.split("/")
    return parts[3] if parts[2] == "metrics" else None


def _check(client: _Client, plan: Plan, until: datetime) -> None:
    """See that every response is in the answer. Raises BenchError."""
    text = urllib.parse.quote(rfc3339(until))
    _, answer = client.get(f"/v1/metrics/nps/series?window={history.DAYS}d&step=1d&at={text}")
    found = sum(point["n"] for point in answer["points"])
    if found != plan.responses:
        raise BenchError(f"the answer counts {found} of {plan.responses} responses")


def _ends(until: datetime) -> Iterator[datetime]:
    """Give ends of windows within the last day, none on a full hour or day."""
    chance = random.Random(5)  # noqa: S311 the same questions for every run, not a secret
    while True:
        yield until - timedelta(seconds=chance.uniform(1, 86_399))
