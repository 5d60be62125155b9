"""What a service gives to the Processor, and what the Processor gives to a service."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import asyncpg

from cxloop_common.kafka.records import Message, Partition, Record
from cxloop_common.processor.errors import PoisonError


@dataclass(frozen=True)
class Batch:
    """Records of one transaction: in offset order within each partition.

    A batch spans all assigned partitions that had something to read. How records are cut into batches is
    chance, so nothing that a handler writes may depend on it.
    """

    records: Sequence[Record]
    shards: Mapping[Partition, int]
    """A small integer for each (topic, partition). Its `offsets` row is locked for the whole transaction, so
    rows that carry the shard in their key are never written by two workers at once."""
    parked: dict[tuple[Partition, int], PoisonError] = field(
        default_factory=dict[tuple[Partition, int], PoisonError]
    )

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records."""
        return iter(self.records)

    def __len__(self) -> int:
        """Count the records."""
        return len(self.records)

    def shard(self, record: Record) -> int:
        """Return the shard of the record's partition."""
        return self.shards[record.place]

    def park(self, record: Record, error: PoisonError) -> None:
        """Send one record to dead letters and go on with the others.

        For records that are known to be bad before anything was written for them, such as one that does not
        decode. Parking is confirmed by the broker before the offset moves.
        """
        self.parked[record.place, record.offset] = error


class Transaction(Protocol):
    """The open transaction of a batch. The fence has been passed; the Processor commits."""

    @property
    def connection(self) -> asyncpg.Connection:
        """The connection, inside the transaction. Handlers never commit; savepoints are fine."""
        ...

    def publish(self, messages: Sequence[Message]) -> None:
        """Start sending now; COMMIT waits for the acknowledgements.

        Only for outputs that follow from one partition's records alone, with ids derived from them: a batch
        that is rolled back has then announced nothing that its next try will not announce again.
        """
        ...

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Write outbox rows in this transaction; they are relayed in order after COMMIT, at least once."""
        ...


class Handler(Protocol):
    """A service's worker."""

    async def handle(self, batch: Batch, transaction: Transaction) -> None:
        """Fold a batch into the state within the transaction.

        Returning means: all that the batch changes is written on `transaction.connection`. It may be called
        again with the same records, alone or in other company, so it must not keep state of its own outside
        the database. Raise PoisonError for a record that can never succeed, anything else for the fate of
        its type. It must not block the event loop for longer than a batch takes to fold.
        """
        ...
