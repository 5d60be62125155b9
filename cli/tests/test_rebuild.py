import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from cxloop_cli.__main__ import app
from cxloop_common.database import Database
from cxloop_scoring.store.rebuilding import rebuild_lock

STRAY = """
    INSERT INTO bucket_day (metric, dimension, at, value, shard, n, sum, squares, low, middle, high)
    VALUES (1, 0, 20000, 0, 1, 3, 900, 270000, 3, 0, 0)
"""


async def run(*arguments: str) -> tuple[int, str]:
    """Run the command in a thread of its own, for it has a loop of its own."""
    ran = await asyncio.to_thread(CliRunner().invoke, app, ["rebuild", "scoring", *arguments])
    return ran.exit_code, ran.output


@pytest_asyncio.fixture
async def scoring(database_url: str) -> AsyncGenerator[Database]:
    async with Database(database_url, schema="scoring") as database:
        await database.migrate("cxloop_scoring.migrations")
        yield database


async def test_a_wrong_bucket_is_reported_put_right_and_gone(scoring: Database) -> None:
    assert (await run("--database-url", scoring.url))[0] == 0
    connection = await scoring.connect()
    await connection.execute(STRAY)
    looks = [await run("--database-url", scoring.url, "--check", "--json") for _ in range(2)]
    assert {(code, json.loads(output)["buckets"]) for code, output in looks} == {(1, 1)}
    code, output = await run("--database-url", scoring.url)
    assert (code, "1 wrong buckets" in output) == (1, True)
    assert await connection.fetchval("SELECT sum(n) FROM bucket_day") == 0
    assert (await run("--database-url", scoring.url, "--json"))[0] == 0
    await connection.close()


async def test_another_rebuild_has_the_right_of_way(scoring: Database) -> None:
    connection = await scoring.connect()
    async with rebuild_lock(connection):
        code, output = await run("--database-url", scoring.url)
    assert (code, "another rebuild" in output) == (4, True)
    await connection.close()


async def test_what_is_missing_is_said(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXLOOP_DATABASE_URL", raising=False)
    monkeypatch.delenv("CXLOOP_SCORING_DATABASE_URL", raising=False)
    code, output = await run("--data-dir", str(tmp_path))
    assert (code, "cxloop up" in output) == (2, True)
    code, output = await run("--database-url", "postgresql://nobody@127.0.0.1:1/none")
    assert (code, "does not answer" in output) == (3, True)
    code, output = await run("--database-url", database_url)
    assert (code, "--role migrate" in output) == (3, True)
