"""What becomes of a batch that fails: which error means what, where the bad record is, and when enough is enough."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cxloop_common.database import is_transient
from cxloop_common.kafka.errors import KafkaError, MessageTooLargeError
from cxloop_common.kafka.records import Partition, Record
from cxloop_common.processor.errors import Fate, PoisonError, PoisonFlood, ProcessingError
from cxloop_common.processor.offsets import Position

Poison = dict[tuple[Partition, int], PoisonError]
"""Records that are known to be bad, by partition and offset."""


@dataclass(frozen=True)
class Move:
    """What a batch does to the row of one partition."""

    next_offset: int
    poison_streak: int
    paused: str | None


def fate(error: Exception) -> Fate:
    """Tell by its type what an error means for the records behind it."""
    if isinstance(error, ProcessingError):
        return error.fate
    if isinstance(error, MessageTooLargeError):
        return Fate.PARK
    if isinstance(error, KafkaError) or is_transient(error):
        return Fate.RETRY
    return Fate.PARK


def condemn(
    work: deque[Sequence[Record]], part: Sequence[Record], error: PoisonError, poison: Poison
) -> None:
    """Mark the bad record of `part` where it is known; otherwise halve the part until it is alone.

    `part` stands first in `work`. Raises `error` where every record is marked: then parking itself fails, and
    nothing may move until that is mended.
    """
    record = error.record or (part[0] if len(part) == 1 else None)
    if record is not None and (record.place, record.offset) not in poison:
        poison[record.place, record.offset] = error
        return
    unmarked = [r for r in part if (r.place, r.offset) not in poison]
    if not unmarked:
        raise error
    if len(unmarked) == 1:
        poison[unmarked[0].place, unmarked[0].offset] = error
        return
    halve(work, part)


def halve(work: deque[Sequence[Record]], part: Sequence[Record]) -> None:
    """Put the two halves of a part in its place, in order."""
    middle = len(part) // 2
    work.popleft()
    work.extendleft((part[middle:], part[:middle]))


def moves(
    part: Sequence[Record],
    parked: Collection[tuple[Partition, int]],
    rows: Mapping[Partition, Position],
    limit: int,
) -> dict[Partition, Move]:
    """Work out each partition's next offset, poison streak and pause.

    Raises PoisonFlood where the streak reaches the limit before the part ends: what follows must wait.
    """
    if not parked:  # nearly always: any streak is over
        return {place: Move(last + 1, 0, None) for place, last in {r.place: r.offset for r in part}.items()}
    found: dict[Partition, Move] = {}
    for record in part:
        place = record.place
        before = found.get(place)
        if before is None:
            streak = rows[place].poison_streak
        elif before.paused is None:
            streak = before.poison_streak
        else:
            raise PoisonFlood(place, before.next_offset - 1)
        streak = streak + 1 if (place, record.offset) in parked else 0
        paused = None
        if streak >= limit:
            paused = f"paused: {streak} poison records in a row; release with POST /v1/partitions/release"
        found[place] = Move(record.offset + 1, streak, paused)
    return found
