"""A migrated schema that the tests of a module share; each test empties it first."""

from collections.abc import AsyncGenerator

import pytest_asyncio

from cxloop_common.database import Database
from cxloop_common.testing.databases import temporary_database


@pytest_asyncio.fixture(scope="module")
async def journey_database(postgres: str) -> AsyncGenerator[Database]:
    async with (
        temporary_database(postgres) as url,
        Database(url, schema="journey", transaction_timeout_s=60) as database,
    ):
        await database.migrate("cxloop_journey.migrations")
        yield database
