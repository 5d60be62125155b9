import secrets
import time

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from cxloop_common.kafka.admin import Admin
from cxloop_common.kafka.consumer import Reader
from cxloop_common.kafka.errors import KafkaUnavailableError, MessageTooLargeError, TopicError
from cxloop_common.kafka.partitioner import partition_of
from cxloop_common.kafka.producer import Producer
from cxloop_common.kafka.records import Message
from cxloop_common.topics import DELIVERIES, SCORES, TICKETS, TopicNames
from cxloop_common.topics.provision import ensure_topics


@given(st.binary(min_size=1, max_size=80), st.integers(1, 64))
def test_a_key_lands_where_every_other_client_puts_it(key: bytes, partitions: int) -> None:
    everywhere = DefaultPartitioner()(key, list(range(partitions)), list(range(partitions)))  # type: ignore[no-untyped-call]
    assert partition_of(key, partitions) == everywhere


async def test_a_topic_made_anew_has_another_id(kafka: str, topic_names: TopicNames) -> None:
    name = topic_names.name(TICKETS)
    async with Admin(kafka) as admin:
        await admin.create({name: {}}, partitions=2)
        first = (await admin.describe([name]))[name]
        await admin.delete([name])
        while name in await admin.names():
            pass
        await admin.create({name: {}}, partitions=2)
        second = (await admin.describe([name]))[name]
    assert first.partitions == second.partitions == 2
    assert first.topic_id != second.topic_id


async def test_a_topic_with_another_partition_count_is_refused_by_name(
    kafka: str, topic_names: TopicNames
) -> None:
    async with Admin(kafka) as admin:
        await admin.create({topic_names.name(TICKETS): TICKETS.config()}, partitions=2)
        with pytest.raises(TopicError, match="has 2 partitions, not 3"):
            await ensure_topics(admin, [TICKETS], topic_names, partitions=3)


async def test_a_topic_that_takes_no_large_records_is_refused_before_one_is_lost(
    kafka: str, topic_names: TopicNames
) -> None:
    async with Admin(kafka) as admin:
        small = {**DELIVERIES.config(), "max.message.bytes": "1000"}
        await admin.create({topic_names.name(DELIVERIES): small}, partitions=3)
        with pytest.raises(TopicError, match=r"needs max\.message\.bytes=4194304"):
            await ensure_topics(admin, [DELIVERIES], topic_names, partitions=3)


async def test_missing_topics_are_made_only_where_allowed(kafka: str, topic_names: TopicNames) -> None:
    async with Admin(kafka) as admin:
        with pytest.raises(TopicError, match="is missing"):
            await ensure_topics(admin, [SCORES], topic_names, partitions=3, create=False)
        assert await ensure_topics(admin, [SCORES], topic_names, partitions=3) == [topic_names.name(SCORES)]
        assert await ensure_topics(admin, [SCORES], topic_names, partitions=3) == []


async def test_a_message_too_large_fails_alone(kafka: str, topic_names: TopicNames) -> None:
    topic = topic_names.name(TICKETS)
    async with Admin(kafka) as admin:
        await admin.create({topic: {"max.message.bytes": "2000"}}, partitions=1)
    producer = Producer(kafka, client_id="test")
    await producer.start()
    noise = secrets.token_bytes(4000)
    sends = [producer.send(Message(topic, b"k", body)) for body in (b"one", noise, b"two")]
    outcomes = [await _outcome(send) for send in sends]
    await producer.stop()
    assert outcomes == [None, MessageTooLargeError, None]
    reader = Reader(kafka)
    await reader.start()
    assert [record.value for record in await reader.read_all([topic])] == [b"one", b"two"]
    await reader.stop()


async def _outcome(send: object) -> type[Exception] | None:
    try:
        await send  # type: ignore[misc]
    except Exception as error:  # noqa: BLE001  # the kind of error is what is asserted
        return type(error)
    return None


async def test_messages_of_one_key_keep_their_order(kafka: str, topic_names: TopicNames) -> None:
    topic = topic_names.name(TICKETS)
    async with Admin(kafka) as admin:
        await admin.create({topic: {}}, partitions=3)
    producer = Producer(kafka, client_id="test")
    await producer.start()
    messages = [Message(topic, f"key-{i % 5}".encode(), str(i).encode()) for i in range(3000)]
    await (await producer.send_all(messages))
    await producer.stop()
    reader = Reader(kafka)
    await reader.start()
    seen: dict[bytes, list[int]] = {}
    for record in await reader.read_all([topic]):
        seen.setdefault(record.key or b"", []).append(int(record.value or b""))
    await reader.stop()
    assert sum(map(len, seen.values())) == 3000
    assert all(numbers == sorted(numbers) for numbers in seen.values())


async def test_a_missing_topic_fails_at_once_and_says_what_to_do(kafka: str) -> None:
    producer = Producer(kafka, client_id="test")
    await producer.start()
    began = time.monotonic()
    with pytest.raises(TopicError, match=r"python -m cxloop_common\.topics create"):
        await producer.send(Message("no-such-topic", b"k", b"v"))
    await producer.stop()
    assert time.monotonic() - began < 8


async def test_without_a_broker_starting_fails_in_time_and_sending_at_once() -> None:
    producer = Producer("127.0.0.1:1", client_id="test", timeout_s=2)
    with pytest.raises(KafkaUnavailableError):
        await producer.start()
    with pytest.raises(KafkaUnavailableError):
        await producer.send(Message("t", b"k", b"v"))
    await producer.stop()
