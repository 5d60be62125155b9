"""Kafka through another client than the services': what the harness writes and reads shares no code with them."""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import confluent_kafka as client_library  # pyright: ignore[reportMissingTypeStubs]
from confluent_kafka.admin import AdminClient  # pyright: ignore[reportMissingTypeStubs]

_library: Any = client_library  # it declares no types
WireError = cast("type[Exception]", _library.KafkaException)

Place = tuple[str, int]
"""Topic and partition."""
Acknowledged = Callable[[int, int], None]
"""Called with partition and offset."""

REACH_S = 10.0
READ_S = 120.0


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record as it stands in the log."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]

    @property
    def spot(self) -> tuple[str, int, int]:
        """Topic, partition and offset."""
        return self.topic, self.partition, self.offset


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    poison: bool = False


class Sender:
    """Writes records until each is acknowledged; what failed is sent again, byte for byte."""

    def __init__(self, bootstrap: str) -> None:
        self.unacknowledged = 0
        self._again: list[tuple[Outgoing, Acknowledged]] = []
        self._client: Any = _library.Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "partitioner": "murmur2_random",
                "linger.ms": 2,
                "message.timeout.ms": 20_000,
                "message.max.bytes": 3_000_000,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )

    def send(self, outgoing: Outgoing, acknowledged: Acknowledged) -> None:
        """Start sending."""
        self.unacknowledged += 1
        self._produce(outgoing, acknowledged)

    def poll(self) -> None:
        """Take notice of acknowledgements, and send again what failed."""
        self._client.poll(0)
        again, self._again = self._again, []
        for outgoing, acknowledged in again:
            self._produce(outgoing, acknowledged)

    def _produce(self, outgoing: Outgoing, acknowledged: Acknowledged) -> None:
        def delivered(error: object, message: Any) -> None:
            if error is not None:
                self._again.append((outgoing, acknowledged))
                return
            self.unacknowledged -= 1
            acknowledged(message.partition(), message.offset())

        while True:
            try:
                self._client.produce(
                    outgoing.topic,
                    outgoing.value,
                    outgoing.key,
                    headers=list(outgoing.headers),
                    on_delivery=delivered,
                )
            except BufferError:
                self._client.poll(0.1)
            else:
                return


class Eye:
    """Looks at logs without a group. Blocking: to be called in a thread."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._client: Any = self._consumer()

    def _consumer(self) -> Any:
        return _library.Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": f"faults-{secrets.token_hex(4)}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )

    def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """Return the offset that the next record of each partition will have."""
        found: dict[Place, int] = {}
        for topic, partition in places:
            edges = self._client.get_watermark_offsets(_library.TopicPartition(topic, partition), REACH_S)
            if edges is None:
                message = f"no answer about {topic}/{partition}"
                raise TimeoutError(message)
            found[topic, partition] = cast("int", edges[1])
        return found

    def read(self, topics: Sequence[str], partitions: int) -> list[LogRecord]:
        """Read topics whole, in offset order within each partition."""
        ends = self.ends((topic, number) for topic in topics for number in range(partitions))
        missing = {place for place, end in ends.items() if end > 0}
        records: list[LogRecord] = []
        if not missing:
            return records
        client = self._consumer()
        try:
            client.assign([_library.TopicPartition(topic, number, 0) for topic, number in sorted(missing)])
            deadline = time.monotonic() + READ_S
            while missing:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"cannot read to the end of {sorted(missing)}")
                # It waits for the number or the time, whichever comes first.
                batch = client.consume(1000, 0.2)
                for message in batch:
                    if message.error() is not None:
                        raise WireError(message.error())
                    record = _log_record(message)
                    place = (record.topic, record.partition)
                    if record.offset < ends[place]:
                        records.append(record)
                    if record.offset >= ends[place] - 1:
                        missing.discard(place)
        finally:
            client.close()
        return records

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


def _log_record(message: Any) -> LogRecord:
    return LogRecord(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key() or b"",
        message.value() or b"",
        dict(message.headers() or ()),
    )


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete all topics under a prefix, so that a long run does not pile them up."""
    admin: Any = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    names = [name for name in admin.list_topics(timeout=REACH_S).topics if name.startswith(prefix)]
    if names:
        for outcome in admin.delete_topics(names, operation_timeout=REACH_S).values():
            outcome.result(REACH_S)
