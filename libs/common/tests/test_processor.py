import asyncio
from collections.abc import Iterable

import asyncpg
import pytest

from cxloop_common.kafka.consumer import GroupConsumer, Reader
from cxloop_common.kafka.records import Partition, Record
from cxloop_common.processor import Batch, FencedError, Transaction, dead_letters, offsets
from cxloop_common.processor.assignment import Assignment
from cxloop_common.processor.outbox import OutboxRelay
from cxloop_common.processor.processor import Processor
from cxloop_common.processor.reading import BatchReader
from cxloop_common.testing.tally import Tally, TallyHandler, distinct, expected, make_tally
from cxloop_common.topics import DEAD_LETTERS, SCORES, TICKETS, TopicNames


async def read_all(tally: Tally, topic: str) -> list[str]:
    reader = Reader(tally.kafka)
    await reader.start()
    try:
        return [record.headers["ce_id"].decode() for record in await reader.read_all([topic])]
    finally:
        await reader.stop()


async def test_every_record_is_counted_once_however_often_it_was_sent(tally: Tally) -> None:
    records = distinct(500)
    sent = records + records[150:350]
    await tally.send(sent)
    async with tally.working(TallyHandler(tally.names)):
        await tally.count_is(500)
    assert await tally.totals() == expected(records)


async def test_a_restarted_worker_goes_on_where_the_last_commit_ended(tally: Tally) -> None:
    first, second = distinct(300), distinct(300)
    await tally.send(first)
    handler = TallyHandler(tally.names)
    async with tally.working(handler):
        await tally.count_is(300)
    await tally.send(second)
    again = TallyHandler(tally.names)
    async with tally.working(again):
        await tally.count_is(600)
    assert sum(again.batches) == 300, "records that were committed were read again"
    assert await tally.totals() == expected([*first, *second])


async def test_what_was_published_is_durable_before_its_batch_commits(tally: Tally) -> None:
    records = distinct(50)
    await tally.send(records)
    committed_too_early: list[str] = []

    async def look(point: str) -> None:
        if point == "before_commit":
            on_kafka = set(await read_all(tally, tally.names.name(SCORES)))
            rows = await tally.fetch("SELECT id FROM seen")
            committed_too_early.extend(row[0] for row in rows if row[0] not in on_kafka)

    async with tally.working(TallyHandler(tally.names, "publish"), probe=look):
        await tally.count_is(50)
    assert not committed_too_early
    assert sorted(await read_all(tally, tally.names.name(SCORES))) == sorted(r[0] for r in records)


async def test_nothing_leaves_the_outbox_before_the_commit_and_all_of_it_after(tally: Tally) -> None:
    records = distinct(100)
    await tally.send(records)
    early: list[str] = []

    async def look(point: str) -> None:
        if point == "before_commit":
            early.extend(await read_all(tally, tally.names.name(SCORES)))

    relay = OutboxRelay(tally.database, tally.producer, tally.telemetry)
    relaying = asyncio.create_task(relay.run())
    async with tally.working(TallyHandler(tally.names, "enqueue"), probe=look, batch_records=100_000):
        await tally.count_is(100)

        async def emptied() -> bool:
            return (await tally.fetch("SELECT count(*) FROM outbox"))[0][0] == 0

        await tally.until(emptied)
    relaying.cancel()
    announced = await read_all(tally, tally.names.name(SCORES))
    assert len(set(early)) < len(records)
    assert sorted(set(announced)) == sorted(r[0] for r in records)


async def test_a_parked_record_leaves_its_neighbours_unharmed_and_is_kept_with_its_reason(
    tally: Tally,
) -> None:
    good = distinct(40)
    await tally.send([*good[:20], ("bad-1", "key-1", "unreadable"), *good[20:]])
    async with tally.working(TallyHandler(tally.names)):
        await tally.count_is(40)
    assert await tally.totals() == expected(good)
    rows = await tally.fetch("SELECT reason, value FROM dead_letters")
    assert [tuple(row) for row in rows] == [("unreadable", b"unreadable")]
    assert await read_all(tally, tally.names.name(DEAD_LETTERS["scoring"])) == ["bad-1"]


