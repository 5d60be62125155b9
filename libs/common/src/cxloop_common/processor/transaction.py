"""The open transaction of one batch: what a handler may do with it, and what must be true before COMMIT."""

import asyncio
from collections.abc import Sequence

import asyncpg

from cxloop_common.kafka.producer import Producer
from cxloop_common.kafka.records import Message


class BatchTransaction:
    """Implements `handler.Transaction`."""

    def __init__(self, connection: asyncpg.Connection, producer: Producer) -> None:
        self._connection = connection
        self._producer = producer
        self._sends: list[asyncio.Task[asyncio.Future[None]]] = []
        self.outbox: list[Message] = []

    @property
    def connection(self) -> asyncpg.Connection:
        """The connection, inside the transaction."""
        return self._connection

    def publish(self, messages: Sequence[Message]) -> None:
        """Start sending now; `acknowledged` waits for the outcome."""
        if messages:
            self._sends.append(asyncio.create_task(self._producer.send_all(messages)))

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Collect outbox rows, written before COMMIT."""
        self.outbox.extend(messages)

    async def acknowledged(self) -> None:
        """Wait until all that was published is durable. Raises KafkaError."""
        for send in self._sends:
            await (await send)
        self._sends.clear()

    async def abandon(self) -> None:
        """Take note of sends whose outcome no longer matters, so that none fails unheard."""
        for send in self._sends:
            done = await asyncio.gather(send, return_exceptions=True)
            if isinstance(done[0], asyncio.Future):
                done[0].add_done_callback(lambda future: future.cancelled() or future.exception())
        self._sends.clear()
