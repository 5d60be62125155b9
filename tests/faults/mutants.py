"""The Processor broken on purpose: each mutant drops one promise, and a fault run must notice."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import asyncpg

from cxloop_common.kafka.records import Message, Partition, Record
from cxloop_common.processor import offsets
from cxloop_common.processor.fates import Poison
from cxloop_common.processor.offsets import Position
from cxloop_common.processor.processor import Processor
from cxloop_common.processor.transaction import BatchTransaction
from cxloop_ingest.api.delivery_log import DeliveryLog


class Mutant(StrEnum):
    """What is broken."""

    NONE = "none"
    OFFSETS_FIRST = "offsets-first"
    """Offsets are committed in a transaction of their own, before the work."""
    NO_FENCE = "no-fence"
    """Positions are locked but not compared: whoever comes last writes."""
    NO_ACK = "no-ack"
    """COMMIT does not wait until what was published is durable."""
    EARLY_ANSWER = "early-answer"
    """Senders get their 202 before the delivery is durable."""


def apply(mutant: Mutant) -> None:
    """Break this process's Processor."""
    if mutant is Mutant.OFFSETS_FIRST:
        _commit_offsets_first()
    elif mutant is Mutant.NO_FENCE:
        _drop_the_fence()
    elif mutant is Mutant.NO_ACK:
        _do_not_wait_for_acknowledgements()
    elif mutant is Mutant.EARLY_ANSWER:
        _answer_early()


def _commit_offsets_first() -> None:
    commit = Processor._commit  # pyright: ignore[reportPrivateUsage]  # the seam that is broken

    async def mutated(self: Any, part: Sequence[Record], poison: Poison) -> None:
        connection = await self._connect()
        async with connection.transaction():
            rows = await self._fence(
                connection, {record.place: self._assignment.positions.get(record.place) for record in part}
            )
            moves: dict[Partition, tuple[int, int, str | None]] = {
                record.place: (record.offset + 1, rows[record.place].poison_streak, None) for record in part
            }
            await offsets.advance(connection, moves)
        for place, (next_offset, _, _) in moves.items():
            self._assignment.positions[place] = next_offset
        await commit(self, part, poison)

    Processor._commit = mutated  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]  # as above


def _drop_the_fence() -> None:
    async def mutated(
        self: Any, connection: asyncpg.Connection, known: Mapping[Partition, int | None]
    ) -> dict[Partition, Position]:
        del self
        return await offsets.lock(connection, known)

    Processor._fence = mutated  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]  # as above


def _do_not_wait_for_acknowledgements() -> None:
    async def mutated(self: Any) -> None:
        await self.abandon()

    BatchTransaction.acknowledged = mutated  # pyright: ignore[reportAttributeAccessIssue]  # as above


def _answer_early() -> None:
    sending: set[asyncio.Task[None]] = set()
    append_all = DeliveryLog.append_all

    async def later(self: DeliveryLog, messages: Sequence[Message]) -> None:
        with contextlib.suppress(Exception):
            await append_all(self, messages)

    async def mutated(self: DeliveryLog, messages: Sequence[Message]) -> None:
        task = asyncio.create_task(later(self, messages))
        sending.add(task)
        task.add_done_callback(sending.discard)

    DeliveryLog.append_all = mutated
