"""Scoring from Kafka to committed PostgreSQL state with outputs acknowledged, beside Quix Streams counting.

The same records each time, in turns: Quix, one worker, two workers. Whoever is to run joins its group on empty
topics and is suspended; the log is written; the clock starts when it is let go, and stops when the last
offset is committed. So neither start-up nor rebalances nor the producer are measured.
"""

import asyncio
import importlib.util
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import asyncpg
from confluent_kafka import ConsumerGroupState, Producer
from confluent_kafka.admin import NewTopic

from bench import workload
from bench.backends import PARTITIONS, TIMEOUT_S, Backends, backends
from bench.processes import BenchError, cpu_seconds, end, python, run, started, wait_until
from bench.report import Figure, Result, Target
from bench.workload import Encoded, Workload
from cxloop_common.topics import DEAD_LETTERS, SCORES, SURVEYS, TICKETS, TOPICS

DATABASE = "bench"
RUN_WITHIN_S = 300.0
WARM_EVENTS = 12_000
TARGET = 1.0


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    events: int = 240_000
    repeats: int = 5
    span: timedelta = timedelta(hours=1)
    peer: bool = True
    workers: Sequence[int] = (1, 2)


QUICK = Plan(events=6_000, repeats=1, workers=(1,))


@dataclass(frozen=True)
class _Run:
    """One run over the whole log."""

    seconds: float
    events: int
    cpu_us: float
    """Of the processes under test, an event."""
    postgres_us: float
    kafka_us: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds


@dataclass
class _Side:
    name: str
    run: Callable[[Workload], _Run]
    runs: list[_Run] = field(default_factory=list[_Run])

    def figures(self) -> list[Figure]:
        shown = [
            Figure(self.name, "events/s", [run.per_second for run in self.runs]),
            Figure("  CPU, Python", "us/event", [run.cpu_us for run in self.runs]),
            Figure("  CPU, PostgreSQL", "us/event", [run.postgres_us for run in self.runs]),
            Figure("  CPU, Kafka", "us/event", [run.kafka_us for run in self.runs]),
        ]
        return shown


def measure(plan: Plan | None = None) -> Result:
    """Run the benchmark. Raises BenchError."""
    plan = plan or Plan()
    work = workload.make(plan.events, span=plan.span)
    with backends() as here:
        ours = [
            _Side(
                f"scoring, {workers} worker{'s' if workers > 1 else ''}",
                lambda given, workers=workers: _scoring(here, given, workers),
            )
            for workers in plan.workers
        ]
        peer = _Side("Quix Streams, count by 24 keys", lambda given: _quix(here, given))
        sides = [*([peer] if plan.peer else []), *ours]
        if plan.repeats > 1:
            warm = Workload(work.records[:WARM_EVENTS], 0)
            for side in sides:  # the broker's compiler, file caches
                side.run(warm)
        for _ in range(plan.repeats):
            for side in sides:
                side.runs.append(side.run(work))
    figures = [figure for side in sides for figure in side.figures()]
    targets: list[Target] = []
    if plan.peer:
        for side in ours:
            ratio = Figure(
                f"{side.name} / Quix Streams",
                "",
                [a.per_second / b.per_second for a, b in zip(side.runs, peer.runs, strict=True)],
            )
            figures.append(ratio)
            if side is ours[0]:
                targets.append(Target(ratio, "at least", TARGET))
    return Result(
        "scoring",
        f"{len(work.records):,} events of {work.mean_bytes:.0f} bytes and {work.documents:,} documents in "
        f"{PARTITIONS} partitions, {plan.repeats} rounds",
        figures,
        targets,
        ["Each run ends with every offset committed; documents and scores are counted afterwards."],
    )


def peer_missing() -> bool:
    """Whether Quix Streams is not installed."""
    return importlib.util.find_spec("quixstreams") is None


# Ours ---------------------------------------------------------------------------------------------------


