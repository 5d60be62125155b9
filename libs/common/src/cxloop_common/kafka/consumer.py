"""Reading with a consumer group whose positions are kept elsewhere.

Offsets live in PostgreSQL. Whoever uses the group answers an assignment with the positions to start from; the
client's own idea of a position is never used.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.errors import KafkaError as ClientError
from aiokafka.errors import NoOffsetForPartitionError
from aiokafka.errors import OffsetOutOfRangeError as ClientOutOfRange

from cxloop_common.kafka.errors import KafkaUnavailableError, OffsetOutOfRangeError
from cxloop_common.kafka.records import Partition, Record

STOP_TIMEOUT_S = 5.0
QUERY_TIMEOUT_S = 10.0

Assigned = Callable[[frozenset[Partition]], Awaitable[Mapping[Partition, int]]]
Revoked = Callable[[frozenset[Partition]], Awaitable[None]]


@dataclass(frozen=True)
class GroupTiming:
    """How long a group waits for its members."""

    session_s: float = 30
    rebalance_s: float = 60
    heartbeat_s: float = 3


def _place(partition: Any) -> Partition:
    return Partition(cast("str", partition.topic), cast("int", partition.partition))


class _Listener(ConsumerRebalanceListener):
    def __init__(self, group: "GroupConsumer") -> None:
        self._group = group

    # The client awaits what these return, though its declaration says None.
    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await self._group.revoked(frozenset(map(_place, revoked)))

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await self._group.assigned(list(assigned))


class GroupConsumer:
    """One member of a consumer group.

    `on_assigned` is awaited with the partitions gained and answers where to read on in each; partitions that
    it leaves out stay paused. What it raises ends the member: `poll` raises it.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        group: str,
        topics: Iterable[str],
        on_assigned: Assigned,
        on_revoked: Revoked,
        client_id: str,
        instance_id: str | None = None,
        timing: GroupTiming | None = None,
    ) -> None:
        timing = timing or GroupTiming()
        self._topics = list(topics)
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._fatal: BaseException | None = None
        self._stopped = False
        self._client: Any = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            client_id=client_id,
            group_id=group,
            group_instance_id=instance_id,
            enable_auto_commit=False,
            # The first position comes from PostgreSQL; a client that chose one itself would skip or repeat.
            auto_offset_reset="none",
            session_timeout_ms=int(timing.session_s * 1000),
            rebalance_timeout_ms=int(timing.rebalance_s * 1000),
            heartbeat_interval_ms=int(timing.heartbeat_s * 1000),
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            metadata_max_age_ms=60_000,
        )

    async def start(self) -> None:
        """Join the group. Raises KafkaUnavailableError."""
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                await self._client.start()
        except (TimeoutError, ClientError, OSError) as error:
            await self.stop()
            raise KafkaUnavailableError(f"cannot join the group ({type(error).__name__})") from error
        self._client.subscribe(topics=self._topics, listener=_Listener(self))

    async def stop(self) -> None:
        """Leave within a few seconds, whatever the broker does."""
        self._stopped = True
        with contextlib.suppress(TimeoutError, ClientError, OSError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._client.stop()

    async def assigned(self, partitions: list[Any]) -> None:
        """Place the gained partitions; called by the client."""
        # Before any await: the client opens the assignment to reads while this still runs (aiokafka#738).
        self._client.pause(*partitions)
        try:
            positions = await self._on_assigned(frozenset(map(_place, partitions)))
            for place, offset in positions.items():
                self.seek(place, offset)
            self.resume(positions)
        except Exception as error:  # noqa: BLE001  # the client only logs what a listener raises; poll raises it
            self._fatal = error

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Let go of partitions; called by the client."""
        if self._stopped or not partitions:
            return
        try:
            await self._on_revoked(partitions)
        except Exception as error:  # noqa: BLE001  # as above
            self._fatal = error

    async def poll(self, max_records: int, timeout_s: float) -> dict[Partition, list[Record]]:
        """Return up to `max_records` records, or none after `timeout_s`; a cancelled call would lose some.

        Raises what `on_assigned` raised, OffsetOutOfRangeError and KafkaUnavailableError.
        """
        if self._fatal is not None:
            raise self._fatal
        try:
            found = await self._client.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except NoOffsetForPartitionError:
            return {}  # the client asks the group for a position that it does not keep; our seek follows
        except ClientOutOfRange as error:
            raise OffsetOutOfRangeError("the log no longer holds our position") from error
        except (ClientError, OSError) as error:
            raise KafkaUnavailableError(f"cannot read ({type(error).__name__})") from error
        if self._fatal is not None:
            raise self._fatal
        return {(place := _place(partition)): _records(place, raws) for partition, raws in found.items()}

    def seek(self, place: Partition, offset: int) -> None:
        """Read a partition from `offset` on; ignored if it is no longer ours."""
        partition = TopicPartition(*place)
        if partition in self._client.assignment():
            self._client.seek(partition, offset)

    def pause(self, places: Iterable[Partition]) -> None:
        """Stop fetching from partitions."""
        for place in places:
            partition = TopicPartition(*place)
            if partition in self._client.assignment():
                self._client.pause(partition)

    def resume(self, places: Iterable[Partition]) -> None:
        """Fetch from partitions again."""
        for place in places:
            partition = TopicPartition(*place)
            if partition in self._client.assignment():
                self._client.resume(partition)

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell Kafka where we are, for lag tools; failures do not matter and are dropped."""
        mine = self._client.assignment()
        offsets = {
            TopicPartition(*place): OffsetAndMetadata(offset, "")
            for place, offset in positions.items()
            if TopicPartition(*place) in mine
        }
        if offsets:
            with contextlib.suppress(TimeoutError, ClientError, OSError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._client.commit(offsets)

    async def log_starts(self, places: Iterable[Partition]) -> dict[Partition, int]:
        """Return the first offset that each log still holds."""
        return await self._offsets(self._client.beginning_offsets, places)

    async def log_ends(self, places: Iterable[Partition]) -> dict[Partition, int]:
        """Return the offset that the next record of each log will have."""
        return await self._offsets(self._client.end_offsets, places)

    def highwater(self, place: Partition) -> int | None:
        """Return the log's end as of the last fetch, or None before the first."""
        partition = TopicPartition(*place)
        if partition not in self._client.assignment():
            return None
        return cast("int | None", self._client.highwater(partition))

    async def _offsets(
        self, ask: Callable[[list[Any]], Awaitable[dict[Any, int]]], places: Iterable[Partition]
    ) -> dict[Partition, int]:
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                found = await ask([TopicPartition(*place) for place in places])
        except (TimeoutError, ClientError, OSError) as error:
            raise KafkaUnavailableError(f"cannot look up offsets ({type(error).__name__})") from error
        return {_place(partition): offset for partition, offset in found.items()}


def _records(place: Partition, raws: Iterable[Any]) -> list[Record]:
    topic, number = place
    return [
        Record(topic, number, raw.offset, raw.key, raw.value, dict(raw.headers), raw.timestamp, place)
        for raw in raws
    ]


class Reader:
    """Reads topics without a group: to follow one on a terminal, or to read one whole."""

    def __init__(self, bootstrap: str, *, client_id: str = "cxloop-reader") -> None:
        self._client: Any = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            client_id=client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )

    async def start(self) -> None:
        """Connect. Raises KafkaUnavailableError."""
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                await self._client.start()
        except (TimeoutError, ClientError, OSError) as error:
            await self.stop()
            raise KafkaUnavailableError(f"no Kafka to read from ({type(error).__name__})") from error

    async def stop(self) -> None:
        """Disconnect within a few seconds."""
        with contextlib.suppress(TimeoutError, ClientError, OSError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._client.stop()

    async def assign(self, topics: Collection[str], *, from_start: bool) -> list[Partition]:
        """Read all partitions of these topics from their start or from now on; missing topics are left out."""
        # Asked by name, the client logs an error for each topic that is missing and goes on asking.
        known = cast("set[str]", await self._client.topics())
        client = self._client._client  # noqa: SLF001  # without a subscription there is no public way to learn of a topic
        places: list[Any] = []
        for topic in topics:
            if topic in known:
                await client.add_topic(topic)
        await client.force_metadata_update()
        for topic in topics:
            numbers = cast("set[int] | None", self._client.partitions_for_topic(topic)) or set()
            places += [TopicPartition(topic, number) for number in sorted(numbers)]
        if places:
            self._client.assign(places)
            if from_start:
                await self._client.seek_to_beginning(*places)
            else:
                await self._client.seek_to_end(*places)
        return [_place(place) for place in places]

    async def ends(self, places: Iterable[Partition]) -> dict[Partition, int]:
        """Return the offset that the next record of each partition will have."""
        found = await self._client.end_offsets([TopicPartition(*place) for place in places])
        return {_place(partition): offset for partition, offset in found.items()}

    async def starts(self, places: Iterable[Partition]) -> dict[Partition, int]:
        """Return the first offset that each partition still holds."""
        found = await self._client.beginning_offsets([TopicPartition(*place) for place in places])
        return {_place(partition): offset for partition, offset in found.items()}

    async def poll(self, timeout_s: float, max_records: int | None = None) -> list[Record]:
        """Return what has come, or nothing after `timeout_s`."""
        try:
            found = await self._client.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except (ClientError, OSError) as error:
            raise KafkaUnavailableError(f"cannot read ({type(error).__name__})") from error
        return [record for partition, raws in found.items() for record in _records(_place(partition), raws)]

    async def read_all(self, topics: Collection[str]) -> list[Record]:
        """Read everything that stands in these topics now, in offset order within each partition."""
        places = await self.assign(topics, from_start=True)
        if not places:
            return []
        missing = {place: end for place, end in (await self.ends(places)).items() if end > 0}
        records: list[Record] = []
        idle = 0
        while missing and idle < 50:  # noqa: PLR2004  # 50 polls of 0.1 s: a log whose last records were compacted away
            found = await self.poll(0.1)
            idle = 0 if found else idle + 1
            for record in found:
                if (end := missing.get(record.place)) is not None and record.offset >= end - 1:
                    del missing[record.place]
            records += found
        return records
