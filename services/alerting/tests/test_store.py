"""State on a real database does not depend on how events arrive, nor on how many workers take them."""

import asyncio
import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from cxloop_alerting.domain.facts import score_fact
from cxloop_alerting.domain.fold import fold
from cxloop_alerting.store.configs import ConfigurationStore
from cxloop_common.configuration.reading import Source
from cxloop_common.events import CloudEvent, JourneyChanged, ScoreRecorded

Alerting = Any
"""The fixture of conftest.py."""
Seeded = Callable[[int], random.Random]
HINTS = ["email:a@x.org", "email:b@x.org", "phone:+4930123456", None]


def history(rng: random.Random, make_score: Any, make_link: Any, at: Any, length: int) -> list[CloudEvent]:
    """Scores, edits and links of a few customers, each document's revisions in their order."""
    events: list[CloudEvent] = []
    revisions: dict[int, int] = {}
    for version in range(1, length + 1):
        kind = rng.choice(["score", "score", "edit", "link"])
        if kind == "link":
            linked = rng.sample([hint for hint in HINTS if hint], rng.randint(1, 2))
            events.append(make_link(rng.choice(["c1", "c2"]), version, *linked, card=rng.random() < 0.5))
            continue
        number = rng.choice(list(revisions)) if kind == "edit" and revisions else len(revisions) + 1
        revisions[number] = revisions.get(number, 0) + 1
        events.append(
            make_score(
                number,
                rng.choice([1, 2, 4, 5]),
                at.replace(minute=rng.randrange(60), hour=rng.randrange(10)),
                hint=rng.choice(HINTS),
                revision=revisions[number],
            )
        )
    return events


async def expected(alerting: Alerting, events: list[CloudEvent]) -> set[tuple[Any, ...]]:
    """The open cases that the pure fold makes of the facts alone."""
    async with alerting.connection() as connection:
        configurations = await alerting.casework.configurations(connection, alerting.clock)
    identities: dict[str, tuple[int, str]] = {}
    facts = [score_fact(event) for event in events if isinstance(event, ScoreRecorded)]
    for event in events:
        if isinstance(event, JourneyChanged):
            for named in event.identifiers:
                linked = (named.version, event.customer_id)
                identities[named.id] = max(identities.get(named.id, linked), linked)
    state = fold(facts, [], {name: customer for name, (_, customer) in identities.items()}, configurations)
    customers = {customer for _, customer in identities.values()}
    return {
        (case.id, case.owner.id, case.trigger_ids, subject if subject in customers else None)
        for subject, cases in state.items()
        for case in cases
        if case.is_open
    }


async def open_cases(alerting: Alerting) -> set[tuple[Any, ...]]:
    return {
        (row.case_id, row.owner_id, tuple(row.triggers), row.customer_id)
        for row in await alerting.rows()
        if row.status == "open"
    }


async def test_shuffled_doubled_and_recut_batches_lead_to_the_open_cases_of_the_pure_fold(
    alerting: Alerting, make_score: Any, make_link: Any, seeded: Seeded
) -> None:
    for seed in range(25):
        rng = seeded(seed)
        await alerting.forget_everything()
        alerting.clock = alerting.clock.replace(hour=12)
        events = history(rng, make_score, make_link, alerting.clock, rng.randint(3, 18))
        await alerting.replay(events, rng)
        wanted = await expected(alerting, events)
        # A revised trigger stays an alias of the case it joined; arrival alone decides whether it was one.
        current = {trigger for case in wanted for trigger in case[2]}
        got = {
            (owner, tuple(t for t in triggers if t in current), customer)
            for _, owner, triggers, customer in await open_cases(alerting)
        }
        assert got == {(owner, triggers, customer) for _, owner, triggers, customer in wanted}, seed


async def test_a_replay_in_any_order_under_the_same_log_leads_to_the_same_cases(
    alerting: Alerting, make_score: Any, make_link: Any, seeded: Seeded
) -> None:
    for seed in range(12):
        rng = seeded(1000 + seed)
        await alerting.forget_everything()
        alerting.clock = alerting.clock.replace(hour=12)
        events = history(rng, make_score, make_link, alerting.clock, rng.randint(4, 16))
        for event in events:
            await alerting.deliver(event)
            rows = await alerting.rows()
            if rows and rng.random() < 0.4:
                row = rng.choice(rows)
                kinds = {
                    "open": ["acknowledge", "contact", "resolve", "note"],
                    "reopened": ["acknowledge", "contact", "resolve"],
                    "acknowledged": ["contact", "resolve", "assign"],
                    "contacted": ["resolve", "note"],
                    "resolved": ["note"],
                }[row.status]
                await alerting.act(row.case_id, rng.choice(kinds))
        before = await alerting.state()
        for order in range(3):
            await alerting.forget_all_but_the_log()
            await alerting.replay(events, seeded(order))
            assert await alerting.state() == before, (seed, order)


