"""Memory of each process and of the broker: after the start, and after a while of steady load.

And of one scoring worker while it reads a million events as fast as it can: what it keeps must not grow with
what it has read. Pages that processes share are counted once (PSS) where the system tells; PostgreSQL is all its
processes.
"""

import itertools
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import history, load
from bench.backends import backends
from bench.installation import Installation
from bench.processes import BenchError, memory_mib, tree
from bench.report import Figure, Result
from bench.whole import Whole, whole

CONNECTIONS = 16
SETTLE_S = 5.0
SAMPLE_S = 0.5
READ_WITHIN_S = 600.0
PIECE = 100_000


@dataclass(frozen=True)
class Plan:
    """How much load to give."""

    seconds: float = 60.0
    per_second: float = 200.0
    worker_events: int = 1_000_000


QUICK = Plan(seconds=2.0, worker_events=10_000)


def measure(plan: Plan | None = None) -> Result:
    """Run the benchmark. Raises BenchError."""
    plan = plan or Plan()
    with whole() as here:
        time.sleep(SETTLE_S)
        idle = _memory(here)
        messages = here.messages(0, int(plan.per_second * plan.seconds))
        done = load.run_loop(
            load.pace(
                here.stack.ports["ingest"],
                messages,
                per_second=plan.per_second,
                connections=CONNECTIONS,
                on_answered=lambda _index, _at: None,
            )
        )
        if done.refused:
            raise BenchError(f"not every webhook was accepted: {done.refused}")
        loaded = _memory(here)
    figures: list[Figure] = []
    for moment, found in (("at rest", idle), ("after load", loaded)):
        figures += [Figure(f"{name}, {moment}", "MiB", [mib]) for name, mib in found.items()]
        figures.append(Figure(f"all together, {moment}", "MiB", [sum(found.values())]))
    return Result(
        "memory",
        f"the whole product under {plan.per_second:g} survey webhooks/s for {plan.seconds:g} s; then a "
        f"scoring worker alone that reads {plan.worker_events:,} events",
        [*figures, *_worker(plan.worker_events)],
        notes=["The broker's heap is bounded at 384 MiB; the rest of it is the Java machine itself."],
    )


def _memory(here: Whole) -> dict[str, float]:
    services = {name: memory_mib(tree(here.stack.pid(name))) for name in here.stack.services}
    return {
        **services,
        "Kafka": memory_mib(tree(here.kafka.pid)),
        "PostgreSQL": memory_mib(tree(here.postgres.pid)),
    }


@dataclass(frozen=True)
class _Sample:
    """Memory when so many events were committed."""

    events: int
    mib: float


class _Sampler(threading.Thread):
    """Notes a worker's memory until ended."""

    def __init__(self, at: Installation, pid: int) -> None:
        super().__init__(name="sampler", daemon=True)
        self.samples: list[_Sample] = []
        self._at = at
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        """Take samples."""
        while not self._ended.wait(SAMPLE_S):
            self.samples.append(_Sample(self._at.done(), memory_mib([self._pid])))

    def end(self) -> None:
        """Take no more samples."""
        self._ended.set()
        self.join()


def _worker(events: int) -> list[Figure]:
    """Let one worker read a history, and give its memory on the way. Raises BenchError."""
    records = history.responses(events, history.end())
    with backends() as here:
        at = Installation(here, "bench", "memory-")
        at.install()
        while piece := list(itertools.islice(records, PIECE)):
            here.broker.write(at.addressed(piece))
        with at.workers(1, snapshot_s=30) as pids:
            sampler = _Sampler(at, pids[0])
            sampler.start()
            try:
                at.committed(events, READ_WITHIN_S)
            finally:
                sampler.end()
            last = _Sample(events, memory_mib(pids))
        at.check(events)
    samples = [*(sample for sample in sampler.samples if sample.events), last]
    tenth = next(sample for sample in samples if sample.events >= events / 10)
    half = next(sample for sample in samples if sample.events >= events / 2)
    return [
        Figure("scoring worker after a tenth of its events", "MiB", [tenth.mib]),
        Figure("scoring worker after half of them", "MiB", [half.mib]),
        Figure("scoring worker after all of them", "MiB", [last.mib]),
        Figure("scoring worker, most", "MiB", [max(sample.mib for sample in samples)]),
        Figure("its growth over the second half", "MiB per 100,000 events", [_slope(samples, events / 2)]),
    ]


def _slope(samples: Sequence[_Sample], since: float) -> float:
    """Fit a line to the samples from so many events on; give MiB a 100,000 events, 0 where it has no length."""
    counted = [sample for sample in samples if sample.events >= since]
    if len({sample.events for sample in counted}) < 2:  # noqa: PLR2004 a line needs two points
        return 0.0
    fit = statistics.linear_regression(
        [sample.events / 100_000 for sample in counted], [sample.mib for sample in counted]
    )
    return fit.slope
