"""Fixtures for all packages."""

import secrets
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from cxloop_common.kafka.admin import Admin
from cxloop_common.testing import backends
from cxloop_common.testing.databases import temporary_database
from cxloop_common.testing.harness import RunningService, running
from cxloop_common.topics import TopicNames

StartService = Callable[..., AbstractAsyncContextManager[RunningService[Any]]]


@pytest.fixture(scope="session")
def kafka() -> Generator[str]:
    """Give the bootstrap address of a real broker."""
    with backends.kafka() as address:
        yield address


@pytest.fixture(scope="session")
def postgres() -> Generator[str]:
    """Give the URL of a real PostgreSQL server."""
    with backends.postgres() as url:
        yield url


@pytest_asyncio.fixture
async def database_url(postgres: str) -> AsyncGenerator[str]:
    """Give a database of the test's own."""
    async with temporary_database(postgres) as url:
        yield url


@pytest_asyncio.fixture
async def topic_names(kafka: str) -> AsyncGenerator[TopicNames]:
    """Give a topic prefix of the test's own; its topics are deleted afterwards."""
    names = TopicNames(f"t{secrets.token_hex(4)}.")
    yield names
    async with Admin(kafka) as admin:
        mine = [name for name in await admin.names() if name.startswith(names.prefix)]
        if mine:
            await admin.delete(mine)


@pytest.fixture
def start_service(kafka: str, database_url: str, topic_names: TopicNames) -> StartService:
    """Give `running` with broker, database and topic prefix filled in."""
    return partial(running, kafka=kafka, database_url=database_url, names=topic_names)
