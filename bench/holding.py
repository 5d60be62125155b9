"""Consumers held at the start line: joined to their group, suspended while the log is written, then let go."""

import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from confluent_kafka import ConsumerGroupState, KafkaException, Producer

from bench.backends import TIMEOUT_S, Backends
from bench.processes import cpu_seconds, wait_until
from bench.workload import Encoded

ASK_WITHIN_S = 5.0
SETTLE_S = 1.0
"""Between a group's being stable and its members' having looked up where to start."""


@dataclass(frozen=True)
class Run:
    """One run over a whole log. CPU times are an event's, in microseconds."""

    seconds: float
    events: int
    consumer_us: float
    postgres_us: float
    kafka_us: float

    @property
    def per_second(self) -> float:
        """Events a second."""
        return self.events / self.seconds


LetGo = Callable[[Callable[[], tuple[float | None, float]]], Run]
"""Starts the clock and the consumers. It gets a function that waits and gives two times (monotonic): a later
beginning than now, or None, and the end."""


@contextmanager
def held(here: Backends, group: str, pids: Sequence[int], events: int, log: Path) -> Generator[LetGo]:
    """Wait until processes have joined their group, and suspend them until they are let go."""
    missing = f"the group {group} has not gathered {len(pids)} members"
    wait_until(lambda: _joined(here, group) == len(pids), missing, log=log, every_s=0.3)
    time.sleep(SETTLE_S)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)

    def resume() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def used() -> tuple[float, float, float]:
        return (
            sum(map(cpu_seconds, pids)),
            cpu_seconds(here.postgres.pid, with_children=True),
            cpu_seconds(here.kafka.pid),
        )

    def let_go(wait: Callable[[], tuple[float | None, float]]) -> Run:
        before, began = used(), time.monotonic()
        resume()
        later, ended = wait()
        shares = [(now - then) / events * 1e6 for now, then in zip(used(), before, strict=True)]
        return Run(ended - (later or began), events, *shares)

    try:
        yield let_go
    finally:
        resume()


def _joined(here: Backends, group: str) -> int:
    """Count the members of a group that is not rebalancing."""
    admin = here.admin()
    try:
        asked = admin.describe_consumer_groups([group], request_timeout=ASK_WITHIN_S)[group]
        described = cast("Any", asked).result(TIMEOUT_S)
    except (KafkaException, TimeoutError):  # a new broker first has to load its groups
        return 0
    return len(described.members) if described.state == ConsumerGroupState.STABLE else 0


def write(here: Backends, records: Iterable[Encoded], place: Callable[[Encoded], tuple[str, bytes]]) -> None:
    """Write records, each to the topic and under the key that `place` gives, with event times; wait for them."""
    producer = Producer(
        {
            "bootstrap.servers": here.kafka.bootstrap,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for record in records:
        topic, key = place(record)
        headers = cast("Any", record.headers)
        producer.produce(topic, record.value, key, headers=headers, timestamp=record.time_ms)
        producer.poll(0)
    missing = producer.flush(TIMEOUT_S)
    assert not missing, f"{missing} records were not acknowledged"
