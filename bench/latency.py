"""From the answer to a webhook until the alert record can be read from Kafka, at a steady rate.

All four services run, each as one process of all roles, as `cxloop up` runs them. One answer in five is low and
opens a case. The clock starts when the 202 has arrived and stops when a consumer holds the alert record. The
broker's append times (in milliseconds) tell which hop took how long.
"""

import asyncio
import re
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import asyncpg

from bench import load
from bench.broker import Broker, Follower
from bench.processes import BenchError
from bench.report import Figure, Result, Target
from bench.whole import ONE_LOW_IN, Whole, is_low, response_id, whole
from cxloop_common.topics import ALERTS, DELIVERIES, SCORES, SURVEYS

CONNECTIONS = 16
HOPS = (DELIVERIES.name, SURVEYS.name, SCORES.name, ALERTS.name)
ARRIVE_WITHIN_S = 60.0
TARGET_MS = 250.0
_NUMBER = re.compile(rb"bench-(\d+)")


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int = 5
    seconds: float = 15.0
    per_second: float = 200.0
    warm_s: float = 10.0


QUICK = Plan(rounds=1, seconds=2.0, warm_s=1.0)


@dataclass
class _Seen:
    """What a consumer has read: by message number, or by case for alerts."""

    appended_ms: dict[str, dict[bytes, int]] = field(
        default_factory=lambda: {topic: dict[bytes, int]() for topic in HOPS}
    )
    alert_read_at: dict[bytes, float] = field(default_factory=dict[bytes, float])
    """By case id: when its first record was read (perf_counter)."""


class _Watcher(threading.Thread):
    """Reads the topics on the way, from now on."""

    def __init__(self, follower: Follower) -> None:
        super().__init__(name="watcher", daemon=True)
        self.seen = _Seen()
        self._ended = threading.Event()
        self._follower = follower

    def run(self) -> None:
        """Read until ended."""
        while not self._ended.is_set():
            record = self._follower.poll()
            now = time.perf_counter()
            if record is None:
                continue
            appended = self.seen.appended_ms[record.topic]
            if record.topic == ALERTS.name:
                self.seen.alert_read_at.setdefault(record.key, now)
                appended.setdefault(record.key, record.appended_ms)
            elif found := _NUMBER.search(record.value):
                appended.setdefault(found[1], record.appended_ms)

    def end(self) -> None:
        """Stop reading."""
        self._ended.set()
        self.join()


@dataclass
class _Found:
    """One round's figures in milliseconds, a list a round."""

    webhook_p50: list[float] = field(default_factory=list[float])
    webhook_p99: list[float] = field(default_factory=list[float])
    alert_p50: list[float] = field(default_factory=list[float])
    alert_p99: list[float] = field(default_factory=list[float])
    hops: dict[tuple[str, float], list[float]] = field(default_factory=dict[tuple[str, float], list[float]])
    samples: int = 0


def measure(plan: Plan | None = None) -> Result:
    """Run the benchmark. Raises BenchError."""
    plan = plan or Plan()
    found = _Found()
    with ExitStack() as running:
        here = running.enter_context(whole())
        watcher = _Watcher(running.enter_context(Broker(here.stack.bootstrap).follow(HOPS)))
        watcher.start()
        running.callback(watcher.end)
        warm, count = int(plan.warm_s * plan.per_second), int(plan.seconds * plan.per_second)
        _round(here, watcher.seen, range(warm), plan.per_second, None)
        for number in range(plan.rounds):
            start = warm + number * count
            _round(here, watcher.seen, range(start, start + count), plan.per_second, found)
    p99 = Figure("webhook answered to alert readable, p99", "ms", found.alert_p99)
    hops = [
        Figure(f"  {name}, {share * 100:.0f} %", "ms", values) for (name, share), values in found.hops.items()
    ]
    return Result(
        "latency",
        f"{plan.per_second:g} survey webhooks/s, one in {ONE_LOW_IN} opens a case, "
        f"{plan.rounds} rounds of {plan.seconds:g} s, {found.samples:,} alerts",
        [
            Figure("webhook answered to alert readable, p50", "ms", found.alert_p50),
            p99,
            Figure("webhook sent to answered, p50", "ms", found.webhook_p50),
            Figure("webhook sent to answered, p99", "ms", found.webhook_p99),
            *hops,
        ],
        [Target(p99, "under", TARGET_MS)],
        [
            "Hops are differences of the broker's append times, each with percentiles of its own.",
        ],
    )


def _round(here: Whole, seen: _Seen, numbers: range, per_second: float, found: _Found | None) -> None:
    first = numbers.start
    answered_at: dict[int, float] = {}
    done = load.run_loop(
        load.pace(
            here.stack.ports["ingest"],
            here.messages(first, len(numbers)),
            per_second=per_second,
            connections=CONNECTIONS,
            on_answered=lambda index, at: answered_at.__setitem__(first + index, at),
        )
    )
    if done.refused:
        raise BenchError(f"not every webhook was accepted: {done.refused}")
    low = [number for number in numbers if is_low(number)]
    cases = _cases(here, seen, low)
    if found is not None:
        latencies = [seen.alert_read_at[cases[number]] - answered_at[number] for number in low]
        found.webhook_p50.append(done.quantile_ms(0.5))
        found.webhook_p99.append(done.quantile_ms(0.99))
        found.alert_p50.append(load.quantile(latencies, 0.5) * 1000)
        found.alert_p99.append(load.quantile(latencies, 0.99) * 1000)
        found.samples += len(low)
        _add_hops(seen, low, cases, found)


def _cases(here: Whole, seen: _Seen, low: Sequence[int]) -> dict[int, bytes]:
    """Wait until every low answer has its case and its alert; give the case of each."""
    deadline = time.monotonic() + ARRIVE_WITHIN_S
    while True:
        cases = asyncio.run(_stored_cases(here))
        mine = {number: cases[response_id(number)] for number in low if response_id(number) in cases}
        missing = sum(1 for number in low if mine.get(number) not in seen.alert_read_at)
        if not missing:
            return mine
        if time.monotonic() > deadline:
            raise BenchError(
                f"{missing} of {len(low)} low answers had no alert after {ARRIVE_WITHIN_S:.0f} s"
            )
        time.sleep(0.5)


async def _stored_cases(here: Whole) -> dict[str, bytes]:
    """Read which response opened which case: alerts themselves carry no more of a customer than they must."""
    connection = await asyncpg.connect(here.stack.database_url)
    try:
        rows = await connection.fetch("SELECT case_id, unnest(documents) FROM alerting.cases")
    finally:
        await connection.close()
    return {document.rpartition(":")[2]: case.encode() for case, document in rows}


def _add_hops(seen: _Seen, low: Sequence[int], cases: dict[int, bytes], found: _Found) -> None:
    times = [[seen.appended_ms[topic].get(str(number).encode(), 0) for number in low] for topic in HOPS[:-1]]
    times.append([seen.appended_ms[ALERTS.name][cases[number]] for number in low])
    names = ("ingest: delivery to survey event", "scoring: event to score", "alerting: score to alert")
    for name, before, after in zip(names, times, times[1:], strict=False):
        took = [float(b - a) for a, b in zip(before, after, strict=True)]
        for share in (0.5, 0.99):
            found.hops.setdefault((name, share), []).append(load.quantile(took, share))
