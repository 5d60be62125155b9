"""Questions cost what there is to read, not the square of it."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from .booking import CANDIDATE, CONTACT, SOLVED, Ledger, ledger_of


@pytest_asyncio.fixture
async def ledger(database_url: str) -> AsyncGenerator[Ledger]:
    async with ledger_of(database_url) as found:
        yield found


async def test_the_bin_of_a_duration_is_worked_out_without_a_call_for_each_row(ledger: Ledger) -> None:
    plan = await ledger.connection.fetch("EXPLAIN (VERBOSE) SELECT duration_bin(value) FROM ledger")
    assert not any("duration_bin" in row[0] for row in plan)


async def test_a_customer_with_ten_thousand_tickets_is_walked_once(ledger: Ledger) -> None:
    await ledger.contact(0, 0, "user:bot")
    # A contact each minute for a week, each solved a week later, and one long after: every ticket has ten thousand
    # contacts beside it, none of which came back. Looking at all pairs takes more than the time that is given.
    await ledger.connection.execute(
        """
        INSERT INTO ledger (document, metric, sign, value, at, customer, contact_type, recorded_at)
        SELECT 'ticket:z:' || g, m.metric, 1, 1, l.at + g * interval '1 minute' + m.later, l.customer,
            l.contact_type, l.recorded_at
        FROM ledger AS l CROSS JOIN generate_series(1, 10000) AS g CROSS JOIN (
            VALUES ($1::int2, interval '7 days'), ($2::int2, interval '7 days'), ($3::int2, interval '0')
        ) AS m (metric, later)
        """,
        *(int(metric) for metric in (SOLVED, CANDIDATE, CONTACT)),
    )
    await ledger.contact(10_001, 30, "user:bot")
    await ledger.connection.execute("SET statement_timeout = '3s'")
    assert await ledger.ask("first_contact_resolution", (0, 24)) == (10_000, 100)
    assert await ledger.ask("repeat_contact_rate", (0, 24)) == (10_001, pytest.approx(100 * 10_000 / 10_001))
