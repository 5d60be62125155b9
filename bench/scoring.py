"""Scoring from Kafka to committed PostgreSQL state with outputs acknowledged, beside Quix Streams counting.

The same records each time, in turns: Quix, one worker, two workers. Whoever is to run joins its group on empty
topics and is suspended; the log is written; the clock starts when it is let go (for Quix later still: at
its first record), and stops when the last offset is committed. So neither start-up nor rebalances nor the
producer are measured.
"""

import asyncio
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg

from bench import workload
from bench.backends import PARTITIONS, Backends, backends
from bench.broker import Written
from bench.holding import Run, held
from bench.processes import BenchError, python, run, started, wait_until
from bench.report import Figure, Result, Target
from bench.workload import Workload
from cxloop_common.topics import SCORES, SURVEYS, TICKETS

DATABASE = "bench"
RUN_WITHIN_S = 120.0
WARM_EVENTS = 24_000
POLL_S = 0.02
TARGET = 1.0


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    events: int = 240_000
    repeats: int = 5
    span: timedelta = timedelta(hours=1)
    """Time over which documents begin. A longer one means more buckets for us and more windows for the peer."""
    peer: bool = True
    workers: Sequence[int] = (1, 2)


QUICK = Plan(events=6_000, repeats=1, workers=(1,))


@dataclass
class _Side:
    name: str
    run: Callable[[Workload], Run]
    runs: list[Run] = field(default_factory=list[Run])

    def figures(self) -> list[Figure]:
        return [
            Figure(self.name, "events/s", [run.per_second for run in self.runs]),
            Figure("  CPU, its processes", "us/event", [run.consumer_us for run in self.runs]),
            Figure("  CPU, PostgreSQL", "us/event", [run.postgres_us for run in self.runs]),
            Figure("  CPU, Kafka", "us/event", [run.kafka_us for run in self.runs]),
        ]

    def beside(self, peer: "_Side") -> Figure:
        ratios = [a.per_second / b.per_second for a, b in zip(self.runs, peer.runs, strict=True)]
        return Figure(f"{self.name} / {peer.name}", "", ratios)


def measure(plan: Plan | None = None) -> Result:
    """Run the benchmark. Raises BenchError."""
    plan = plan or Plan()
    if plan.peer and importlib.util.find_spec("quixstreams") is None:
        raise BenchError(
            "Quix Streams is not installed: uv sync --group bench, or leave it out: --without-peers"
        )
    work = workload.make(plan.events, span=plan.span)
    with backends() as here:
        peer = _Side("Quix Streams, count by 24 keys", lambda given: _quix(here, given))
        ours = [
            _Side(
                f"scoring, {count} worker{'s'[: count - 1]}",
                lambda given, count=count: _scoring(here, given, count),
            )
            for count in plan.workers
        ]
        sides = [peer, *ours] if plan.peer else ours
        if plan.repeats > 1:
            for side in sides:  # the broker's compiler, file caches
                side.run(Workload(work.records[:WARM_EVENTS]))
        for _ in range(plan.repeats):
            for side in sides:
                side.runs.append(side.run(work))
    ratios = [side.beside(peer) for side in ours] if plan.peer else []
    return Result(
        "scoring",
        f"{len(work.records):,} events of {work.mean_bytes:.0f} bytes for {work.documents:,} documents, "
        f"{PARTITIONS} partitions, {plan.repeats} rounds",
        [*(figure for side in sides for figure in side.figures()), *ratios],
        [Target(ratio, "at least", TARGET) for ratio in ratios[:1]],
        ["Every run ended with all offsets committed, all documents stored and no record parked."],
    )


def _scoring(here: Backends, work: Workload, workers: int) -> Run:
    prefix = f"run-{time.monotonic_ns()}-"
    env = here.environment(database=DATABASE, prefix=prefix)
    here.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}")
    run(python("-m", "cxloop_common.topics", "create"), env=env)
    run(python("-m", "cxloop_scoring", "--role", "migrate"), env=env)
    log = here.folder / "scoring.log"
    with ExitStack() as running:
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
        with held(here, f"{prefix}cxloop-scoring", pids, len(work.records), log) as let_go:
            here.broker.write(_ours(work, prefix))
            here.execute("CHECKPOINT", database=DATABASE)
            done = let_go(lambda: (None, asyncio.run(_committed(here, prefix, len(work.records)))))
    asyncio.run(_check(here, work, prefix))
    here.broker.delete_topics(prefix)
    return done


def _ours(work: Workload, prefix: str) -> Iterator[Written]:
    for record in work.records:
        topic = prefix + record.topic.name
        yield Written(topic, record.key, record.value, record.headers, record.time_ms)


async def _committed(here: Backends, prefix: str, events: int) -> float:
    """Wait until the committed offsets cover the log; give the time (monotonic) at which they did."""
    deadline = time.monotonic() + RUN_WITHIN_S
    topics = [prefix + topic.name for topic in (TICKETS, SURVEYS)]
    connection = await asyncpg.connect(here.url(DATABASE))
    try:
        while True:
            done = await connection.fetchval(
                "SELECT coalesce(sum(next_offset), 0) FROM scoring.offsets WHERE topic = ANY($1)", topics
            )
            now = time.monotonic()
            if done >= events:
                return now
            if now > deadline:
                raise BenchError(f"{done} of {events} events were committed within {RUN_WITHIN_S:.0f} s")
            await asyncio.sleep(POLL_S)
    finally:
        await connection.close()


async def _check(here: Backends, work: Workload, prefix: str) -> None:
    """See that the run did its work. Raises BenchError."""
    connection = await asyncpg.connect(here.url(DATABASE))
    try:
        documents = await connection.fetchval("SELECT count(*) FROM scoring.documents")
        parked = await connection.fetchval("SELECT count(*) FROM scoring.dead_letters")
    finally:
        await connection.close()
    scores = here.broker.log_end(prefix + SCORES.name)
    wrong = work.documents and documents != work.documents
    if wrong or parked or not scores:
        raise BenchError(
            f"{documents} of {work.documents} documents, {parked} parked, {scores} scores announced"
        )


def _quix(here: Backends, work: Workload) -> Run:
    name = f"quix-{time.monotonic_ns()}"
    here.broker.create_topic(name, PARTITIONS)
    events = len(work.records)
    log = here.folder / f"{name}.log"
    state = here.folder / name

    def committed() -> tuple[float, float]:
        wait_until(lambda: "COMMITTED" in log.read_text(), "Quix Streams", log=log, within_s=RUN_WITHIN_S)
        began, ended, _ = log.read_text().partition("COMMITTED")[2].split()
        return float(began), float(ended)

    command = python("-m", "bench.quix_peer", here.kafka.bootstrap, name, str(events), str(state))
    with (
        started(command, env={}, log=log) as process,
        held(here, name, [process.pid], events, log) as let_go,
    ):
        here.broker.write(
            Written(name, record.group, record.value, record.headers, record.time_ms)
            for record in work.records
        )
        done = let_go(committed)
    here.broker.delete_topics(name)
    return done