def _scoring(here: Backends, work: Workload, workers: int) -> _Run:
    prefix = f"w{workers}-{time.monotonic_ns()}-"
    env = here.environment(database=DATABASE, prefix=prefix)
    here.execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    run(python("-m", "cxloop_common.topics", "create"), env=env)
    run(python("-m", "cxloop_scoring", "--role", "migrate"), env=env)
    with ExitStack() as running:
        log = here.folder / "scoring.log"
        processes = [
            running.enter_context(
                started(
                    python("-m", "cxloop_scoring", "--role", "worker"),
                    env={**env, "CXLOOP_SCORING_PORT": "0", "CXLOOP_SCORING_WORKER_SLOT": str(slot)},
                    log=log,
                )
            )
            for slot in range(workers)
        ]
        pids = [process.pid for process in processes]
        with _held(here, f"{prefix}cxloop-scoring", workers, pids, log) as let_go:
            _produce(here, work.records, lambda record: (prefix + record.topic.name, record.key))
            here.execute("CHECKPOINT", database=DATABASE)
            found = let_go(lambda: asyncio.run(_committed(here, prefix, len(work.records))), len(work.records))
    _check(here, work, prefix)
    names = [prefix + topic.name for topic in (*TOPICS, *DEAD_LETTERS.values())]
    here.delete_topics(dict.fromkeys(names))
    return found


async def _committed(here: Backends, prefix: str, records: int) -> float:
    """Wait until the committed offsets cover the log; give the time (monotonic) at which they do."""
    connection = await asyncpg.connect(here.url(DATABASE))
    deadline = time.monotonic() + RUN_WITHIN_S
    topics = [prefix + topic.name for topic in (TICKETS, SURVEYS)]
    try:
        while time.monotonic() < deadline:
            done = await connection.fetchval(
                "SELECT coalesce(sum(next_offset), 0) FROM scoring.offsets WHERE topic = ANY($1)", topics
            )
            if done >= records:
                return time.monotonic()
            await asyncio.sleep(0.01)
    finally:
        await connection.close()
    raise BenchError(f"{done} of {records} events were committed within {RUN_WITHIN_S:.0f} s")


def _check(here: Backends, work: Workload, prefix: str) -> None:
    """See that the run did its work: every document, no record parked, scores announced."""
    if not work.documents:
        return

    async def count() -> tuple[int, int]:
        connection = await asyncpg.connect(here.url(DATABASE))
        try:
            return (
                await connection.fetchval("SELECT count(*) FROM scoring.documents"),
                await connection.fetchval("SELECT count(*) FROM scoring.dead_letters"),
            )
        finally:
            await connection.close()

    documents, parked = asyncio.run(count())
    scores = here.log_end(prefix + SCORES.name)
    if documents != work.documents or parked or not scores:
        raise BenchError(f"{documents} of {work.documents} documents, {parked} parked, {scores} scores announced")


# The peer -----------------------------------------------------------------------------------------------


def _quix(here: Backends, work: Workload) -> _Run:
    name = f"quix-{time.monotonic_ns()}"
    for answer in here.admin().create_topics([NewTopic(name, PARTITIONS, 1)]).values():
        answer.result(TIMEOUT_S)
    log = here.folder / f"{name}.log"
    command = python(
        *("-m", "bench.quix_peer", here.kafka.bootstrap, name, name, str(len(work.records))),
        str(here.folder / name),
    )
    with started(command, env={}, log=log) as process:
        with _held(here, name, 1, [process.pid], log) as let_go:
            _produce(here, work.records, lambda record: (name, record.group))

            def committed() -> float:
                wait_until(lambda: "COMMITTED" in log.read_text(), "Quix Streams", log=log, within_s=RUN_WITHIN_S)
                return float(log.read_text().partition("COMMITTED ")[2].split()[0])

            found = let_go(committed, len(work.records))
    here.delete_topics(topic for topic in here.admin().list_topics().topics if name in topic)
    return found