@pytest.mark.parametrize(("value", "reason"), [("crash", "unexpected"), ("overflow", "rejected_by_database")])
async def test_one_bad_record_is_found_by_halving_the_batch(tally: Tally, value: str, reason: str) -> None:
    good = distinct(60)
    await tally.send([*good[:31], ("bad", "key-2", value), *good[31:]])
    async with tally.working(TallyHandler(tally.names)):
        await tally.count_is(60)
    assert await tally.totals() == expected(good)
    assert [row[0] for row in await tally.fetch("SELECT reason FROM dead_letters")] == [reason]


async def test_a_topic_of_poison_pauses_at_the_limit_and_goes_on_when_released(tally: Tally) -> None:
    await tally.send([(f"bad-{i}", "one-key", "unreadable") for i in range(40)])
    good = [("good", "one-key", "7")]
    async with tally.working(TallyHandler(tally.names)) as processor:

        async def paused() -> bool:
            return "poison" in (await processor.readiness() or "")

        await tally.until(paused)
        assert (await tally.fetch("SELECT count(*) FROM dead_letters"))[0][0] == 5
        await tally.send(good)
        await asyncio.sleep(0.5)
        assert await tally.totals() == {}, "a paused partition went on by itself"
        for _ in range(12):  # eight of them are needed, if each is noticed before the next
            connection = await tally.database.connect()
            await offsets.release(connection)
            await connection.close()
            await asyncio.sleep(2.2)
            if await tally.totals():
                break
    assert await tally.totals() == expected(good)


async def test_the_poison_streak_survives_a_restart(tally: Tally) -> None:
    await tally.send([(f"bad-{i}", "one-key", "unreadable") for i in range(3)])
    async with tally.working(TallyHandler(tally.names)):

        async def parked() -> bool:
            return (await tally.fetch("SELECT count(*) FROM dead_letters"))[0][0] == 3

        await tally.until(parked)
    await tally.send([(f"worse-{i}", "one-key", "unreadable") for i in range(20)])
    async with tally.working(TallyHandler(tally.names)) as processor:

        async def paused() -> bool:
            return "poison" in (await processor.readiness() or "")

        await tally.until(paused)
    assert (await tally.fetch("SELECT count(*) FROM dead_letters"))[0][0] == 5


async def test_a_dead_letter_is_replayed_as_it_came(tally: Tally) -> None:
    await tally.send([("bad", "key-1", "unreadable")])
    async with tally.working(TallyHandler(tally.names)):

        async def parked() -> bool:
            return (await tally.fetch("SELECT count(*) FROM dead_letters"))[0][0] >= 1

        await tally.until(parked)
    connection = await tally.database.connect()
    async with connection.transaction():
        [message] = await dead_letters.take_for_replay(connection)
    await connection.close()
    assert (message.topic, message.key, message.value) == (tally.topic, b"key-1", b"unreadable")
    assert dict(message.headers)["ce_id"] == b"bad"


async def test_a_worker_whose_partitions_another_has_moved_is_fenced_and_writes_nothing(tally: Tally) -> None:
    await tally.send([(f"e{i}", "one-key", "1") for i in range(10)])
    async with tally.working(TallyHandler(tally.names)):
        await tally.count_is(10)
    zombie = Processor(tally, handler=TallyHandler(tally.names), topics=[TICKETS])
    [(number, reached)] = await tally.fetch(
        "SELECT partition, next_offset FROM offsets WHERE next_offset > 0"
    )
    place = Partition(tally.topic, number)
    zombie._assignment.positions[place] = reached - 10  # where it stood before it was suspended
    zombie._assignment.shards[place] = 1
    late = [
        Record(*place, reached - 10 + i, b"one-key", b"1", {"ce_id": f"z{i}".encode()}, 0) for i in range(10)
    ]
    with pytest.raises(FencedError):
        await zombie._commit(late, {})
    await zombie._disconnect()
    assert await tally.totals() == {"one-key": (10, 10)}


