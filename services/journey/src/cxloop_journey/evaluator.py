"""The background task that turns changed customers into announcements.

Any number of workers may run one. Dirty rows are taken with SKIP LOCKED and versions drawn under the customers'
buckets, so two that meet at one customer wait for each other, and readers keep the higher version.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from cxloop_common.database import Database
from cxloop_common.events import JourneyChanged, encode_event
from cxloop_common.kafka.records import Message
from cxloop_common.processor.outbox import enqueue
from cxloop_common.topics import JOURNEYS, TopicNames
from cxloop_journey.store.evaluation import evaluate, revisit_due
from cxloop_journey.store.repairs import note_repairs, repair, repairs_waiting

REPAIR_WAIT_S: Final = 0.05
"""How soon to ask again whether the transactions that a repair waits for have ended."""


class Evaluator:
    """Evaluates dirty customers as they come, and repairs the rows of identifiers that turned shared."""

    def __init__(
        self,
        database: Database,
        names: TopicNames,
        now: Callable[[], datetime],
        *,
        customers: int = 500,
        idle_s: float = 1.0,
        stage_check_s: float = 60.0,
    ) -> None:
        self._database = database
        self._topic = names.name(JOURNEYS)
        self._now = now
        self._customers = customers
        self._idle_s = idle_s
        self._stage_check_s = stage_check_s
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled; whoever runs this starts it again when it fails."""
        connection = await self._database.connect()
        try:
            await connection.add_listener(f"journey_dirty_{self._database.schema}", self._notified)
            clock = asyncio.get_running_loop().time
            next_check = clock()
            while True:
                self._wake.clear()
                if clock() >= next_check:
                    next_check = clock() + self._stage_check_s
                    await revisit_due(connection, self._now(), self._customers)
                if await self.work(connection):
                    continue
                idle_s = REPAIR_WAIT_S if await repairs_waiting(connection) else self._idle_s
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), idle_s)
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(connection.close(), 2)

    async def work(self, connection: Any) -> int:
        """Evaluate and repair once; gives how much there was to do."""
        async with connection.transaction():
            taken, events = await evaluate(connection, self._now(), self._customers)
            await enqueue(connection, [self._message(event) for event in events])
        if not await repairs_waiting(connection):
            return taken
        await note_repairs(connection)
        async with connection.transaction():
            return taken + await repair(connection)

    def _message(self, event: JourneyChanged) -> Message:
        key, value, headers = encode_event(event)
        return Message(self._topic, key, value, tuple(headers))

    def _notified(self, *_: object) -> None:
        self._wake.set()
