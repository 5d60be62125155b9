from collections import deque
from collections.abc import Sequence

import asyncpg
import pytest

from cxloop_common.kafka.errors import KafkaUnavailableError, MessageTooLargeError
from cxloop_common.kafka.records import Partition, Record
from cxloop_common.processor import Fate, FencedError, PoisonError, PoisonFlood, PoisonReason
from cxloop_common.processor.assignment import Assignment, Standing
from cxloop_common.processor.fates import Move, Poison, condemn, fate, moves
from cxloop_common.processor.offsets import Position

PLACE = Partition("tickets", 3)
ROW = Position(topic_id="t1", shard=7, next_offset=10, poison_streak=0, paused=None)
BAD = PoisonError(PoisonReason.UNEXPECTED, "KeyError")


def record(offset: int, place: Partition = PLACE) -> Record:
    return Record(place.topic, place.number, offset, b"k", b"v", {}, 0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KafkaUnavailableError("gone"), Fate.RETRY),
        (ConnectionResetError(), Fate.RETRY),
        (TimeoutError(), Fate.RETRY),
        (asyncpg.DeadlockDetectedError(), Fate.RETRY),
        (asyncpg.AdminShutdownError(), Fate.RETRY),
        (asyncpg.TransactionTimeoutError(), Fate.RETRY),
        (asyncpg.TooManyConnectionsError(), Fate.RETRY),
        (asyncpg.InterfaceError("connection is closed"), Fate.RETRY),
        (FencedError((PLACE,)), Fate.RETRY),
        (asyncpg.NumericValueOutOfRangeError(), Fate.PARK),
        (asyncpg.UniqueViolationError(), Fate.PARK),
        (asyncpg.DataError("a wrong argument"), Fate.PARK),
        (MessageTooLargeError("too large"), Fate.PARK),
        (KeyError("a bug"), Fate.PARK),
        (BAD, Fate.PARK),
        (PoisonFlood(PLACE, 1), Fate.STOP),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_the_type_of_an_error_chooses_its_fate(error: Exception, expected: Fate) -> None:
    assert fate(error) is expected


@pytest.mark.parametrize("bad", range(7))
def test_halving_finds_the_one_bad_record_and_keeps_the_order(bad: int) -> None:
    work: deque[Sequence[Record]] = deque([[record(i) for i in range(7)]])
    poison: Poison = {}
    done: list[int] = []
    for _ in range(20):
        if not work:
            break
        part = work[0]
        if any(r.offset == bad and (r.place, r.offset) not in poison for r in part):
            condemn(work, part, BAD, poison)
        else:
            done += [r.offset for r in part]
            work.popleft()
    assert done == list(range(7))
    assert list(poison) == [(PLACE, bad)]


def test_a_record_whose_parking_fails_stops_everything_instead_of_halving_for_ever() -> None:
    work: deque[Sequence[Record]] = deque([[record(1)]])
    with pytest.raises(PoisonError):
        condemn(work, work[0], BAD, {(PLACE, 1): BAD})


def test_a_good_record_ends_the_streak_of_bad_ones() -> None:
    parked = {(PLACE, offset) for offset in (10, 11, 13)}
    found = moves([record(offset) for offset in range(10, 14)], parked, {PLACE: ROW}, limit=3)
    assert found == {PLACE: Move(next_offset=14, poison_streak=1, paused=None)}


def test_the_partition_pauses_with_the_record_that_reaches_the_limit() -> None:
    parked = {(PLACE, offset) for offset in range(10, 13)}
    [move] = moves([record(offset) for offset in range(10, 13)], parked, {PLACE: ROW}, limit=3).values()
    assert move.next_offset == 13
    assert move.paused is not None
    with pytest.raises(PoisonFlood) as flood:
        moves([record(offset) for offset in range(10, 14)], parked, {PLACE: ROW}, limit=3)
    assert (flood.value.place, flood.value.last_offset) == (PLACE, 12)


@pytest.mark.parametrize(
    ("row", "log", "topic_id", "standing"),
    [
        (ROW, (0, 20), "t1", Standing.READ),
        (ROW, (10, 10), "t1", Standing.READ),
        (ROW, (11, 20), "t1", Standing.LOST_DATA),
        (ROW, (0, 9), "t1", Standing.LOST_DATA),
        (ROW, (0, 20), "t2", Standing.LOST_DATA),
        (Position("t1", 7, 10, 25, "paused: poison"), (0, 20), "t1", Standing.PAUSED),
    ],
)
def test_a_partition_is_read_only_where_the_log_still_holds_our_position(
    row: Position, log: tuple[int, int], topic_id: str, standing: Standing
) -> None:
    assignment = Assignment()
    assert assignment.take(PLACE, row, log_start=log[0], log_end=log[1], topic_id=topic_id) is standing
    assert (PLACE in assignment.positions) is (standing is Standing.READ)
    assert (PLACE in assignment.blocked) is (standing is not Standing.READ)


def test_only_what_is_ours_and_new_is_kept_of_what_was_read() -> None:
    assignment = Assignment()
    assignment.take(PLACE, ROW, log_start=0, log_end=20, topic_id="t1")
    foreign = Partition("tickets", 4)
    found = {PLACE: [record(offset) for offset in (8, 9, 10, 14)], foreign: [record(1, foreign)]}
    assert [r.offset for r in assignment.expected(found)] == [10, 14]
    assignment.advance(PLACE, 11)
    assert [r.offset for r in assignment.still_ours(found[PLACE], assignment.era)] == [14]
    assignment.forget(frozenset({PLACE}))
    assert assignment.still_ours(found[PLACE], assignment.era) == []


@pytest.mark.parametrize(
    ("row_says", "read_on"), [(10, False), (12, False), (15, False), (16, True), (9, True)]
)
def test_a_partition_is_read_again_only_where_its_row_left_what_was_fetched(
    row_says: int,
    read_on: bool,  # noqa: FBT001  # a column of the table
) -> None:
    assignment = Assignment()
    assignment.take(PLACE, ROW, log_start=0, log_end=20, topic_id="t1")
    assignment.expected({PLACE: [record(offset) for offset in range(10, 15)]})
    assert assignment.correct(PLACE, row_says) is read_on
    assert assignment.positions[PLACE] == row_says