@pytest.mark.parametrize("seed", range(3))
async def test_workers_side_by_side_neither_deadlock_nor_lose_a_case(
    alerting: Alerting, make_score: Any, make_link: Any, seeded: Seeded, seed: int
) -> None:
    rng = seeded(seed)
    alerting.clock = alerting.clock.replace(hour=12)
    hints = [f"email:{n}@x.org" for n in range(12)]
    scores = [
        make_score(n, rng.choice([1, 5]), alerting.clock.replace(hour=9), hint=rng.choice(hints))
        for n in range(200)
    ]
    links = [make_link(f"c{rng.randrange(4)}", version, *rng.sample(hints, 3)) for version in range(1, 61)]
    # Each worker owns keys of its own, as Kafka's partitions do; customers are what they share.
    lanes: list[list[CloudEvent]] = [[] for _ in range(4)]
    for event in rng.sample([*scores, *links], len(scores) + len(links)):
        lanes[zlib.crc32(event.key.encode()) % 4].append(event)

    async def work(lane: list[CloudEvent], local: random.Random) -> None:
        while lane:
            size = local.randint(1, 8)
            await alerting.deliver(*lane[:size])
            del lane[:size]

    await asyncio.gather(*(work(lane, seeded(number)) for number, lane in enumerate(lanes)))
    # What ran side by side unseen is folded once more by the settling timers.
    await alerting.advance(alerting.clock.replace(minute=1))
    assert await open_cases(alerting) == await expected(alerting, [*scores, *links])


async def test_a_score_that_waited_while_its_customer_became_known_joins_that_customers_case(
    alerting: Alerting, make_score: Any, make_link: Any
) -> None:
    hint = "email:a@x.org"
    await alerting.deliver(make_score(1, 1, alerting.clock, hint=hint))
    async with alerting.uncommitted(make_link("c1", 1, hint)):
        waiting = asyncio.create_task(alerting.deliver(make_score(2, 1, alerting.clock, hint=hint)))
        await alerting.somebody_waits()
    await waiting
    [row] = await alerting.rows()
    assert (row.customer_id, len(row.triggers)) == ("c1", 2)


async def test_a_link_that_waited_for_another_takes_the_case_from_where_that_one_put_it(
    alerting: Alerting, make_score: Any, make_link: Any
) -> None:
    hint = "email:a@x.org"
    await alerting.deliver(make_score(1, 1, alerting.clock, hint=hint))
    async with alerting.uncommitted(make_link("c1", 1, hint)):
        waiting = asyncio.create_task(alerting.deliver(make_link("c2", 2, hint)))
        await alerting.somebody_waits()
    await waiting
    [row] = await alerting.rows()
    assert (row.customer_id, row.version) == ("c2", 3)


async def test_a_card_written_beside_the_opening_of_a_case_is_found_once_both_have_ended(
    alerting: Alerting, make_score: Any, make_link: Any
) -> None:
    hint = "email:a@x.org"
    await alerting.deliver(make_link("c1", 1, hint))
    async with alerting.uncommitted(make_link("c1", 2, card=True)):
        await alerting.deliver(make_score(1, 1, alerting.clock, hint=hint))
    [row] = await alerting.rows()
    assert row.context == {}
    await alerting.advance(alerting.clock.replace(minute=1))
    [row] = await alerting.rows()
    assert row.context["stage"] == "use"


async def test_alert_records_of_a_case_have_rising_versions_and_ids_that_follow_from_them(
    alerting: Alerting, make_score: Any
) -> None:
    await alerting.deliver(make_score(1, 1, alerting.clock))
    [row] = await alerting.rows()
    for kind in ("acknowledge", "note", "contact"):
        await alerting.act(row.case_id, kind)
    records = await alerting.announced()
    assert [record["version"] for record in records] == [1, 2, 3, 4]
    async with alerting.connection() as connection:
        headers = await connection.fetch("SELECT topic, headers FROM outbox ORDER BY id")
    by_topic: dict[str, list[bytes]] = {}
    for header in headers:
        by_topic.setdefault(header["topic"], []).append(header["headers"])
    assert len(set(by_topic["cxloop.alerts.v1"])) == 4
    assert by_topic["cxloop.alerts.v1"] == by_topic["cxloop.alerts.default.v1"]


@pytest.mark.parametrize("cut", [1, 2], ids=["one by one", "at once"])
async def test_records_tell_of_every_score_of_a_case_however_the_scores_were_batched(
    alerting: Alerting, make_score: Any, cut: int
) -> None:
    scores = [make_score(number, 1, alerting.clock, hint=HINTS[0]) for number in (1, 2)]
    for start in range(0, len(scores), cut):
        await alerting.deliver(*scores[start : start + cut])
    records = await alerting.announced()
    assert len({record["case_id"] for record in records}) == 1
    assert sorted(records[-1]["documents"]) == [score.document for score in scores]


async def test_a_superseded_configuration_does_not_come_back_with_a_late_replica(
    alerting: Alerting,
) -> None:

    text = "people: {%s: {}}\nfallback: person:%s\nroute: {}\n"
    rules = Source("rules.yaml", "rules: [{id: low, when: [band=low]}]")
    old = ConfigurationStore(rules, Source("routes.yaml", text % ("ana", "ana")))
    new = ConfigurationStore(rules, Source("routes.yaml", text % ("ben", "ben")))
    async with alerting.connection() as connection:
        first = await old.load(connection, alerting.clock)
        later = alerting.clock.replace(hour=1)
        second = await new.load(connection, later)
        again = await old.load(connection, alerting.clock.replace(hour=2))
    assert first.latest.fallback.id == "ana"
    assert second.latest.digest == again.latest.digest
    assert second.at(alerting.clock).fallback.id == "ana"
    assert second.at(later).fallback.id == "ben"
