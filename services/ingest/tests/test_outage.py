"""A broker that stalls costs one sender a moment and the others nothing; no 2xx is ever lost."""

import asyncio
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from ingest_bodies import GOLDEN, SECRETS

from cxloop_common.testing.harness import running
from cxloop_common.topics import DELIVERIES, TopicNames
from cxloop_embedded import EmbeddedKafka
from cxloop_ingest.app import SERVICE

JSON = {"content-type": "application/json"}


@pytest.fixture
def broker(tmp_path: Path) -> Generator[EmbeddedKafka]:
    """Give a broker of the test's own: it is about to be stopped."""
    with EmbeddedKafka(tmp_path / "kafka") as broker:
        yield broker


async def test_while_kafka_stalls_senders_are_told_at_once_and_nothing_accepted_is_lost(
    broker: EmbeddedKafka, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = {
        "sources_file": str(GOLDEN / "sources.yaml"),
        "produce_timeout_s": 1,
        "breaker_stall_s": 0.3,
        "breaker_cooldown_s": 0.5,
    }
    async with running(
        SERVICE, kafka=broker.bootstrap, database_url=database_url, names=TopicNames("o."), settings=settings
    ) as ingest:
        taken: list[str] = []
        sent = 0

        async def post() -> tuple[int, float]:
            nonlocal sent
            sent += 1
            started = time.monotonic()
            answer = await ingest.anonymous.post("/webhooks/bus", content=b"%d" % sent, headers=JSON)
            if answer.status_code == 202:
                taken.append(answer.json()["delivery_id"])
            else:
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) >= 1
            return answer.status_code, time.monotonic() - started

        assert (await post())[0] == 202
        broker.suspend()
        try:
            status, waited = await post()
            assert (status, waited < 3) == (503, True)
            for _ in range(20):
                status, waited = await post()
                assert (status, waited < 0.2) == (503, True)
        finally:
            broker.resume()
        async with asyncio.timeout(60):
            while (await post())[0] != 202:  # noqa: ASYNC110  # the broker wakes up
                await asyncio.sleep(0.05)
        assert [status for status, _ in await asyncio.gather(*(post() for _ in range(50)))] == [202] * 50
        await ingest.settle(DELIVERIES)
        written = {record.key.decode() for record in await ingest.read(DELIVERIES) if record.key}
        assert set(taken) <= written
        for identity in taken:
            assert (await ingest.client.get(f"/v1/deliveries/{identity}")).status_code == 200


async def test_without_a_broker_at_the_start_every_delivery_is_refused_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    async with running(
        SERVICE,
        kafka="127.0.0.1:1",
        database_url=database_url,
        names=TopicNames("o."),
        settings={"sources_file": str(GOLDEN / "sources.yaml")},
        wait=False,
    ) as ingest:
        for _ in range(3):
            started = time.monotonic()
            answer = await ingest.anonymous.post("/webhooks/bus", content=b"{}", headers=JSON)
            assert (answer.status_code, time.monotonic() - started < 0.5) == (503, True)
            assert answer.headers["retry-after"]
        ready = await ingest.anonymous.get("/readyz")
        assert ready.status_code == 503
        assert "kafka" in ready.text
