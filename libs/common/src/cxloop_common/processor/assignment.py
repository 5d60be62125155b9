"""Which partitions are ours, where we stand in each, and which of them must wait for an operator."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from cxloop_common.kafka.records import Partition, Record
from cxloop_common.processor.offsets import Position

_NEVER = 1 << 62


class Standing(StrEnum):
    """What became of a partition that was given to us."""

    READ = "read"
    """Ours, to be read from its position on."""
    PAUSED = "paused"
    """Ours, but paused for poison until an operator releases it."""
    LOST_DATA = "lost_data"
    """Ours, but the log no longer holds what our position needs."""


class Assignment:
    """The partitions of one member of a group, in memory. The rows in PostgreSQL decide; this follows them."""

    def __init__(self) -> None:
        self.places: frozenset[Partition] = frozenset()
        self.positions: dict[Partition, int] = {}
        """The next offset of each partition that is being read."""
        self.shards: dict[Partition, int] = {}
        self.blocked: dict[Partition, str] = {}
        """Why a partition is not being read."""
        self.era = 0
        """Rises when a partition is placed anew: what was read before then need not follow on its position."""
        self._placed: dict[Partition, int] = {}
        self._fetched: dict[Partition, int] = {}

    def take(
        self, place: Partition, row: Position, *, log_start: int, log_end: int, topic_id: str
    ) -> Standing:
        """Take a partition as its row and its log say."""
        self.shards[place] = row.shard
        lost = None
        if row.topic_id != topic_id:
            lost = "the topic was made anew since we last read it"
        elif row.next_offset < log_start:
            lost = f"the log starts at {log_start}, after our position {row.next_offset}"
        elif row.next_offset > log_end:
            lost = f"the log ends at {log_end}, before our position {row.next_offset}"
        if lost is not None:
            self.block(place, f"lost data: {lost}; accept with POST /v1/partitions/accept-loss")
            return Standing.LOST_DATA
        if row.paused is not None:
            self.block(place, row.paused)
            return Standing.PAUSED
        self.blocked.pop(place, None)
        self._place_anew(place)
        self.positions[place] = self._fetched[place] = row.next_offset
        return Standing.READ

    def forget(self, places: frozenset[Partition]) -> None:
        """Let partitions go that another member will read."""
        for place in places:
            self.positions.pop(place, None)
            self.blocked.pop(place, None)
        self.places -= places

    def block(self, place: Partition, why: str) -> None:
        """Stop reading a partition."""
        self.positions.pop(place, None)
        self.blocked[place] = why

    def advance(self, place: Partition, next_offset: int) -> None:
        """Note what was committed, if the partition is still ours."""
        if place in self.positions:
            self.positions[place] = next_offset

    def expected(self, found: Mapping[Partition, Sequence[Record]]) -> list[Record]:
        """Keep of what was read what we wait for: of partitions that are ours, from our position on."""
        records: list[Record] = []
        for place in sorted(found):
            position = self.positions.get(place)
            if position is not None and found[place]:
                records += [record for record in found[place] if record.offset >= position]
                self._fetched[place] = found[place][-1].offset + 1
        return records

    def _place_anew(self, place: Partition) -> None:
        self.era += 1
        self._placed[place] = self.era

    def still_ours(self, part: Sequence[Record], era: int) -> list[Record]:
        """Keep of a batch what has neither been committed nor given away, nor placed anew, since it was read.

        era: the assignment's when the batch was begun. A partition that was placed anew since then is read again
        from its position, which may lie before what is left of the batch: after a standby took over, say.
        """
        positions, placed = self.positions, self._placed
        return [
            record
            for record in part
            if record.offset >= positions.get(record.place, _NEVER) and placed.get(record.place, 0) <= era
        ]

    def correct(self, place: Partition, next_offset: int) -> bool:
        """Follow the row of a partition; tell whether it must be read again from there.

        It must where somebody went further than we have read, or back.
        """
        read_on = not self.positions[place] <= next_offset <= self._fetched.get(place, -1)
        if read_on:
            self._place_anew(place)
            self._fetched[place] = next_offset
        self.positions[place] = next_offset
        return read_on
