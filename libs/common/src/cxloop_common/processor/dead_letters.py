"""Dead letters: records that can never be processed, kept as they came with the reason, and replayed on demand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cxloop_common.kafka.records import Message, Record
from cxloop_common.processor.errors import PoisonError
from cxloop_common.processor.outbox import decode_headers, encode_headers

REPLAY_HEADER = "cxloop_replay_of"
"""On a replayed record: `topic/partition/offset` of the dead letter it comes from."""

_INSERT = """
INSERT INTO dead_letters (topic, partition, record_offset, reason, detail, key, value, headers)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::bytea[])
ON CONFLICT DO NOTHING
"""
_LIST = """
SELECT topic, partition, record_offset, reason, detail, first_seen, replays, replayed_at FROM dead_letters
WHERE ($1::text IS NULL OR reason = $1)
  AND ($2::timestamptz IS NULL OR (first_seen, topic, partition, record_offset) < ($2, $3, $4, $5))
ORDER BY first_seen DESC, topic DESC, partition DESC, record_offset DESC LIMIT $6
"""
_TAKE = """
WITH taken AS (
  SELECT topic, partition, record_offset FROM dead_letters
  WHERE replayed_at IS NULL AND ($1::text IS NULL OR topic = $1) AND ($2::int IS NULL OR partition = $2)
    AND ($3::bigint IS NULL OR record_offset = $3) AND ($4::text IS NULL OR reason = $4)
  ORDER BY topic, partition, record_offset LIMIT $5 FOR UPDATE)
UPDATE dead_letters d SET replayed_at = now(), replays = replays + 1 FROM taken
WHERE (d.topic, d.partition, d.record_offset) = (taken.topic, taken.partition, taken.record_offset)
RETURNING d.topic, d.partition, d.record_offset, d.key, d.value, d.headers
"""


@dataclass(frozen=True)
class DeadLetter:
    """A parked record, without its content."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    first_seen: datetime
    replays: int
    replayed_at: datetime | None


def message(topic: str, record: Record, error: PoisonError) -> Message:
    """Make the record for the dead-letter topic: key, value and headers as they came, and why it is there."""
    return Message(
        topic,
        record.key,
        record.value,
        (
            *record.headers.items(),
            ("cxloop_dead_reason", error.reason.encode()),
            ("cxloop_dead_detail", error.detail.encode()),
            ("cxloop_dead_topic", record.topic.encode()),
            ("cxloop_dead_partition", str(record.partition).encode()),
            ("cxloop_dead_offset", str(record.offset).encode()),
        ),
    )


async def insert(connection: Any, parked: Sequence[tuple[Record, PoisonError]]) -> None:
    """Write parked records in the batch's transaction."""
    await connection.execute(
        _INSERT,
        [record.topic for record, _ in parked],
        [record.partition for record, _ in parked],
        [record.offset for record, _ in parked],
        [error.reason.value for _, error in parked],
        [error.detail.replace("\x00", "") for _, error in parked],
        [record.key for record, _ in parked],
        [record.value for record, _ in parked],
        [encode_headers(list(record.headers.items())) for record, _ in parked],
    )


async def listing(
    connection: Any, *, reason: str | None, before: tuple[datetime, str, int, int] | None, limit: int
) -> list[DeadLetter]:
    """List parked records, newest first, from a cursor on."""
    rows = await connection.fetch(_LIST, reason, *(before or (None, None, None, None)), limit)
    return [DeadLetter(*row.values()) for row in rows]


async def take_for_replay(
    connection: Any,
    *,
    topic: str | None = None,
    partition: int | None = None,
    offset: int | None = None,
    reason: str | None = None,
    limit: int = 1000,
) -> list[Message]:
    """Mark parked records as replayed and return them as messages for their original topics.

    To be sent before the caller's transaction commits: a crash between the two repeats a replay, which changes
    nothing, while the other order could lose one.
    """
    rows: Iterable[Any] = await connection.fetch(_TAKE, topic, partition, offset, reason, limit)
    return [
        Message(
            row["topic"],
            row["key"],
            row["value"],
            (
                *((name, value) for name, value in decode_headers(row["headers"]) if name != REPLAY_HEADER),
                (REPLAY_HEADER, f"{row['topic']}/{row['partition']}/{row['record_offset']}".encode()),
            ),
        )
        for row in sorted(rows, key=lambda row: (row["topic"], row["partition"], row["record_offset"]))
    ]