async def test_a_batch_read_before_its_partition_went_away_and_came_back_is_fenced(tally: Tally) -> None:
    await tally.send([(f"e{i}", "one-key", "1") for i in range(10)])
    async with tally.working(TallyHandler(tally.names)):
        await tally.count_is(10)
    worker = Processor(tally, handler=TallyHandler(tally.names), topics=[TICKETS])
    [(number, reached)] = await tally.fetch(
        "SELECT partition, next_offset FROM offsets WHERE next_offset > 0"
    )
    place = Partition(tally.topic, number)
    worker._assignment.positions[place] = reached - 10
    worker._assignment.shards[place] = 1
    read_then = [
        Record(*place, reached - 10 + i, b"one-key", b"1", {"ce_id": f"z{i}".encode()}, 0) for i in range(10)
    ]
    holder = await tally.database.connect()
    transaction = holder.transaction()
    await transaction.start()
    await offsets.lock(holder, [place])
    commit = asyncio.create_task(worker._commit(read_then, {}))

    async def waits_for_the_lock() -> bool:
        rows = await tally.fetch(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(rows)

    await tally.until(waits_for_the_lock)
    worker._assignment.positions[place] = reached  # what an assignment reads meanwhile
    await transaction.rollback()
    await holder.close()
    with pytest.raises(FencedError):
        await commit
    await worker._disconnect()
    assert await tally.totals() == {"one-key": (10, 10)}


async def test_a_batch_is_dropped_where_the_database_went_back_behind_it(tally: Tally) -> None:
    await tally.send([(f"e{i}", "one-key", "1") for i in range(10)])
    async with tally.working(TallyHandler(tally.names)):
        await tally.count_is(10)
    [(number, reached)] = await tally.fetch(
        "SELECT partition, next_offset FROM offsets WHERE next_offset > 0"
    )
    place = Partition(tally.topic, number)
    worker = Processor(tally, handler=TallyHandler(tally.names), topics=[TICKETS])
    # A standby took over that lacks the last commits: our position lies beyond its row.
    worker._assignment.positions[place] = reached + 5
    worker._assignment.shards[place] = 1
    await worker._process(
        [Record(*place, reached + 5 + i, b"one-key", b"1", {"ce_id": f"z{i}".encode()}, 0) for i in range(10)]
    )
    await worker._disconnect()
    assert worker._assignment.positions[place] == reached, "what lies between will be read again"
    assert await tally.fetch("SELECT next_offset FROM offsets WHERE next_offset > 0") == [(reached,)]
    assert await tally.totals() == {"one-key": (10, 10)}


async def test_what_was_read_ahead_is_read_again_where_its_partition_was_placed_anew(tally: Tally) -> None:
    await tally.send([(f"e{i}", "one-key", "1") for i in range(50)])
    assignment = Assignment()
    row = offsets.Position(topic_id="t", shard=1, next_offset=0, poison_streak=0, paused=None)

    def take(places: Iterable[Partition]) -> dict[Partition, int]:
        for place in places:
            assignment.take(place, row, log_start=0, log_end=50, topic_id="t")
        return dict(assignment.positions)

    async def on_assigned(places: frozenset[Partition]) -> dict[Partition, int]:
        return take(places)

    async def on_revoked(places: frozenset[Partition]) -> None:
        assignment.forget(places)

    consumer = GroupConsumer(
        tally.kafka,
        group=tally.names.group("reads-ahead"),
        topics=[tally.topic],
        on_assigned=on_assigned,
        on_revoked=on_revoked,
        client_id="reads-ahead",
    )
    await consumer.start()
    reader = BatchReader(consumer, assignment, max_records=10, timeout_s=0.25)
    try:
        first: list[Record] = []
        while not first:
            first = await reader.next()
        assignment.advance(first[0].place, 10)
        reader.read_on()
        take(assignment.positions)  # a rebalance while it was read: we stand at 0 again
        assert await reader.next() == [], "records were given that do not follow on our position"
        again: list[Record] = []
        while not again:
            again = await reader.next()
    finally:
        await reader.stop()
        await consumer.stop()
    assert [record.offset for record in again] == list(range(10))


async def test_what_was_read_ahead_of_a_lost_connection_is_counted_once(tally: Tally) -> None:
    records = [(f"e{i}", "one-key", "1") for i in range(50)]
    await tally.send(records)
    lost = 0

    async def lose(point: str) -> None:
        nonlocal lost
        if point == "before_commit" and lost < 3:
            lost += 1
            raise ConnectionResetError

    handler = TallyHandler(tally.names)
    async with tally.working(handler, probe=lose, batch_records=10):
        await tally.count_is(50)
    assert lost == 3
    assert await tally.totals() == expected(records)


class BrokenConnectionHandler(TallyHandler):
    """Fails once, in the way a connection that breaks in mid-answer fails."""

    def __init__(self, names: TopicNames, error: Exception, *, close: bool) -> None:
        super().__init__(names)
        self.error: Exception | None = error
        self.close = close

    async def handle(self, batch: Batch, transaction: Transaction) -> None:
        error, self.error = self.error, None
        if error is not None:
            if self.close:
                transaction.connection.terminate()
            raise error
        await super().handle(batch, transaction)


@pytest.mark.parametrize(
    ("error", "close"),
    [(asyncpg.InternalClientError("got result for unknown protocol state"), False), (KeyError("lost"), True)],
)
async def test_no_record_is_parked_for_a_connection_that_broke_under_it(
    tally: Tally, error: Exception, *, close: bool
) -> None:
    await tally.send([("alone", "one-key", "1")])
    async with tally.working(BrokenConnectionHandler(tally.names, error, close=close)):
        await tally.count_is(1)
    assert not await tally.fetch("SELECT 1 FROM dead_letters")


async def test_a_commit_whose_answer_was_lost_is_counted_once(tally: Tally) -> None:
    records = distinct(30)
    await tally.send(records)
    lost = 0

    async def lose_the_answer(point: str) -> None:
        nonlocal lost
        if point == "after_commit" and lost < 3:
            lost += 1
            raise ConnectionResetError

    async with tally.working(TallyHandler(tally.names), probe=lose_the_answer, batch_records=10):
        await tally.count_is(30)
    assert lost == 3
    assert await tally.totals() == expected(records)


async def test_a_backend_killed_in_mid_batch_costs_nothing(tally: Tally) -> None:
    records = distinct(200)
    await tally.send(records)
    kills = 0

    async def kill(point: str) -> None:
        nonlocal kills
        if point == "before_commit" and kills < 4:
            kills += 1
            await tally.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cxloop-tally' "
                "AND state = 'idle in transaction'"
            )

    async with tally.working(TallyHandler(tally.names), probe=kill, batch_records=40):
        await tally.count_is(200)
    assert kills == 4
    assert await tally.totals() == expected(records)


