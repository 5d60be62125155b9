from collections.abc import AsyncGenerator

import pytest_asyncio

from cxloop_common.testing.tally import Tally, make_tally
from cxloop_common.topics import TopicNames


@pytest_asyncio.fixture
async def tally(kafka: str, database_url: str, topic_names: TopicNames) -> AsyncGenerator[Tally]:
    async with make_tally(kafka, database_url, topic_names) as made:
        yield made
