"""Internal teams read alerts with whatever client they have."""

import json
from datetime import UTC, datetime
from typing import Any, cast

import confluent_kafka

from cxloop_alerting.app import SERVICE
from cxloop_common.events import Scale, ScoreRecorded
from cxloop_common.testing.plugin import StartService
from cxloop_common.topics import ALERTS, SCORES


def first_message(kafka: str, topic: str) -> Any:
    """Read with librdkafka, as kcat and most other languages' clients do."""
    client = cast("Any", confluent_kafka)  # it ships no types
    consumer = client.Consumer(
        {"bootstrap.servers": kafka, "group.id": f"{topic}-reader", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        for _ in range(60):
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                return message
    finally:
        consumer.close()
    return None


async def test_a_consumer_that_is_not_ours_reads_the_alert_of_a_low_score(
    start_service: StartService, kafka: str
) -> None:
    now = datetime.now(UTC)
    score = ScoreRecorded(
        id="score-1",
        source="scoring",
        time=now,
        document="response:surveys:1",
        revision=(1, 1),
        event_time=now,
        event_ids=("event-1",),
        metric="nps",
        raw=2,
        scale=Scale(min=0, max=10),
        normalised=2000,
        band="low",
        customer_hint="email:ana@example.com",
        identifiers=("email:ana@example.com",),
    )
    async with start_service(SERVICE) as alerting:
        await alerting.produce([score], SCORES)
        await alerting.settle(SCORES)
        topic = alerting.names.name(ALERTS)
    message = first_message(kafka, topic)
    assert message is not None
    headers = dict(message.headers() or [])
    record = json.loads(message.value() or b"")
    assert headers["ce_type"] == b"cxloop.alert.changed"
    assert headers["ce_specversion"] == b"1.0"
    assert record["change"] == "opened"
    assert record["score"]["value"] == 2
    assert record["owner"]["name"] == "Owner"
    assert (message.key() or b"").decode() == record["case_id"]