async def test_two_workers_share_the_partitions_and_count_everything_once(tally: Tally) -> None:
    records = distinct(2000, keys=50)
    await tally.send(records[:1000])
    async with tally.working(TallyHandler(tally.names)):
        await tally.count_is(200)
        async with tally.working(TallyHandler(tally.names)):
            await tally.send(records[1000:])
            await tally.count_is(1500)
        await tally.count_is(2000)
    assert await tally.totals() == expected(records)


async def test_a_topic_made_anew_is_lost_data_until_an_operator_accepts_it(tally: Tally) -> None:
    await tally.send(distinct(10))
    async with tally.working(TallyHandler(tally.names)):
        await tally.count_is(10)
    await tally.fetch("UPDATE offsets SET topic_id = 'another' RETURNING 1")
    more = distinct(10)
    await tally.send(more)
    async with tally.working(TallyHandler(tally.names)) as processor:

        async def noticed() -> bool:
            return "lost data" in (await processor.readiness() or "")

        await tally.until(noticed)
        assert (await tally.fetch("SELECT count(*) FROM seen"))[0][0] == 10


async def test_a_transaction_that_stalls_is_ended_by_the_server_and_its_batch_tried_again(
    kafka: str, database_url: str, topic_names: TopicNames
) -> None:
    async with make_tally(kafka, database_url, topic_names, transaction_timeout_s=1) as tally:
        records = distinct(20)
        await tally.send(records)
        handler = TallyHandler(tally.names)
        stalled: list[int] = []

        async def stall(batch: Batch) -> None:
            if not stalled:
                stalled.append(len(batch))
                await asyncio.sleep(1.5)

        handler.before = stall
        async with tally.working(handler):
            await tally.count_is(20)
        assert stalled
        assert await tally.totals() == expected(records)
