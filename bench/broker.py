"""What benchmarks ask of a broker, through a client that is not ours: librdkafka's, which costs little CPU.

The client comes without types; this module is where its values are cast.
"""

import importlib
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

TIMEOUT_S = 30.0
ASK_WITHIN_S = 5.0
_client: Any = importlib.import_module("confluent_kafka")
_admin: Any = importlib.import_module("confluent_kafka.admin")


class Written(NamedTuple):
    """One record to be written."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    time_ms: int


class Appended(NamedTuple):
    """One record as it was read."""

    topic: str
    key: bytes
    value: bytes
    appended_ms: int


class Broker:
    """A broker by its address.

    Every call makes a client of its own and lets go of it: one that outlives the broker waits for ever.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic as the broker makes it by default."""
        admin = self._make_admin()
        for answer in admin.create_topics([_admin.NewTopic(name, partitions, 1)]).values():
            answer.result(TIMEOUT_S)

    def delete_topics(self, part: str) -> None:
        """Delete the topics whose names hold `part`."""
        admin = self._make_admin()
        known = cast("dict[str, Any]", admin.list_topics(timeout=TIMEOUT_S).topics)
        for answer in admin.delete_topics([name for name in known if part in name]).values():
            answer.result(TIMEOUT_S)

    def members(self, group: str) -> int:
        """Count the members of a group that is not rebalancing; 0 while the broker does not tell."""
        admin = self._make_admin()
        try:
            asked = admin.describe_consumer_groups([group], request_timeout=ASK_WITHIN_S)[group]
            described = asked.result(TIMEOUT_S)
        except (_client.KafkaException, TimeoutError):  # a new broker first has to load its groups
            return 0
        return len(described.members) if described.state == _client.ConsumerGroupState.STABLE else 0

    def log_end(self, topic: str) -> int:
        """Count the records ever appended to a topic."""
        return sum(end for _, end in self.ends(topic))

    def ends(self, topic: str) -> list[tuple[int, int]]:
        """Give each partition's number and the offset that its next record will have."""
        with self._consumer() as consumer:
            return _ends(consumer, topic)

    def write(self, records: Iterable[Written]) -> None:
        """Write records with their own times and wait until all are acknowledged."""
        producer = _client.Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 20,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        refused: list[str] = []

        def acknowledged(error: Any, _record: Any) -> None:
            if error is not None:
                refused.append(str(error))

        for topic, key, value, headers, time_ms in records:
            producer.produce(topic, value, key, headers=headers, timestamp=time_ms, on_delivery=acknowledged)
            producer.poll(0)
        missing = producer.flush(TIMEOUT_S)
        assert not missing, f"{missing} records were not acknowledged"
        assert not refused, f"{len(refused)} records were refused: {refused[0]}"

    @contextmanager
    def follow(self, topics: Sequence[str]) -> Generator["Follower"]:
        """Read topics from now on."""
        with self._consumer() as consumer:
            consumer.assign(
                [
                    _client.TopicPartition(topic, number, end)
                    for topic in topics
                    for number, end in _ends(consumer, topic)
                ]
            )
            yield Follower(consumer)

    def _make_admin(self) -> Any:
        return _admin.AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})

    @contextmanager
    def _consumer(self) -> Generator[Any]:
        consumer = _client.Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "bench",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()


class Follower:
    """Reads what comes."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def poll(self) -> Appended | None:
        """Give the next record, or None after a tenth of a second."""
        record = self._consumer.poll(0.1)
        if record is None or record.error():
            return None
        return Appended(record.topic(), record.key() or b"", record.value() or b"", record.timestamp()[1])


def _ends(consumer: Any, topic: str) -> list[tuple[int, int]]:
    """Give each partition's number and the offset that its next record will have."""
    partitions = cast(
        "Iterable[int]", consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
    )
    return [
        (
            number,
            cast("int", consumer.get_watermark_offsets(_client.TopicPartition(topic, number), TIMEOUT_S)[1]),
        )
        for number in partitions
    ]
