"""Reading on: in a backlog, the next batch is read while the current one is being processed."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxloop_common.kafka.consumer import GroupConsumer
from cxloop_common.kafka.records import Partition, Record
from cxloop_common.processor.assignment import Assignment

_Found = Mapping[Partition, Sequence[Record]]
STOP_WITHIN_S = 1.0


@dataclass(frozen=True)
class _Ahead:
    """A read under way, and the era of the assignment in which it began."""

    task: asyncio.Task[dict[Partition, list[Record]]]
    era: int


class BatchReader:
    """Reads for one membership of the group, at most one batch ahead.

    What was read ahead follows on what is being processed only as long as no partition is placed anew
    meanwhile: then it is dropped, and its partitions are read again from where they stand.
    """

    def __init__(
        self, consumer: GroupConsumer, assignment: Assignment, *, max_records: int, timeout_s: float
    ) -> None:
        self._consumer = consumer
        self._assignment = assignment
        self._max_records = max_records
        self._timeout_s = timeout_s
        self._ahead: _Ahead | None = None

    def read_on(self) -> None:
        """Start to read what comes next, unless that is under way."""
        if self._ahead is None:
            task = asyncio.create_task(self._consumer.poll(self._max_records, self._timeout_s))
            self._ahead = _Ahead(task, self._assignment.era)

    async def next(self) -> list[Record]:
        """Give what comes next, or nothing after a while; raises what the consumer's `poll` raises."""
        self.read_on()
        assert self._ahead is not None  # noqa: S101  # it was started above
        ahead, self._ahead = self._ahead, None
        found = await ahead.task
        if ahead.era == self._assignment.era:
            return self._assignment.expected(found)
        self._read_again(found)
        return []

    def _read_again(self, found: _Found) -> None:
        for place in found:
            position = self._assignment.positions.get(place)
            if position is not None:
                self._consumer.seek(place, position)

    async def stop(self) -> None:
        """Let go of what is being read. A read ends by itself: the client loses records of a cancelled one."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.wait([ahead.task], timeout=STOP_WITHIN_S)
            ahead.task.cancel()
            with contextlib.suppress(BaseException):
                await ahead.task
