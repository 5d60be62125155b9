"""Records as they are read and messages as they are written: plain values, no client types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec


class Partition(NamedTuple):
    """One partition of a topic; ordered by name, then number."""

    topic: str
    number: int


_NOWHERE: Final = Partition("", -1)


# A struct is made in a fifth of the time that a frozen dataclass takes, and this one is made for every record.
# It holds no container that could refer back to it: the garbage collector need not look at it.
class Record(msgspec.Struct, frozen=True, gc=False):
    """A record read from Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    """The last value of each name; CloudEvents attributes stand under `ce_<name>`."""
    timestamp_ms: int
    place: Partition = _NOWHERE
    """The partition it was read from; follows from topic and number."""

    def __post_init__(self) -> None:
        if self.place is _NOWHERE:
            msgspec.structs.force_setattr(self, "place", Partition(self.topic, self.partition))


@dataclass(frozen=True, slots=True)
class Message:
    """A message to be written to Kafka. Its partition follows from the key alone (murmur2, as every client)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = field(default=())
