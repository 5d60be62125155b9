"""The Processor: records in, one PostgreSQL transaction a batch, offsets in the same transaction.

At-least-once reading becomes exactly-once state because a batch commits its new offsets together with what it
wrote, and because a batch whose offsets were moved by somebody else meanwhile is rolled back by the fence.
"""

import asyncio
import contextlib
import os
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import asyncpg

from cxloop_common.context import Context
from cxloop_common.database import is_transient
from cxloop_common.kafka.admin import Admin
from cxloop_common.kafka.consumer import GroupConsumer, GroupTiming
from cxloop_common.kafka.errors import KafkaError, TopicError
from cxloop_common.kafka.records import Partition, Record
from cxloop_common.processor import dead_letters, fates, offsets, outbox
from cxloop_common.processor.assignment import Assignment, Standing
from cxloop_common.processor.errors import Fate, FencedError, PoisonError, PoisonFlood, PoisonReason
from cxloop_common.processor.fates import Move, Poison
from cxloop_common.processor.handler import Batch, Handler
from cxloop_common.processor.offsets import Position
from cxloop_common.processor.reading import BatchReader
from cxloop_common.processor.transaction import BatchTransaction
from cxloop_common.telemetry import error_fields, get_logger
from cxloop_common.topics import DEAD_LETTERS, Topic

