"""Four workers on six partitions, killed and replaced while they read: the numbers are the oracle's."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cxloop_common.events import AlertRecord, CloudEvent, JourneyChanged
from cxloop_common.topics import (
    ALERTS,
    JOURNEYS,
    SCORING_LINKS,
    SURVEYS,
    TICKETS,
    TOUCHPOINTS,
    Topic,
    TopicNames,
)
from cxloop_scoring.app import SERVICE
from cxloop_scoring.domain.sentiment import polarity

from .answers import Asking, same_ledger
from .buckets import held, of_the_ledger
from .drawing import NOW
from .histories import histories
from .installation import CALENDARS, INSTALLATION, METRICS
from .known import Known
from .workers import Workers, until
from .world import World, clock

HISTORIES = 120
PARTITIONS = 6
Start = Callable[..., AbstractAsyncContextManager[Any]]
TOPICS = (TICKETS, SURVEYS, SCORING_LINKS, TOUCHPOINTS, ALERTS, JOURNEYS)


def told() -> list[CloudEvent]:
    """Draw the same histories every time."""
    records: list[CloudEvent] = []

    @seed(20)
    @settings(
        max_examples=HISTORIES,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
        deadline=None,
    )
    @given(st.data())
    def tell(data: st.DataObject) -> None:
        records.extend(data.draw(histories(f"c{len(records)}")).records)

    tell()
    return records


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Write what the installation decides."""
    (tmp_path / "metrics.yaml").write_text(METRICS)
    (tmp_path / "calendars.yaml").write_text(CALENDARS)
    return {f"{name}_file": str(tmp_path / f"{name}.yaml") for name in ("metrics", "calendars")}


@pytest.fixture
def workers(
    kafka: str, database_url: str, topic_names: TopicNames, files: dict[str, str], tmp_path: Path
) -> Iterator[Workers]:
    started = Workers(
        tmp_path,
        {
            "CXLOOP_KAFKA_BOOTSTRAP": kafka,
            "CXLOOP_DATABASE_URL": database_url,
            "CXLOOP_TOPIC_PREFIX": topic_names.prefix,
            "CXLOOP_PARTITIONS": str(PARTITIONS),
            **{f"CXLOOP_SCORING_{name.upper()}": path for name, path in files.items()},
        },
    )
    yield started
    started.end()


async def test_workers_that_die_leave_and_join_lose_and_double_nothing(
    start_service: Start, worker: Any, workers: Workers, files: dict[str, str]
) -> None:
    records = told()
    chance = random.Random(7)  # noqa: S311 - shuffles, reproducible by their seed
    sent = [*records, *chance.sample(records, len(records) // 3)]
    chance.shuffle(sent)
    settings = {**files, "partitions": PARTITIONS, "log_level": "warning"}
    async with start_service(SERVICE, role="api", now=clock, settings=settings) as api:
        workers.join(4)
        await workers.at_work()
        unrest = (
            workers.kill,
            workers.join,
            workers.leave,
            workers.join,
            partial(workers.kill, 2),
            workers.join,
        )
        part = -(-len(sent) // len(unrest))
        for number, disturb in enumerate(unrest):
            before = await position(worker)
            await send(api, sent[number * part : (number + 1) * part])
            # What comes next meets them at work.
            await until(partial(beyond, worker, before))
            await asyncio.to_thread(disturb)
            await workers.at_work()
        await api.settle(*TOPICS)
        assert (workers.killed, workers.left) == (3, 1)
        known = Known.of(records, polarity, INSTALLATION)
        world = World(worker, api.client)
        await same_ledger(world, known)
        for table, hours in (("bucket_hour", 1), ("bucket_day", 24)):
            assert await held(worker, table) == await of_the_ledger(worker, hours), table
        asking = Asking(world, known, NOW, "90d")
        wrong = [*await asking.scorecard(), *await asking.groups("history"), *await asking.groups("team")]
        assert not wrong, "\n" + "\n".join(wrong)


async def send(api: Any, records: Iterable[CloudEvent]) -> None:
    """Write records to their topics."""
    kinds: Mapping[type[CloudEvent], Topic] = {JourneyChanged: JOURNEYS, AlertRecord: ALERTS}
    given = list(records)
    for kind, topic in kinds.items():
        await api.produce([record for record in given if isinstance(record, kind)], topic)
    await api.produce([record for record in given if not isinstance(record, tuple(kinds))])


async def position(worker: Any) -> int:
    """Add up how far all partitions were read."""
    return await worker.connection.fetchval("SELECT coalesce(sum(next_offset), 0)::int8 FROM offsets")


async def beyond(worker: Any, before: int) -> bool:
    """Tell whether anything was committed since."""
    return await position(worker) > before
