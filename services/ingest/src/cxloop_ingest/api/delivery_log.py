"""The way from a request to the deliveries topic: durable before the answer, refused at once while Kafka is away.

A spool beside Kafka would be a second implementation of `append_all`: the doors know nothing else of where
deliveries go.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any

from cxloop_common.http import Problem
from cxloop_common.kafka.errors import KafkaError, MessageTooLargeError
from cxloop_common.kafka.producer import Producer
from cxloop_common.kafka.records import Message
from cxloop_ingest.api.deadlines import Deadlines
from cxloop_ingest.domain.breaker import Breaker


class DeliveryLog:
    """Appends deliveries; returning means that all in-sync replicas have them."""

    def __init__(self, producer: Producer, breaker: Breaker, *, timeout_s: float) -> None:
        self._producer = producer
        self._breaker = breaker
        self._deadlines = Deadlines(timeout_s)

    async def append(self, message: Message) -> None:
        """Append one delivery. Raises Problem 503 with Retry-After, or 413 for one that the topic refuses."""
        self._admit()
        task = self._deadlines.begin()
        try:
            await self._producer.spread(message)
        except BaseException as error:
            self._settle(task, error)
            raise
        finally:
            self._deadlines.end(task)
        self._breaker.succeeded(time.monotonic())

    async def append_all(self, messages: Sequence[Message]) -> None:
        """Append several deliveries. A failure leaves open which were written; their ids make that harmless."""
        if not messages:
            return
        self._admit()
        task = self._deadlines.begin()
        try:
            await (await self._producer.send_all(messages))
        except BaseException as error:
            self._settle(task, error)
            raise
        finally:
            self._deadlines.end(task)
        self._breaker.succeeded(time.monotonic())

    def _admit(self) -> None:
        if not self._breaker.admit(time.monotonic()).admitted:
            raise self._unavailable()

    def _settle(self, task: asyncio.Task[Any], error: BaseException) -> None:
        """Tell the breaker, and raise the answer to a failure of Kafka's."""
        if isinstance(error, asyncio.CancelledError):
            try:
                self._deadlines.raise_if_ended(task, error)
            except TimeoutError as timeout:
                error = timeout
        if isinstance(error, MessageTooLargeError):
            self._breaker.succeeded(time.monotonic())
            raise Problem(413, detail="The delivery is larger than the log takes.") from error
        if isinstance(error, TimeoutError | KafkaError):
            self._breaker.failed(time.monotonic())
            raise self._unavailable() from error
        self._breaker.abandoned()

    def _unavailable(self) -> Problem:
        seconds = max(1, math.ceil(self._breaker.retry_after_s(time.monotonic())))
        return Problem(
            503,
            detail="Nothing was accepted: the log does not answer. Send the same again later.",
            headers={"Retry-After": str(seconds)},
        )
