"""What one worker promises beyond the fold: corrections, generations, contradictions, company."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cxloop_common.events import (
    AlertRecord,
    Owner,
    Scale,
    SurveyResponded,
    TicketCreated,
    TicketStatusChanged,
    encode_event,
)
from cxloop_common.kafka.records import Message
from cxloop_common.topics import SCORING_LINKS, TICKETS
from cxloop_scoring.domain.histogram import decode_histogram, encode_histogram
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.scores import link_of
from cxloop_scoring.generations import rules_of
from cxloop_scoring.store import writing
from cxloop_scoring.store.writing import (
    ChangedDocument,
    ConcurrentChangeError,
    read_documents,
    write_documents,
)

GENERATION = rules_of(None).generation
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def answer(
    event_id: str, score: int, *, minutes: int = 0, response: str = "r1", team: str = "billing"
) -> Any:
    fields: dict[str, Any] = {
        "id": event_id,
        "source": "survey",
        "time": NOON + timedelta(minutes=minutes),
        "response_id": response,
        "metric": "nps",
        "score": score,
        "scale": {"min": 0, "max": 10},
        "dimensions": {"team": team},
    }
    return SurveyResponded(**fields)


def ticket(number: int) -> list[Any]:
    base: dict[str, Any] = {"source": "zendesk-eu", "ticket_id": str(number), "time": NOON}
    solved: dict[str, Any] = {**base, "id": f"s{number}", "time": NOON + timedelta(seconds=number * number)}
    return [
        TicketCreated(**base, id=f"c{number}", channel="email", created_by="customer", subject=None, tags=()),
        TicketStatusChanged(**solved, status="solved"),
    ]


async def totals(worker: Any, metric: int = 1) -> tuple[int, int]:
    row = await worker.connection.fetchrow(
        "SELECT sum(n)::int, sum(sum)::int FROM bucket_day WHERE metric = $1 AND dimension = 0", metric
    )
    return row[0], row[1]


async def test_an_edit_is_a_withdrawal_and_an_addition(worker: Any) -> None:
    await worker.deliver([answer("a", 3)])
    await worker.deliver([answer("b", 9, minutes=5)])
    rows = await worker.connection.fetch("SELECT sign, value FROM ledger ORDER BY sign, value")
    assert sorted((row[0], row[1]) for row in rows) == [(-1, 300), (1, 300), (1, 900)]
    assert await totals(worker) == (1, 900)


async def test_a_late_older_edit_changes_no_number_but_the_revision(worker: Any) -> None:
    await worker.deliver([answer("b", 9, minutes=5)])
    await worker.deliver([answer("a", 3)])
    assert await worker.connection.fetchval("SELECT count(*) FROM ledger") == 1
    assert [revision for revision, *_ in worker.highest_scores().values()] == [(GENERATION, 2)]


async def test_contradictory_content_is_settled_and_counted(worker: Any) -> None:
    await worker.deliver([answer("a", 9, minutes=5)])
    await worker.deliver([answer("a", 2, minutes=1)])
    await worker.deliver([answer("a", 9, minutes=5)])
    assert await totals(worker) == (1, 200)
    assert worker.conflicts.n == 1


async def test_a_document_of_another_generation_is_rebooked_against_the_ledger(worker: Any) -> None:
    await worker.deliver([answer("a", 3)])
    # As if an older formula had booked something else.
    await worker.connection.execute("UPDATE documents SET generation = 0")
    await worker.connection.execute("UPDATE ledger SET value = 700, band = 1")
    await worker.connection.execute("UPDATE bucket_day SET sum = 700, squares = 490000, low = 0, middle = 1")
    await worker.deliver([answer("b", 9, minutes=5)])
    net = await worker.net_ledger()
    assert [key[2] for key in net] == [900]
    assert await totals(worker) == (1, 900)
    assert {generation for generation, _ in (await worker.documents()).values()} == {GENERATION}


async def test_a_score_booked_by_other_rules_is_a_record_of_its_own(worker: Any) -> None:
    await worker.deliver([answer("a", 3)])
    first = worker.highest_scores()
    worker.rules = replace(worker.rules, generation=GENERATION + 1)
    await worker.reset()
    await worker.deliver([answer("a", 3)])
    published = [*first.values(), *worker.highest_scores().values()]
    assert len({id_ for _, id_, *_ in published}) == len(published) == 2


@pytest.mark.parametrize("few", [0, writing.FEW], ids=["by copy", "by arrays"])
async def test_a_document_that_someone_else_changed_is_not_overwritten(
    worker: Any, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(writing, "FEW", few)
    (created, solved) = ticket(1)
    await worker.deliver([created])
    read = await read_documents(worker.connection, ["ticket:zendesk-eu:1"])
    await worker.deliver([solved])
    stale = read["ticket:zendesk-eu:1"]
    with pytest.raises(ConcurrentChangeError):
        await write_documents(
            worker.connection, [ChangedDocument("ticket:zendesk-eu:1", 0, stale.facts, stale.version)], 1
        )
    with pytest.raises(ConcurrentChangeError):
        await write_documents(
            worker.connection, [ChangedDocument("ticket:zendesk-eu:1", 0, stale.facts, None)], 1
        )


async def test_a_batch_that_is_rolled_back_leaves_the_next_one_right(worker: Any) -> None:
    records = worker.records([answer("a", 9), *ticket(1)])
    transaction = worker.connection.transaction()
    await transaction.start()
    await worker.batch(records)
    await transaction.rollback()
    assert await worker.connection.fetchval("SELECT count(*) FROM documents") == 0
    await worker.batch(records)
    assert len(await worker.net_ledger()) == 6
    assert await totals(worker) == (1, 900)


async def test_links_of_a_ticket_reach_a_survivor_that_is_not_known_yet(worker: Any) -> None:
    (created, _) = ticket(1)
    key, value, headers = encode_event(created)
    await worker.batch([worker.record(Message(TICKETS.name, key, value, tuple(headers)))])
    facts = (await worker.documents())["ticket:zendesk-eu:1"][1]
    link = link_of("ticket:zendesk-eu:1", "ticket:zendesk-eu:2", "c1", facts["c1"])
    await worker.batch([worker.record(Message(SCORING_LINKS.name, *link))])
    booked = {key[1] for key in await worker.net_ledger()}
    assert booked == {MetricNumber.TICKET_VOLUME, MetricNumber.REPEAT_CONTACT_RATE}
    await worker.deliver(ticket(2))
    contacts = {
        key[0]: key[4] for key in await worker.net_ledger() if key[1] == MetricNumber.REPEAT_CONTACT_RATE
    }
    assert contacts["ticket:zendesk-eu:2"] == NOON


async def test_a_long_histogram_is_compacted_without_changing_what_it_says(worker: Any) -> None:
    await worker.deliver(ticket(1))
    one = encode_histogram({1000: 1})
    await worker.connection.execute(
        "UPDATE bucket_day SET histogram = histogram || $1 WHERE metric = 7", one * 1000
    )
    await worker.deliver(ticket(2))
    held = await worker.connection.fetchval(
        "SELECT histogram FROM bucket_day WHERE metric = 7 AND dimension = 0 ORDER BY octet_length(histogram) DESC"
    )
    assert len(held) < 100
    assert decode_histogram(held)[1000] >= 1000


def case(superseded: str) -> AlertRecord:
    fields: dict[str, Any] = {"version": 1, "status": "open", "change": "opened", "severity": "high"}
    fields |= {"rule": "low-nps", "route": "vip", "owner": Owner(kind="team", id="care", name="Care")}
    fields |= {"case_id": "c1", "reason": "x", "at": NOON, "supersedes": (superseded,)}
    return AlertRecord(**fields, id="a1", source="alerting", time=NOON)


async def test_a_content_that_lost_leaves_no_link_of_its_case(worker: Any) -> None:
    found: list[set[tuple[int, str, str]]] = []
    for order in (("x", "y"), ("y", "x"), ("x", "y", "x"), ("y", "x", "y")):
        await worker.reset()
        for superseded in order:
            await worker.deliver([case(superseded)])
        found.append(await worker.case_links())
    assert len(found[0]) == 1
    assert all(links == found[0] for links in found)


async def test_scores_too_large_to_be_added_up_spoil_no_others(worker: Any) -> None:
    huge = [
        answer(f"h{number}", 0, response=f"h{number}").model_copy(
            update={"metric": "csat", "score": most, "scale": Scale(min=-most, max=most)}
        )
        for number, most in enumerate((10_000.0, 10_001.0, 3e7, 3e7, 1e18, 1e299, 1.7e308, 1.7e308))
    ]
    good = answer("g", 4, response="g").model_copy(update={"metric": "csat", "scale": Scale(min=1, max=5)})
    for one in (*huge, good):
        await worker.deliver([one])
    assert await totals(worker, MetricNumber.CSAT) == (2, 1_000_400)
    assert len(worker.parked) == 2


async def test_a_worker_that_gets_a_partition_back_builds_on_what_another_one_did(worker: Any) -> None:
    mine = worker.handler
    worker.restart()
    theirs = worker.handler
    for minutes, (handler, score) in enumerate(((mine, 3), (theirs, 9), (mine, 2), (theirs, 8))):
        worker.handler = handler
        await worker.deliver([answer(f"e{minutes}", score, minutes=minutes)])
        assert [key[2] for key in await worker.net_ledger()] == [100 * score]
        assert await totals(worker) == (1, 100 * score)


async def test_what_is_remembered_of_a_batch_that_was_rolled_back_is_not_taken_for_booked(
    worker: Any,
) -> None:
    await worker.deliver([answer("a", 3)])
    transaction = worker.connection.transaction()
    await transaction.start()
    await worker.batch(worker.records([answer("b", 9, minutes=5)]))
    await transaction.rollback()
    await worker.deliver([answer("c", 8, minutes=6)])
    assert [key[2] for key in await worker.net_ledger()] == [800]
    assert await totals(worker) == (1, 800)
    assert len(await worker.connection.fetch("SELECT 1 FROM ledger")) == 3
