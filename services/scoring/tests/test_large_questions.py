"""Questions cost what there is to read, not the square of it."""

from collections.abc import AsyncGenerator

import pytest_asyncio

from .booking import Ledger, ledger_of


@pytest_asyncio.fixture
async def ledger(database_url: str) -> AsyncGenerator[Ledger]:
    async with ledger_of(database_url) as found:
        yield found


async def test_the_bin_of_a_duration_is_worked_out_without_a_call_for_each_row(ledger: Ledger) -> None:
    plan = await ledger.connection.fetch("EXPLAIN (VERBOSE) SELECT duration_bin(value) FROM ledger")
    assert not any("duration_bin" in row[0] for row in plan)
