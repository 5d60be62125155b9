"""The producer: coalesces messages per partition and answers when all in-sync replicas have them.

Non-idempotent on purpose: ids make duplicates harmless, while the idempotent client never gives up on a
missing broker (aio-libs/aiokafka#1101) and stays poisoned after one rejected batch (#1017).
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError as ClientError
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from cxloop_common.kafka.errors import KafkaUnavailableError, MessageTooLargeError, TopicError
from cxloop_common.kafka.partitioner import partition_of
from cxloop_common.kafka.records import Message, Partition

BATCH_BYTES = 512 * 1024
MAX_REQUEST_BYTES = (4 * 1024 + 64) * 1024
"""The largest record of any topic: a dead letter of a delivery."""
STOP_TIMEOUT_S = 5.0


class _Lane:
    """The messages waiting for one partition, and the task that sends them batch by batch."""

    def __init__(self, client: Any, place: Partition, timeout_s: float) -> None:
        self._client = client
        self._place = place
        self._timeout_s = timeout_s
        self._waiting: deque[_Pending] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, message: Message, done: "_Done") -> None:
        self._waiting.append((message, done))
        if self._task is None:
            # No linger: the first message leaves at once, and what arrives while it is on its way forms
            # the next batch. Under load batches grow by themselves.
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._send_next()
        finally:
            self._task = None

    async def _send_next(self) -> None:
        batch: Any = self._client.create_batch()
        taken: list[_Pending] = []
        while self._waiting:
            message, _ = self._waiting[0]
            if (
                batch.append(
                    timestamp=None, key=message.key, value=message.value, headers=list(message.headers)
                )
                is None
            ):
                break
            taken.append(self._waiting.popleft())
        try:
            await self._deliver(batch)
        except MessageTooLargeError as error:
            # One message too large must not take its neighbours with it.
            await self._deliver_singly(taken, error)
        except KafkaUnavailableError as error:
            _fail(taken, error)
        except asyncio.CancelledError:
            _fail(taken, KafkaUnavailableError("the producer was stopped"))
            raise
        else:
            for _, done in taken:
                _succeed(done)

    async def _deliver(self, batch: object) -> None:
        topic, number = self._place
        try:
            async with asyncio.timeout(self._timeout_s):
                acknowledged: asyncio.Future[Any] = await self._client.send_batch(
                    batch, topic, partition=number
                )
                await asyncio.shield(acknowledged)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise MessageTooLargeError(f"a message is larger than {topic} takes") from error
        except (TimeoutError, ClientError, OSError) as error:
            raise KafkaUnavailableError(f"{topic}: no acknowledgement ({type(error).__name__})") from error

    async def _deliver_singly(self, taken: "list[_Pending]", error: MessageTooLargeError) -> None:
        if len(taken) == 1:
            _fail(taken, error)
            return
        for pending in taken:
            batch: Any = self._client.create_batch()
            message, done = pending
            batch.append(timestamp=None, key=message.key, value=message.value, headers=list(message.headers))
            try:
                await self._deliver(batch)
            except (MessageTooLargeError, KafkaUnavailableError) as single:
                _fail([pending], single)
            else:
                _succeed(done)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        _fail(self._waiting, KafkaUnavailableError("the producer was stopped"))
        self._waiting.clear()


class _Spread(_Lane):
    """A lane that takes the next partition with every batch.

    Batches hold all that came meanwhile instead of a partition's share of it: at a dozen partitions that is
    a dozen times fewer batches, and a batch costs as much as thirty messages.
    """

    def __init__(self, client: Any, places: Sequence[Partition], timeout_s: float) -> None:
        super().__init__(client, places[0], timeout_s)
        self._places = itertools.cycle(places)

    @property
    def load(self) -> int:
        """How many wait, counting a batch on its way as one."""
        return len(self._waiting) + (self._task is not None)

    async def _send_next(self) -> None:
        self._place = next(self._places)
        await super()._send_next()


class _Group:
    """One future for many messages: done when all are acknowledged, failed with the first failure."""

    def __init__(self, count: int) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = count
        self._error: BaseException | None = None

    def one_done(self, error: BaseException | None) -> None:
        self._missing -= 1
        self._error = self._error or error
        if self._missing == 0 and not self.future.done():
            if self._error is None:
                self.future.set_result(None)
            else:
                self.future.set_exception(self._error)


_Done = asyncio.Future[None] | _Group
_Pending = tuple[Message, _Done]


def _succeed(done: _Done) -> None:
    if isinstance(done, _Group):
        done.one_done(None)
    elif not done.done():
        done.set_result(None)


def _fail(pending: Iterable[_Pending], error: Exception) -> None:
    for _, done in pending:
        if isinstance(done, _Group):
            done.one_done(error)
        elif not done.done():
            done.set_exception(error)


class Producer:
    """Writes messages to Kafka with acks=all, each send bounded in time.

    An instance may be made while the broker is away: `start` raises until it can be reached, and `send` raises
    KafkaUnavailableError until it was started.
    """

    def __init__(self, bootstrap: str, *, client_id: str, timeout_s: float = 10.0) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._timeout_s = timeout_s
        self._client: Any = None
        self._lanes: dict[Partition, _Lane] = {}
        self._spreads: dict[str, tuple[_Spread, _Spread]] = {}
        self._partitions: dict[str, int] = {}

    @property
    def started(self) -> bool:
        """Whether the broker has been reached once."""
        return self._client is not None

    async def start(self) -> None:
        """Connect. Raises KafkaUnavailableError; may be called again."""
        if self._client is not None:
            return
        client: Any = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=False,
            compression_type="lz4",
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            request_timeout_ms=int(self._timeout_s * 1000),
            metadata_max_age_ms=60_000,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.start()
        except (TimeoutError, ClientError, OSError) as error:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await client.stop()
            raise KafkaUnavailableError(f"no Kafka at {self._bootstrap} ({type(error).__name__})") from error
        self._client = client

    async def stop(self) -> None:
        """Stop within a few seconds; messages without an acknowledgement fail."""
        for lane in (*self._lanes.values(), *itertools.chain.from_iterable(self._spreads.values())):
            await lane.stop()
        self._lanes.clear()
        self._spreads.clear()
        client, self._client = self._client, None
        if client is not None:
            # stop() waits for the broker for ever where there is none.
            with contextlib.suppress(TimeoutError, ClientError, OSError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await client.stop()

    async def send(self, message: Message) -> None:
        """Send one message and wait until it is durable.

        Raises KafkaUnavailableError, after which the message may or may not have been written, and
        MessageTooLargeError, after which it was not.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane = self._lanes.get(Partition(message.topic, self._partition(message))) or await self._open(
            message
        )
        lane.add(message, done)
        await done

    async def spread(self, message: Message) -> None:
        """Send one message to whichever partition is next, and wait until it is durable; raises as `send`.

        For records whose readers need neither the order nor the company of others of their key.
        """
        lanes = self._spreads.get(message.topic) or await self._open_spread(message.topic)
        lane = lanes[0] if lanes[0].load <= lanes[1].load else lanes[1]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.add(message, done)
        await done

    async def _open_spread(self, topic: str) -> "tuple[_Spread, _Spread]":
        await self._know(topic)
        if topic not in self._spreads:
            # Two: one fills while the other is on its way.
            places = [Partition(topic, number) for number in range(self._partitions[topic])]
            half = len(places) // 2
            self._spreads[topic] = (
                _Spread(self._running(), places, self._timeout_s),
                _Spread(self._running(), places[half:] + places[:half], self._timeout_s),
            )
        return self._spreads[topic]

    async def send_all(self, messages: Sequence[Message]) -> "asyncio.Future[None]":
        """Start sending many messages; the future is done when all are durable, or fails with the first error.

        Messages of one key keep their order as long as no send fails.
        """
        group = _Group(len(messages))
        if not messages:
            group.future.set_result(None)
            return group.future
        for topic in {message.topic for message in messages}:
            await self._know(topic)
        lanes = self._lanes
        for message in messages:
            place = Partition(message.topic, self._partition(message))
            lane = lanes.get(place)
            if lane is None:
                lane = lanes[place] = self._lane(place)
            lane.add(message, group)
        return group.future

    def _partition(self, message: Message) -> int:
        partitions = self._partitions.get(message.topic)
        return -1 if partitions is None else partition_of(message.key, partitions)

    async def _open(self, message: Message) -> _Lane:
        await self._know(message.topic)
        place = Partition(message.topic, self._partition(message))
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = self._lane(place)
        return lane

    def _lane(self, place: Partition) -> _Lane:
        return _Lane(self._running(), place, self._timeout_s)

    async def _know(self, topic: str) -> None:
        """Learn a topic's partition count. A missing topic fails at once instead of after 40 s."""
        if topic in self._partitions:
            return
        client = self._running()
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.client.add_topic(topic)
                await client.client.force_metadata_update()
        except (TimeoutError, ClientError, OSError) as error:
            raise KafkaUnavailableError(f"{topic}: no metadata ({type(error).__name__})") from error
        found = cast("set[int] | None", client.client.cluster.partitions_for_topic(topic))
        if not found:
            raise TopicError(
                f"the topic {topic} does not exist; create it with: python -m cxloop_common.topics create"
            )
        self._partitions[topic] = len(found)

    def _running(self) -> Any:
        if self._client is None:
            raise KafkaUnavailableError(f"no Kafka at {self._bootstrap} yet")
        return self._client
