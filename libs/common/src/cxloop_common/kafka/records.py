"""Records as they are read and messages as they are written: plain values, no client types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Partition(NamedTuple):
    """One partition of a topic; ordered by name, then number."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record read from Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    """The last value of each name; CloudEvents attributes stand under `ce_<name>`."""
    timestamp_ms: int

    @property
    def place(self) -> Partition:
        """The partition it was read from."""
        return Partition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class Message:
    """A message to be written to Kafka. Its partition follows from the key alone (murmur2, as every client)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = field(default=())
