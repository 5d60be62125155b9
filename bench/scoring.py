"""Scoring from Kafka to committed PostgreSQL state with outputs acknowledged, beside Quix Streams counting.

The same records each time, in turns: Quix, one worker, two workers. Whoever is to run joins its group on empty
topics and is suspended; the log is written; the clock starts when it is let go (for Quix later still: at
its first record), and stops when the last offset is committed. So neither start-up nor rebalances nor the
producer are measured.
"""

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from bench import workload
from bench.backends import PARTITIONS, Backends, backends
from bench.broker import Written
from bench.holding import Run, held
from bench.installation import Installation
from bench.processes import BenchError, python, started, wait_until
from bench.report import Figure, Result, Target
from bench.workload import Workload

DATABASE = "bench"
RUN_WITHIN_S = 120.0
WARM_EVENTS = 24_000
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
    at = Installation(here, DATABASE, f"run-{time.monotonic_ns()}-")
    at.install()
    events = len(work.records)
    with at.workers(workers) as pids, held(here, at.group, pids, events, at.log, settle=at.settle) as let_go:
        here.broker.write(at.addressed(work.records))
        here.execute("CHECKPOINT", database=DATABASE)
        done = let_go(lambda: (None, at.committed(events, RUN_WITHIN_S)))
    at.check(work.documents or None)
    here.broker.delete_topics(at.prefix)
    return done


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