Probe = Callable[[str], Awaitable[None]]
"""Called at named points of a batch ("before_commit", "after_commit"): where fault runs kill the process."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
RELEASE_CHECK_S = 2.0
KAFKA_COMMIT_S = 1.0
POLL_S = 0.25


async def _no_probe(_: str) -> None:
    return


class Processor:
    """Reads topics as one member of a group and gives batches to a handler.

    `run` goes on until it is cancelled; it waits out a missing broker or database by itself. A partition that
    was flooded with poison or lost data is paused and named by `readiness` until an operator decides; the
    others go on.
    """

    def __init__(
        self,
        context: Context,
        *,
        handler: Handler,
        topics: Sequence[Topic],
        name: str | None = None,
        batch_records: int | None = None,
        probe: Probe = _no_probe,
    ) -> None:
        self.name = name or context.service
        self._service = context.service
        self._settings = context.settings
        self._database = context.database
        self._producer = context.producer
        self._names = context.names
        self._telemetry = context.telemetry
        self._handler = handler
        self._topics = [context.names.name(topic) for topic in topics]
        self._batch_records = batch_records or context.settings.batch_records
        self._probe = probe
        self._log = get_logger(f"cxloop.processor.{self.name}")
        self._assignment = Assignment()
        self._idle = asyncio.Event()
        self._idle.set()
        self._joined = False
        self._trouble: str | None = "starting"
        self._progress = time.monotonic()
        self._waiting_out = False
        self._connection: asyncpg.Connection | None = None
        self._consumer: GroupConsumer | None = None
        self._reader: BatchReader | None = None
        self._kafka_commit: asyncio.Task[None] | None = None
        self._last_kafka_commit = 0.0
        self._last_release_check = 0.0

    # Running ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Process until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            try:
                await self._session()
            except Exception as error:
                if not (is_transient(error) or isinstance(error, KafkaError | asyncpg.UndefinedTableError)):
                    raise
                self._trouble = f"waiting: {type(error).__name__}"
                self._log.warning("processor_waits", **error_fields(error))
            if time.monotonic() - started > LONGEST_PAUSE_S * 2:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter, not a secret
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def readiness(self) -> str | None:
        """Say what keeps this processor from working, or None."""
        if blocked := self._assignment.blocked:
            return "; ".join(f"{topic}/{number}: {why}" for (topic, number), why in sorted(blocked.items()))
        if self._trouble is not None:
            return self._trouble
        return None if self._joined else "has not joined its group yet"

    async def _session(self) -> None:
        """One membership of the group, from joining to whatever ends it."""
        self._assignment.forget(self._assignment.places)
        self._joined = False
        settings = self._settings
        slot = settings.worker_slot
        consumer = self._consumer = GroupConsumer(
            settings.kafka_bootstrap,
            group=self._names.group(self.name),
            topics=self._topics,
            on_assigned=self._on_assigned,
            on_revoked=self._on_revoked,
            client_id=f"cxloop-{self.name}",
            # Static membership: a killed worker that comes back is given its partitions at once.
            instance_id=None if slot is None else f"{self._names.group(self.name)}-{slot}",
            timing=GroupTiming(
                settings.session_timeout_s, settings.rebalance_timeout_s, settings.heartbeat_interval_s
            ),
        )
        reader = self._reader = BatchReader(
            consumer, self._assignment, max_records=self._batch_records, timeout_s=POLL_S
        )
        watchdog = None
        try:
            await self._connect()
            # A group that is joined before its topics exist learns of them a minute later, by chance.
            await self._topic_ids()
            await consumer.start()
            self._progress = time.monotonic()
            watchdog = asyncio.create_task(self._watch(consumer))
            self._trouble = None
            while True:
                await self._look_for_releases(consumer)
                records = await reader.next()
                if records:
                    self._idle.clear()
                    try:
                        await self._process(records)
                    finally:
                        self._idle.set()
                self._report(consumer)
        finally:
            if watchdog is not None:
                watchdog.cancel()
            self._reader = None
            await reader.stop()
            await consumer.stop()
            await self._disconnect()

    # Partitions come and go ---------------------------------------------------------------------------

    async def _on_assigned(self, places: frozenset[Partition]) -> dict[Partition, int]:
        assert self._consumer is not None  # noqa: S101  # the consumer calls back only while it exists
        self._assignment.places = places
        if places:
            await self._take(self._consumer, places)
        self._joined = True
        self._log.info("partitions_assigned", partitions=[f"{t}/{n}" for t, n in sorted(places)])
        positions = self._assignment.positions
        return {place: positions[place] for place in places if place in positions}

    async def _take(self, consumer: GroupConsumer, places: frozenset[Partition]) -> None:
        """Take partitions as their rows and their logs say now."""
        rows = await self._positions_of(consumer, places)
        starts = await consumer.log_starts(places)
        ends = await consumer.log_ends(places)
        ids = await self._topic_ids()
        for place in sorted(places):
            standing = self._assignment.take(
                place,
                rows[place],
                log_start=starts[place],
                log_end=ends[place],
                topic_id=ids[place.topic],
            )
            if standing is Standing.LOST_DATA:
                why = self._assignment.blocked[place]
                self._log.error("lost_data", topic=place.topic, partition=place.number, reason=why)

    async def _on_revoked(self, places: frozenset[Partition]) -> None:
        # The batch in flight may finish; if it does not in time, the fence decides.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self._settings.rebalance_timeout_s / 2)
        self._assignment.forget(places)

    async def _positions_of(
        self, consumer: GroupConsumer, places: frozenset[Partition]
    ) -> dict[Partition, Position]:
        """Read positions, making rows at the log's start for partitions never seen."""
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            rows = await offsets.read(connection, places)
            missing = places - rows.keys()
            if missing:
                starts = await consumer.log_starts(missing)
                ids = await self._topic_ids()
                await offsets.insert(
                    connection, {place: (ids[place.topic], starts[place]) for place in missing}
                )
                rows = await offsets.read(connection, places)
        return rows

    async def _topic_ids(self) -> dict[str, str]:
        async with Admin(self._settings.kafka_bootstrap) as admin:
            found = await admin.describe(self._topics)
        if missing := sorted(set(self._topics) - found.keys()):
            raise TopicError(f"no topic {', '.join(missing)} on the broker")
        return {name: state.topic_id for name, state in found.items()}

    async def _look_for_releases(self, consumer: GroupConsumer) -> None:
        """Every few seconds, see whether an operator released a paused partition."""
        now = time.monotonic()
        if not self._assignment.blocked or now - self._last_release_check < RELEASE_CHECK_S:
            return
        self._last_release_check = now
        places = frozenset(self._assignment.blocked) & self._assignment.places
        await self._take(consumer, places)
        for place in sorted(places & self._assignment.positions.keys()):
            consumer.seek(place, self._assignment.positions[place])
            consumer.resume([place])
            self._log.info("partition_released", topic=place.topic, partition=place.number)

    # Batches ------------------------------------------------------------------------------------------

    async def _process(self, records: Sequence[Record]) -> None:
        """Commit records in as few transactions as possible; each error's type chooses what happens next."""
        work: deque[Sequence[Record]] = deque([records])
        poison: Poison = {}
        pause_s = FIRST_PAUSE_S
        era = self._assignment.era
        while work:
            part = self._assignment.still_ours(work[0], era)
            if not part:
                work.popleft()
                continue
            started = time.monotonic()
            try:
                await self._commit(part, poison)
            except PoisonError as error:
                fates.condemn(work, part, error, poison)
            except PoisonFlood as flood:
                work[0] = [r for r in part if r.place != flood.place or r.offset <= flood.last_offset]
            except FencedError as error:
                self._log.warning("fenced", **error_fields(error))
                await self._resynchronise(part)
            except Exception as error:  # noqa: BLE001  # every fate is decided by type just below
                if fates.fate(error) is Fate.PARK and self._connected():
                    reason = (
                        PoisonReason.REJECTED_BY_DATABASE
                        if isinstance(error, asyncpg.PostgresError)
                        else PoisonReason.UNEXPECTED
                    )
                    self._log.warning("batch_failed", records=len(part), **error_fields(error))
                    fates.condemn(work, part, PoisonError(reason, type(error).__name__), poison)
                    continue
                self._trouble = f"retrying a batch: {type(error).__name__}"
                self._log.warning("batch_retried", records=len(part), pause_s=pause_s, **error_fields(error))
                if time.monotonic() - started >= 0.9 * self._settings.transaction_timeout_s and len(part) > 1:
                    # The server ended a transaction that took too long: a smaller one may fit.
                    fates.halve(work, part)
                await self._wait_out(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                await self._resynchronise(part)
            else:
                work.popleft()
                pause_s = FIRST_PAUSE_S
                self._trouble = None

    def _connected(self) -> bool:
        """Tell whether the batch's connection still stands: one that broke may be behind any error."""
        return self._connection is not None and not self._connection.is_closed()

    async def _commit(self, part: Sequence[Record], poison: Poison) -> None:
        """One transaction: fence, handle, park, advance, publish, COMMIT."""
        began = time.perf_counter()
        # Before any await: partitions may go away and come back, at another position, while we wait for locks.
        known = {place: self._assignment.positions.get(place) for place in {record.place for record in part}}
        connection = await self._connect()
        wanted = [r for r in part if (r.place, r.offset) not in poison] if poison else part
        batch = Batch(wanted, self._assignment.shards, dict(poison))
        batch_transaction = BatchTransaction(connection, self._producer)
        database_transaction = connection.transaction()
        await database_transaction.start()
        try:
            rows = await self._fence(connection, known)
            # Only in a backlog: otherwise what arrives during this batch had better come together in the next.
            if self._reader is not None and 2 * len(part) >= self._batch_records:
                self._reader.read_on()
            if batch.records:
                await self._handler.handle(batch, batch_transaction)
            parked = (
                [(r, batch.parked[r.place, r.offset]) for r in part if (r.place, r.offset) in batch.parked]
                if batch.parked
                else []
            )
            moves = fates.moves(part, batch.parked, rows, self._settings.poison_limit)
            if parked:
                topic = self._names.name(DEAD_LETTERS[self._service])
                batch_transaction.publish([dead_letters.message(topic, r, error) for r, error in parked])
                await dead_letters.insert(connection, parked)
            await self._advance(connection, moves)
            await outbox.enqueue(connection, batch_transaction.outbox)
            await batch_transaction.acknowledged()
            await self._probe("before_commit")
        except BaseException:
            await batch_transaction.abandon()
            await self._roll_back(database_transaction)
            raise
        await database_transaction.commit()
        await self._probe("after_commit")
        self._committed(moves, parked, len(part), time.perf_counter() - began)

    async def _fence(
        self, connection: asyncpg.Connection, known: Mapping[Partition, int | None]
    ) -> dict[Partition, Position]:
        """Lock this batch's positions and compare them with those it was read from. Raises FencedError."""
        rows = await offsets.lock(connection, known)
        moved = tuple(
            place for place in sorted(known) if place not in rows or rows[place].next_offset != known[place]
        )
        if moved:
            raise FencedError(moved)
        return rows

    async def _advance(self, connection: asyncpg.Connection, moves: Mapping[Partition, Move]) -> None:
        await offsets.advance(
            connection, {place: (m.next_offset, m.poison_streak, m.paused) for place, m in moves.items()}
        )

    def _committed(
        self,
        moves: Mapping[Partition, Move],
        parked: Sequence[tuple[Record, PoisonError]],
        records: int,
        seconds: float,
    ) -> None:
        for place, move in moves.items():
            self._assignment.advance(place, move.next_offset)
            if move.paused is not None:
                self._block(place, move.paused)
        for record, error in parked:
            self._telemetry.dead_letters.labels(record.topic, error.reason.value).inc()
            self._log.warning(
                "record_parked",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=error.reason.value,
            )
        self._telemetry.batch_seconds.observe(seconds)
        self._telemetry.batch_records.observe(records)
        self._progress = time.monotonic()

    def _block(self, place: Partition, why: str) -> None:
        self._assignment.block(place, why)
        if self._consumer is not None:
            self._consumer.pause([place])
        self._log.error("partition_paused", topic=place.topic, partition=place.number, reason=why)

    @staticmethod
    async def _roll_back(transaction: Any) -> None:
        # A broken connection has rolled back by itself; its error must not hide the first one.
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await transaction.rollback()

    async def _resynchronise(self, part: Sequence[Record]) -> None:
        """Read the positions again, waiting for whoever still holds them; this settles an ambiguous COMMIT.

        The rows are locked to read them: a COMMIT of ours whose answer was lost may still be under way.
        """
        places = {record.place for record in part} & self._assignment.positions.keys()
        pause_s = FIRST_PAUSE_S
        while places:
            await self._disconnect()
            try:
                connection = await self._connect()
                async with connection.transaction():
                    rows = await offsets.lock(connection, places)
                break
            except Exception as error:
                if not is_transient(error):
                    raise
                self._trouble = f"waiting for PostgreSQL: {type(error).__name__}"
                await self._wait_out(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                places &= self._assignment.positions.keys()
        else:
            return
        for place, row in rows.items():
            if place not in self._assignment.positions:
                continue
            if row.paused is not None:
                # Our own COMMIT, whose answer was lost, had paused it.
                self._block(place, row.paused)
            elif self._assignment.correct(place, row.next_offset) and self._consumer is not None:
                self._consumer.seek(place, row.next_offset)

    async def _wait_out(self, pause_s: float) -> None:
        self._waiting_out = True
        try:
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter, not a secret
        finally:
            self._waiting_out = False

    async def _connect(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(connection.close(), 2)

    # Watching -----------------------------------------------------------------------------------------

    def _report(self, consumer: GroupConsumer) -> None:
        """Once a second, tell Kafka and the metrics where we are."""
        now = time.monotonic()
        if now - self._last_kafka_commit < KAFKA_COMMIT_S:
            return
        self._last_kafka_commit = now
        for place, position in self._assignment.positions.items():
            end = consumer.highwater(place)
            if end is not None:
                self._telemetry.consumer_lag.labels(place.topic, str(place.number)).set(
                    max(0, end - position)
                )
        if self._kafka_commit is None or self._kafka_commit.done():
            self._kafka_commit = asyncio.create_task(consumer.commit(dict(self._assignment.positions)))

    async def _watch(self, consumer: GroupConsumer) -> None:
        """End the process when there is lag and nothing moves.

        A consumer can stay stuck after a broker restart (aio-libs/aiokafka#1154); a fresh process is not. What
        waits for PostgreSQL is not stuck.
        """
        limit_s = self._settings.watchdog_s
        while True:
            await asyncio.sleep(limit_s / 4)
            if self._waiting_out or time.monotonic() - self._progress < limit_s:
                continue
            try:
                ends = await consumer.log_ends(self._assignment.positions)
            except KafkaError:
                continue  # the broker is away: nothing can move
            positions = self._assignment.positions
            behind = {p: ends[p] - at for p, at in positions.items() if ends.get(p, 0) > at}
            if behind:
                self._log.error("watchdog", lag=sum(behind.values()), seconds=round(limit_s))
                os._exit(70)
            self._progress = time.monotonic()
