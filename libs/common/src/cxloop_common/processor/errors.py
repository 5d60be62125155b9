"""The errors of processing. The type of an error chooses its fate; nothing is decided from a message's text."""

from enum import StrEnum
from typing import ClassVar

from cxloop_common.kafka.records import Partition, Record


class Fate(StrEnum):
    """What becomes of the records behind an error."""

    RETRY = "retry"
    """Transient: the same batch again, after a pause. In doubt this one, for retrying loses nothing."""
    PARK = "park"
    """The record can never succeed: it goes to dead letters."""
    STOP = "stop"
    """A bad deploy, not bad data: the partition pauses until an operator releases it."""


class ProcessingError(Exception):
    """Base of all errors that choose a fate."""

    fate: ClassVar[Fate] = Fate.RETRY


class PoisonReason(StrEnum):
    """Why a record can never be processed."""

    UNREADABLE = "unreadable"
    """Not an event of the types that its topic holds."""
    CONTRADICTION = "contradiction"
    """A valid event that the service's rules refuse."""
    REJECTED_BY_DATABASE = "rejected_by_database"
    """PostgreSQL refuses the data, alone in its batch."""
    UNEXPECTED = "unexpected"
    """The handler failed on this record alone; a fault of ours until shown otherwise."""


class PoisonError(ProcessingError):
    """One record can never succeed. `detail` says why without quoting customer data."""

    fate = Fate.PARK

    def __init__(self, reason: PoisonReason, detail: str, record: Record | None = None) -> None:
        self.reason = reason
        self.detail = detail
        self.record = record
        super().__init__(f"{reason}: {detail}")


class PoisonFlood(ProcessingError):  # noqa: N818  # a state of the partition that reads as its name
    """Too many records in a row were poison; the partition pauses after `last_offset`."""

    fate = Fate.STOP

    def __init__(self, place: Partition, last_offset: int) -> None:
        self.place = place
        self.last_offset = last_offset
        super().__init__(f"{place.topic}/{place.number} is flooded with poison")


class FencedError(ProcessingError):
    """Another worker owns the partition now: this batch was rolled back and the position is read again."""

    def __init__(self, places: tuple[Partition, ...]) -> None:
        self.places = places
        super().__init__(f"another worker has moved {', '.join(f'{t}/{n}' for t, n in places)}")


class LostDataError(ProcessingError):
    """The log no longer holds what our position needs, or the topic was made anew."""

    fate = Fate.STOP
