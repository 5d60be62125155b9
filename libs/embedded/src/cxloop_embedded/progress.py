"""Progress of the first download: a bar on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

MEGABYTE = 1_000_000
LINE_EVERY_S = 5.0


class Progress(Protocol):
    """Shows the progress of one download."""

    def __call__(self, title: str, total: int, /) -> AbstractContextManager[Callable[[int], None]]:
        """Open for `total` bytes; the value is called with each number of bytes received."""
        ...


@contextmanager
def silent(_title: str, _total: int, /) -> Generator[Callable[[int], None], None, None]:
    """Show nothing."""
    yield lambda _received: None


@contextmanager
def on_stderr(title: str, total: int, /) -> Generator[Callable[[int], None], None, None]:
    """Show a bar where standard error is a terminal, plain lines where it is not."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda received: bar.advance(task, received)
        return
    lines = _Lines(total)
    sys.stderr.write(f"{title} ({total / MEGABYTE:.0f} MB)\n")
    yield lines.advance
    sys.stderr.write(f"  done in {lines.elapsed_s:.0f} s\n")


class _Lines:
    """A line every few seconds; called from several threads."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._received = 0
        self._started = self._last = time.monotonic()
        self._guard = threading.Lock()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def advance(self, received: int) -> None:
        with self._guard:
            self._received += received
            if time.monotonic() - self._last >= LINE_EVERY_S:
                self._last = time.monotonic()
                done = min(self._received, self._total)
                sys.stderr.write(f"  {done / MEGABYTE:.0f} of {self._total / MEGABYTE:.0f} MB\n")
