"""Announcements that become true with a COMMIT: written in the transaction, relayed after it, at least once.

Where state is shared between partitions, a batch that is rolled back could have announced something that never
became true; so nothing leaves before COMMIT. Rows of one key are written under that key's lock, so their ids are
in commit order and the relay, which follows ids, keeps it.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, cast

import asyncpg
import msgspec

from cxloop_common.database import Database, is_transient
from cxloop_common.kafka.errors import KafkaError
from cxloop_common.kafka.producer import Producer
from cxloop_common.kafka.records import Message
from cxloop_common.telemetry import Telemetry, error_fields, get_logger

_INSERT = """
INSERT INTO outbox (topic, key, value, headers)
SELECT topic, key, value, headers
FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[]) WITH ORDINALITY AS n(topic, key, value, headers, o)
ORDER BY o
"""
_NEXT = "SELECT id, topic, key, value, headers FROM outbox ORDER BY id LIMIT 2000"
_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_IDLE_S = 1.0
"""How often to look without a notification: a lost one delays an announcement by this much at most."""

encode_headers = msgspec.msgpack.Encoder().encode
decode_headers = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode


async def enqueue(connection: Any, messages: Sequence[Message]) -> None:
    """Write messages to the outbox within the caller's transaction and wake the relay at its COMMIT."""
    if not messages:
        return
    await connection.execute(
        _INSERT,
        [message.topic for message in messages],
        [message.key for message in messages],
        [message.value for message in messages],
        [encode_headers(message.headers) for message in messages],
    )
    await connection.execute("SELECT pg_notify('outbox_' || current_schema(), '')")


class OutboxRelay:
    """Sends what stands in the outbox, in order, and deletes what Kafka has acknowledged.

    One relay of a service works at a time, by an advisory lock of its connection; the others wait to take over.
    Two at once, as after a broken connection, only repeat records whose ids and versions are the same.
    """

    def __init__(self, database: Database, producer: Producer, telemetry: Telemetry) -> None:
        self._database = database
        self._producer = producer
        self._telemetry = telemetry
        self._wake = asyncio.Event()
        self._log = get_logger("cxloop.outbox")

    async def run(self) -> None:
        """Relay until cancelled; failures of Kafka or PostgreSQL are waited out."""
        pause_s = 0.1
        while True:
            try:
                await self._session()
                pause_s = 0.1
            except KafkaError as error:
                self._log.warning("outbox_waits", **error_fields(error))
            except Exception as error:
                if not is_transient(error) and not isinstance(error, asyncpg.UndefinedTableError):
                    raise
                self._log.warning("outbox_waits", **error_fields(error))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 2.0)

    async def _session(self) -> None:
        connection = await self._database.connect()
        try:
            await connection.add_listener(f"outbox_{self._database.schema}", self._notified)
            lock = f"cxloop.outbox.{self._database.schema}"
            while not await connection.fetchval(_TRY_LOCK, lock):  # noqa: ASYNC110  # the lock tells nobody
                await asyncio.sleep(_IDLE_S)
            while True:
                self._wake.clear()
                if await self._relay(connection) == 0:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), _IDLE_S)
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(connection.close(), 2)

    async def _relay(self, connection: asyncpg.Connection) -> int:
        rows = await connection.fetch(_NEXT)
        self._telemetry.outbox_depth.set(len(rows))
        if not rows:
            return 0
        messages = [
            Message(row["topic"], row["key"], row["value"], tuple(decode_headers(row["headers"])))
            for row in rows
        ]
        await (await self._producer.send_all(messages))
        await connection.execute(
            "DELETE FROM outbox WHERE id = ANY($1::bigint[])", [row["id"] for row in rows]
        )
        return len(rows)

    def _notified(self, *_: object) -> None:
        self._wake.set()


async def depth(connection: Any) -> int:
    """Count the announcements that still wait."""
    return cast("int", await connection.fetchval("SELECT count(*) FROM outbox"))
