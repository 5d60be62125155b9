"""What agents' rows look like, and what contacts cost, asked of a real ledger."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from cxloop_scoring.domain.cost import ContactCount, Handled, cost_lines, hourly, total
from cxloop_scoring.domain.gaming import Reopened, Surveyed
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.metrics import CATALOGUE, MetricNumber
from cxloop_scoring.domain.questions import Filter, Question
from cxloop_scoring.domain.rules import DEFAULT_RULES, Costs
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store import costing
from cxloop_scoring.store.gaming import AgentRows, agent_rows
from cxloop_scoring.store.meeting import Asked, asked_of

from .booking import CONTACT, CSAT, HIGH, LOW, NOW, NPS, SENT, Ledger, day, ledger_of

VOLUME, REOPENED = MetricNumber.TICKET_VOLUME, MetricNumber.REOPEN_RATE
ESCALATED, HANDOFFS, MERGED = (
    MetricNumber.ESCALATION_RATE,
    MetricNumber.HANDOFFS,
    MetricNumber.MERGED_AWAY,
)


@pytest_asyncio.fixture
async def ledger(database_url: str) -> AsyncGenerator[Ledger]:
    async with ledger_of(database_url) as found:
        yield found


async def asked(ledger: Ledger, **more: Any) -> Asked:
    spans = (Span(microseconds(day(0)), microseconds(day(10))),)
    question = Question(CATALOGUE["ticket_volume"], spans, **more)
    found = await asked_of(ledger.connection, [question], DEFAULT_RULES, NOW)
    assert found is not None
    return found


async def rows(ledger: Ledger, **more: Any) -> AgentRows:
    return await agent_rows(await asked(ledger, **more))


async def ticket(ledger: Ledger, number: int, agent: str | None, at: float = 1, **more: Any) -> str:
    document = f"ticket:z:{number}"
    named: dict[str, Any] = {} if agent is None else {"agent": agent}
    await ledger.book(document, VOLUME, day(at), **named, **more)
    return document


async def test_tickets_are_clean_or_troubled_and_surveyed_or_not(ledger: Ledger) -> None:
    documents = [await ticket(ledger, number, "ana") for number in range(6)]
    await ticket(ledger, 6, None)
    await ticket(ledger, 7, "ben", at=-1)
    await ledger.book(documents[0], REOPENED, day(20))
    await ledger.book(documents[1], ESCALATED, day(1))
    await ledger.book(documents[2], HANDOFFS, day(1), value=2, band=HIGH)
    await ledger.book(documents[3], HANDOFFS, day(1), value=1, band=LOW)  # one handoff is no trouble
    await ledger.score("1", 2, "user:a", HIGH, ticket=documents[3])
    await ledger.score("2", 2, "user:a", HIGH, CSAT, ticket=documents[3])
    await ledger.book("response:s:3", SENT, day(2), value=0, ticket=documents[0])
    assert (await rows(ledger)).surveyed == {"ana": Surveyed(3, 1, 3, 1)}
    await ledger.book(documents[0], REOPENED, day(20), sign=-1)
    assert (await rows(ledger)).surveyed == {"ana": Surveyed(4, 2, 2, 0)}


async def test_scores_belong_to_the_agent_they_name_or_else_to_the_tickets(ledger: Ledger) -> None:
    document = await ticket(ledger, 1, "ana", at=-30)
    nobodys = await ticket(ledger, 2, None)
    for number, (value, more) in enumerate(
        [
            (1000, {"ticket": document}),
            (1000, {"ticket": document}),
            (900, {"ticket": document, "agent": "ben"}),
            (0, {"ticket": nobodys}),
            (0, {}),
        ]
    ):
        await ledger.book(f"response:s:{number}", NPS, day(1), value=value, band=HIGH, **dict[str, Any](more))
    await ledger.book("response:s:c", CSAT, day(1), value=500, band=HIGH, agent="ben")
    assert (await rows(ledger)).scores == {
        "nps": {"ana": {10: 2}, "ben": {9: 1}},
        "csat": {"ben": {5: 1}},
        "ces": {},
    }


async def test_reopened_tickets_are_those_that_count_and_those_merged_away(ledger: Ledger) -> None:
    await ledger.book("ticket:z:1", REOPENED, day(1), agent="ana", team="one")
    await ledger.book("ticket:z:2", MERGED, day(1), agent="ana", team="two")
    await ledger.book("ticket:z:3", MERGED, day(1), value=0, agent="ana")
    assert (await rows(ledger)).reopened == {"ana": Reopened(2, 1)}
    where = (Filter("team", "one"),)
    assert (await rows(ledger, where=where)).reopened == {"ana": Reopened(1, 0)}


async def test_contacts_and_work_are_counted_by_group_and_channel(ledger: Ledger) -> None:
    for number, (at, customer, channel) in enumerate(
        [(-1, "user:a", "phone"), (1, "user:a", "phone"), (2, "user:b", "chat"), (3, None, "phone")]
    ):
        await ledger.book(
            f"ticket:z:{number}",
            CONTACT,
            day(at),
            customer=customer,
            contact_type="bill",
            channel=channel,
            team="care",
        )
    await ledger.book("ticket:z:1", MetricNumber.HANDLE_TIME, day(2), value=60_000, channel="phone")
    found = await costing.contacts(await asked(ledger, by="team"))
    assert sorted(found) == [
        ContactCount("care", "chat", "bill", 1, 0),
        ContactCount("care", "phone", "bill", 2, 1),
    ]
    assert min(await costing.contacts(await asked(ledger))).group is None
    assert await costing.handled(await asked(ledger)) == [Handled(None, "phone", 60_000)]


def test_contacts_cost_what_their_channel_costs() -> None:
    costs = Costs("EUR", 100, {"phone": 700}, 6000, frozenset({"where-is-it"}))
    lines = cost_lines(
        [
            ContactCount(None, "phone", "where-is-it", 3, 1),
            ContactCount(None, "phone", None, 1, 0),
            ContactCount(None, "chat", "bill", 5, 2),
        ],
        [Handled(None, "phone", 90_000)],
        costs,
    )
    chat, phone = lines
    assert (chat.channel, chat.contact_cost, chat.repeated_cost, chat.avoidable_cost) == ("chat", 500, 200, 0)
    assert (phone.contact_cost, phone.repeated_cost, phone.avoidable_cost) == (2800, 700, 2100)
    assert phone.avoidable_types == {"where-is-it": 3}
    assert (phone.handle_cost, chat.handle_cost) == (150, 0)
    assert total(lines) == {
        "contact_cost": 3300,
        "repeated_cost": 900,
        "avoidable_cost": 2100,
        "handle_cost": 150,
    }


def test_without_rates_there_are_counts_and_no_amounts() -> None:
    line = cost_lines([ContactCount("care", None, "bill", 2, 0)], [], Costs())[0]
    assert (line.contacts, line.contact_cost, line.handle_cost) == (2, None, None)
    assert total([line])["contact_cost"] is None


@pytest.mark.parametrize(
    ("worked_ms", "cost"), [(3_600_000, 3), (600_000, 0), (600_001, 1), (1_800_000, 2), (0, 0)]
)
def test_work_is_rounded_half_to_even(worked_ms: int, cost: int) -> None:
    assert hourly(worked_ms, 3) == cost
