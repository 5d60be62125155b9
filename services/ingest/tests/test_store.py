"""The tables end the same whatever the order, the number and the cut of the batches that wrote them."""

import random
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from ingest_bodies import RECEIVED, delighted, delivery, sources

from cxloop_common.database import Database
from cxloop_common.testing.databases import temporary_database
from cxloop_ingest.domain.normalise import normalise
from cxloop_ingest.domain.outcome import Outcome, merged, outcome_of
from cxloop_ingest.store import take_for_replay, write_outcomes

SOURCE = sources()["delighted"]
READINGS = [
    normalise(delivery("delighted", delighted(score=score)), SOURCE) for score in (3, 4, 11, 12, None)
]


@pytest_asyncio.fixture(scope="module")
async def connection(postgres: str) -> AsyncGenerator[asyncpg.Connection]:
    async with temporary_database(postgres) as url, Database(url, schema="ingest") as database:
        await database.migrate("cxloop_ingest.migrations")
        connection = await database.connect()
        yield connection
        await connection.close()


async def written(connection: asyncpg.Connection, batches: list[list[Outcome]]) -> list[list[Any]]:
    await connection.execute("TRUNCATE deliveries, quarantine")
    for batch in batches:
        combined: dict[str, Outcome] = {}
        for outcome in batch:
            known = combined.get(outcome.delivery.id)
            combined[outcome.delivery.id] = outcome if known is None else merged(known, outcome)
        async with connection.transaction():
            await write_outcomes(connection, list(combined.values()))
    return [
        [tuple(row) for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY delivery_id")]
        for table in ("deliveries", "quarantine")
    ]


@pytest.mark.parametrize("seed", range(40))
async def test_any_order_duplicates_and_cuts_of_batches_end_in_the_same_rows(
    connection: asyncpg.Connection, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311  # a seed reproduces the run
    outcomes = [
        outcome_of(
            delivery(
                "delighted",
                delighted(id=str(chance.randrange(3))),
                received_at=RECEIVED + timedelta(seconds=chance.randrange(4)),
                attempt=chance.randrange(3),
                headers={"webhook-id": str(chance.randrange(2))},
            ),
            chance.choice(READINGS),
        )
        for _ in range(12)
    ]
    expected = await written(connection, [[outcome] for outcome in outcomes])
    assert {row[0] for row in expected[1]} == {row[0] for row in expected[0] if row[6] == "quarantined"}
    for _ in range(5):
        shuffled = outcomes + chance.choices(outcomes, k=8)
        chance.shuffle(shuffled)
        cut = chance.randrange(1, 6)
        batches = [shuffled[start : start + cut] for start in range(0, len(shuffled), cut)]
        assert await written(connection, batches) == expected, f"seed {seed}"


async def test_a_replay_gives_back_what_came_and_is_counted_only_when_committed(
    connection: asyncpg.Connection,
) -> None:
    one = delivery("delighted", b'{"a": "\xff"}', headers={"webhook-id": "w1"})
    await written(connection, [[outcome_of(one, normalise(one, SOURCE))]])
    for committed in (False, True, True):
        transaction = connection.transaction()
        await transaction.start()
        (taken,) = await take_for_replay(connection, source="delighted", reason="invalid_utf8")
        await (transaction.commit() if committed else transaction.rollback())
        assert (taken.id, taken.body, taken.received_at) == (one.id, one.body, one.received_at)
        assert (taken.headers, taken.content_type, taken.via) == (one.headers, one.content_type, one.via)
    assert taken.attempt == 2
    assert await take_for_replay(connection, source="other") == []
