"""The relationship population: the latest score of each customer."""

import random
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import pytest_asyncio

from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.metrics import CATALOGUE
from cxloop_scoring.domain.questions import Filter, Population, Question
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store.questions import Snapshot

from .booking import HIGH, LOW, MIDDLE, NPS, Ledger, day, ledger_of


@pytest_asyncio.fixture
async def ledger(database_url: str) -> AsyncGenerator[Ledger]:
    async with ledger_of(database_url) as found:
        yield found


async def latest(ledger: Ledger, **more: Any) -> dict[tuple[int, str | None], tuple[int, int, int, int]]:
    """Give n and bands of the latest NPS answer of each customer, by span and group."""
    spans = (
        Span(microseconds(day(0)), microseconds(day(5))),
        Span(microseconds(day(5)), microseconds(day(10))),
    )
    question = Question(CATALOGUE["nps"], spans, population=Population.RELATIONSHIP, **more)
    async with ledger.connection.transaction(isolation="repeatable_read", readonly=True):
        found = await Snapshot(ledger.connection).sums(question)
    return {cell: (sums.n, sums.low, sums.middle, sums.high) for cell, sums in found.items() if sums.n}


async def test_a_merge_leaves_one_latest_score_and_as_of_before_it_leaves_two(ledger: Ledger) -> None:
    await ledger.score("1", 1, "user:a", LOW)
    await ledger.score("2", 2, "email:a@example.com", HIGH)
    assert await latest(ledger) == {(0, None): (2, 1, 0, 1)}
    ledger.recorded_at = day(20)
    await ledger.own("cus_a", 1, "user:a", "email:a@example.com")
    assert await latest(ledger) == {(0, None): (1, 0, 0, 1)}
    assert await latest(ledger, as_of=day(19)) == {(0, None): (2, 1, 0, 1)}


async def test_of_scores_at_one_moment_the_greater_document_is_the_latest(ledger: Ledger) -> None:
    await ledger.score("1", 1, "user:a", HIGH)
    await ledger.score("2", 1, "user:a", LOW)
    assert await latest(ledger) == {(0, None): (1, 1, 0, 0)}
    await ledger.book("response:s:2", NPS, day(1), band=LOW, customer="user:a", sign=-1)
    assert await latest(ledger) == {(0, None): (1, 0, 0, 1)}


async def test_the_quick_way_to_latest_scores_agrees_with_a_walk_over_all_of_them(ledger: Ledger) -> None:
    chance = random.Random(7)  # noqa: S311 - reproducible by its seed
    rows: list[tuple[str, str, float, int, str, datetime]] = []
    for number in range(300):
        ledger.recorded_at = day(chance.choice([11, 12]))
        name, customer = f"{number:03}", f"user:{chance.randrange(40)}"
        at, band, team = chance.randrange(100_000) / 10_000, chance.randrange(3), chance.choice("xyz")
        await ledger.score(name, at, customer, band, team=team)
        if chance.random() < 0.2:
            ledger.recorded_at = day(13)
            await ledger.score(name, at, customer, band, sign=-1, team=team)
            if chance.random() < 0.7:
                band = chance.randrange(3)
                await ledger.score(name, at, customer, band, team=team)
                rows.append((name, customer, at, band, team, ledger.recorded_at))
        else:
            rows.append((name, customer, at, band, team, ledger.recorded_at))
    owner = {f"user:{number}": f"cus_{number // 2}" for number in range(20)}
    for number, (identifier, customer) in enumerate(owner.items()):
        await ledger.own(customer, number, identifier)

    def walked(team: str | None) -> dict[int, tuple[int, int, int, int]]:
        found: dict[int, tuple[int, int, int, int]] = {}
        for place in range(2):
            last: dict[str, int] = {}
            for _, customer, at, band, filed, _ in sorted(rows, key=lambda row: (row[2], row[0])):
                if place * 5 <= at < place * 5 + 5 and team in (None, filed):
                    last[owner.get(customer, customer)] = band
            bands = list(last.values())
            found[place] = (len(bands), bands.count(LOW), bands.count(MIDDLE), bands.count(HIGH))
        return found

    expected = walked(None)
    assert await latest(ledger) == {(place, None): bands for place, bands in expected.items()}
    grouped = {(place, team): bands for team in "xyz" for place, bands in walked(team).items() if bands[0]}
    assert await latest(ledger, by="team") == grouped
    filtered = {(place, None): bands for place, bands in walked("x").items()}
    assert await latest(ledger, where=(Filter("team", "x"),)) == filtered


async def test_a_withdrawn_score_is_nobodys_latest(ledger: Ledger) -> None:
    await ledger.score("1", 1, "user:a", LOW)
    await ledger.score("2", 2, "user:a", HIGH)
    await ledger.score("3", 2, "user:b", HIGH)
    ledger.recorded_at = day(20)
    await ledger.score("2", 2, "user:a", HIGH, sign=-1)
    await ledger.score("3", 2, "user:b", HIGH, sign=-1)
    assert await latest(ledger) == {(0, None): (1, 1, 0, 0)}
    assert await latest(ledger, as_of=day(19)) == {(0, None): (2, 0, 0, 2)}
