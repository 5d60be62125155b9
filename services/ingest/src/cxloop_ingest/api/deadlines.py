"""A deadline for many short waits at once: one timer for all of them, where each would need its own.

Setting and cancelling a timer costs an event loop several microseconds, twice a request on the hot route.
"""

import asyncio
from typing import Any

_Task = asyncio.Task[Any]


class Deadlines:
    """Ends waits that last longer than `seconds`.

    Used as:

        task = deadlines.begin()
        try:
            await something
        except asyncio.CancelledError as error:
            deadlines.raise_if_ended(task, error)
            raise
        finally:
            deadlines.end(task)

    All waits have the same duration, so the oldest ends first and one timer is enough. A task has one wait at a
    time.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at: dict[_Task, float] = {}
        self._ended: set[_Task] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> _Task:
        """Start counting for the current task."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline is for a task")
        ends_at = self._ends_at[task] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_at(ends_at, self._expire, loop)
        return task

    def end(self, task: _Task) -> None:
        """Stop counting."""
        self._ends_at.pop(task, None)
        self._ended.discard(task)

    def raise_if_ended(self, task: _Task, error: asyncio.CancelledError) -> None:
        """Turn the cancellation into TimeoutError if it was ours; one from outside goes on its way."""
        if task in self._ended and task.uncancel() == 0:
            raise TimeoutError from error

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        while self._ends_at:
            task, ends_at = next(iter(self._ends_at.items()))
            if ends_at > now:
                # The oldest of those that run: nobody's turn comes earlier.
                self._timer = loop.call_at(ends_at, self._expire, loop)
                return
            del self._ends_at[task]
            self._ended.add(task)
            task.cancel()
