"""Scoring workers as processes: dynamic members of one group, ended by their pid."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from pathlib import Path

_IMPATIENT = {
    "CXLOOP_SCORING_PORT": "0",
    "CXLOOP_SCORING_SESSION_TIMEOUT_S": "6",
    "CXLOOP_SCORING_REBALANCE_TIMEOUT_S": "15",
    "CXLOOP_SCORING_HEARTBEAT_INTERVAL_S": "1",
    "CXLOOP_SCORING_BATCH_RECORDS": "150",
    "CXLOOP_SCORING_SHUTDOWN_S": "2",
    "CXLOOP_SCORING_SNAPSHOT_S": "3600",
    "CXLOOP_SCORING_RETENTION_DAYS": "3660",
    "CXLOOP_LOG_LEVEL": "info",
}
"""Sessions as short as Kafka allows, batches so small that many are under way, no month old enough to end."""


class Workers:
    """Processes of `python -m cxloop_scoring --role worker`."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        foreign = ("CXLOOP_", "COV_")
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(foreign)
        }
        self._environment |= {**_IMPATIENT, **settings}
        self._folder = folder
        self._numbers = count()
        self._running: list[tuple[Path, subprocess.Popen[bytes]]] = []
        self.killed = self.left = 0

    def join(self, number: int = 1) -> None:
        """Start some more."""
        for _ in range(number):
            path = self._folder / f"worker-{next(self._numbers)}.log"
            with path.open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "cxloop_scoring", "--role", "worker"],
                    env=self._environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            self._running.append((path, process))

    async def at_work(self) -> None:
        """Wait until each of them was given partitions."""

        async def told() -> bool:
            return all("partitions_assigned" in path.read_text() for path, _ in self._running)

        await until(told)

    def kill(self, number: int = 1) -> None:
        """SIGKILL the oldest: nothing is finished, nobody is told."""
        for _ in range(number):
            _, oldest = self._running.pop(0)
            assert oldest.poll() is None, self.logs()
            oldest.kill()
            oldest.wait()
            self.killed += 1

    def leave(self) -> None:
        """SIGTERM the oldest: it finishes its batch and hands its partitions over."""
        path, oldest = self._running.pop(0)
        oldest.terminate()
        # The server raises the signal again when it has ended, so the exit code tells nothing.
        oldest.wait(timeout=30)
        assert "Application shutdown complete" in path.read_text(), self.logs()
        self.left += 1

    def end(self) -> None:
        """End all that are left."""
        for _, process in self._running:
            process.kill()
            process.wait()

    def logs(self) -> str:
        """Give the end of each log."""
        return "\n".join(
            f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(self._folder.glob("worker-*.log"))
        )


async def until(holds: Callable[[], Awaitable[bool]], patience_s: float = 60) -> None:
    """Look again and again until something of another process holds. Raises TimeoutError."""
    async with asyncio.timeout(patience_s):
        while not await holds():  # noqa: ASYNC110 - no event of another process can be awaited
            await asyncio.sleep(0.05)
