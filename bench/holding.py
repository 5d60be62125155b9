"""Consumers held at the start line: joined to their group, suspended while the log is written, then let go."""

import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.backends import Backends
from bench.processes import cpu_seconds, wait_until

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
def held(
    here: Backends,
    group: str,
    pids: Sequence[int],
    events: int,
    log: Path,
    *,
    settle: Callable[[], None] = lambda: None,
) -> Generator[LetGo]:
    """Wait until processes have joined their group and `settle` returns; suspend them until they are let go."""
    missing = f"the group {group} has not gathered {len(pids)} members"
    wait_until(lambda: here.broker.members(group) == len(pids), missing, log=log, every_s=0.3)
    time.sleep(SETTLE_S)
    settle()
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
