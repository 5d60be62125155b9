"""The strict tally: a worker whose exactly-once rests on the Processor alone.

Real services fold events by id, so a record that is processed twice changes nothing there and a broken fence
could stay unseen. This one adds up whatever it is given.
"""

import json
import zlib

from pydantic_settings import SettingsConfigDict

from cxloop_common.kafka.records import Message, Record
from cxloop_common.processor import Batch, PoisonError, PoisonReason, Transaction
from cxloop_common.service import Components, Foundation, Service
from cxloop_common.settings import ServiceSettings
from cxloop_common.topics import JOURNEYS, SCORES, SURVEYS, TICKETS, TopicNames

_ADD = """
INSERT INTO sums AS s (shard, key, n, sum)
SELECT * FROM unnest($1::int2[], $2::text[], $3::int8[], $4::int8[])
ON CONFLICT (shard, key) DO UPDATE SET n = s.n + excluded.n, sum = s.sum + excluded.sum
"""
_COLUMNS = ("topic", "partition", "record_offset", "amount")


class TallySettings(ServiceSettings):
    """What the tally can be told: it goes by the name of scoring, whose topics it reads."""

    model_config = SettingsConfigDict(
        env_prefix="CXLOOP_SCORING_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )


class TallyHandler:
    """Books every record, and adds it to the sum of its key; both ways of publishing announce it."""

    def __init__(self, names: TopicNames) -> None:
        self._published = names.name(SCORES)
        self._announced = names.name(JOURNEYS)

    async def handle(self, batch: Batch, transaction: Transaction) -> None:
        """Count a batch."""
        applied: list[tuple[str, int, int, int]] = []
        sums: dict[tuple[int, str], tuple[int, int]] = {}
        outputs: list[Message] = []
        for record in batch:
            if not _readable(record):
                batch.park(record, PoisonError(PoisonReason.UNREADABLE, "no JSON object", record))
                continue
            amount = zlib.crc32(record.value or b"") % 1000
            applied.append((record.topic, record.partition, record.offset, amount))
            place = (batch.shard(record), (record.key or b"").decode())
            n, total = sums.get(place, (0, 0))
            sums[place] = (n + 1, total + amount)
            outputs.append(_output(self._published, record, amount))
        transaction.publish(outputs)
        transaction.enqueue([Message(self._announced, m.key, m.value, m.headers) for m in outputs])
        if applied:
            connection = transaction.connection
            await connection.copy_records_to_table("applied", records=applied, columns=_COLUMNS)
            keys = sorted(sums)
            await connection.execute(
                _ADD,
                [shard for shard, _ in keys],
                [key for _, key in keys],
                [sums[key][0] for key in keys],
                [sums[key][1] for key in keys],
            )


def _readable(record: Record) -> bool:
    try:
        return isinstance(json.loads(record.value or b""), dict)
    except (ValueError, RecursionError):
        return False


def _output(topic: str, record: Record, amount: int) -> Message:
    identity = f"{record.topic}/{record.partition}/{record.offset}"
    return Message(topic, record.key, str(amount).encode(), (("ce_id", identity.encode()),))


def build(foundation: Foundation[TallySettings]) -> Components:
    """Wire the worker."""
    handler = TallyHandler(foundation.names)
    return Components(processors=[foundation.processor(handler=handler, topics=[TICKETS, SURVEYS])])


SERVICE = Service(
    name="scoring",
    title="Strict tally",
    settings=TallySettings,
    migrations="tests.faults.migrations",
    build=build,
)
