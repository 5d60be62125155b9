"""Clocks, bands and contradictions, without a database."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxloop_scoring.domain.documents import contributions
from cxloop_scoring.domain.facts import (
    AGENT,
    BOT,
    CUSTOMER,
    OPEN,
    SOLVED,
    Created,
    Deleted,
    Fact,
    Facts,
    Linked,
    Merged,
    Replied,
    Responded,
    StatusChanged,
    Tombstone,
    Updated,
    add_fact,
    decode_facts,
    encode_facts,
    event_ids,
)
from cxloop_scoring.domain.metrics import BY_NUMBER
from cxloop_scoring.domain.observations import Band
from cxloop_scoring.domain.responses import band, metric_of, normalised
from cxloop_scoring.domain.windows import DAY, HOUR, Span, layers

TICKET = "ticket:zendesk-eu:1"
SECOND = 1_000_000


def created(at: int, by: int = CUSTOMER) -> Fact:
    return Created(at * SECOND, b"c%d" % at, by, {"channel": "email"}, None, ())


def reply(at: int, author: int = AGENT, *, public: bool = True) -> Fact:
    return Replied(at * SECOND, b"r%d" % at, author, public, {})


def status(at: int, became: int) -> Fact:
    return StatusChanged(at * SECOND, b"s%d" % at, became, {})


def ticket(*facts: Fact) -> dict[str, int]:
    """Fold facts and give seconds (or the number) by metric."""
    named = {f"e{place}": fact for place, fact in enumerate(facts)}
    found = contributions(TICKET, named)
    return {
        BY_NUMBER[one.metric].name: one.value // 1000 if BY_NUMBER[one.metric].is_duration else one.value
        for one in found
    }


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        ([created(0), reply(60)], 60),
        ([created(0), reply(30, BOT), reply(40, public=False), reply(60)], 60),
        ([created(0), reply(30, CUSTOMER), reply(60)], 60),
        ([created(0, AGENT), reply(30, CUSTOMER), reply(60)], None),
        ([created(0, BOT), reply(60)], None),
        ([created(0, BOT), reply(10), reply(30, CUSTOMER), reply(60)], 30),
        ([created(0), reply(0)], 0),
        ([reply(60), reply(0, CUSTOMER)], None),
        ([created(100), Linked(40 * SECOND, b"l", CUSTOMER), Linked(70 * SECOND, b"m", AGENT)], 30),
    ],
)
def test_only_people_start_and_stop_the_first_response(facts: list[Fact], seconds: int | None) -> None:
    assert ticket(*facts).get("first_response_time") == seconds


@pytest.mark.parametrize(
    ("statuses", "first", "full", "reopened"),
    [
        ([], None, None, None),
        ([(10, SOLVED)], 10, 10, 0),
        ([(10, SOLVED), (20, OPEN)], 10, None, 1),
        ([(10, SOLVED), (20, OPEN), (50, SOLVED)], 10, 50, 1),
        ([(10, SOLVED), (90, 2)], 10, 10, 0),
        ([(10, 2)], 10, 10, 0),
        ([(5, OPEN), (10, SOLVED)], 10, 10, 0),
    ],
)
def test_resolution_runs_to_the_first_and_to_the_last_solve(
    statuses: list[tuple[int, int]], first: int | None, full: int | None, reopened: int | None
) -> None:
    found = ticket(created(0), *(status(at, became) for at, became in statuses))
    assert found.get("first_resolution_time") == first
    assert found.get("full_resolution_time") == full
    assert found.get("reopen_rate") == reopened
    assert found["ticket_volume"] == 1


@pytest.mark.parametrize("gone", [Deleted(5, b"d"), Merged(5, b"m", "ticket:zendesk-eu:2")])
def test_a_deleted_or_merged_ticket_leaves_every_number(gone: Fact) -> None:
    assert ticket(created(0), reply(60), status(90, SOLVED), gone) == {}


def test_a_merge_into_itself_means_nothing() -> None:
    assert ticket(created(0), Merged(5, b"m", TICKET)) == {"ticket_volume": 1}


def test_an_observation_is_filed_under_what_was_said_last() -> None:
    facts: Facts = {
        "a": created(0),
        "c": Updated(10, b"1", {"team": "billing", "agent": "mia"}, ("b", "a"), ()),
        "b": Updated(10, b"2", {"team": "returns", "agent": None, "plan": "gold"}, None, ()),
    }
    (volume,) = contributions(TICKET, facts)
    assert (volume.dimensions.source, volume.dimensions.channel) == ("zendesk-eu", "email")
    assert (volume.dimensions.team, volume.dimensions.agent) == ("billing", "mia")
    assert volume.dimensions.more == (("plan", "gold"), ("tag", "a"), ("tag", "b"))


def score(metric: str, raw: float, least: float, most: float, **more: Any) -> Responded:
    lower = more.get("lower_is_better", False)
    return Responded(0, b"", metric, raw, least, most, lower, more.get("good"), {}, (), None, None)


@pytest.mark.parametrize(
    ("answer", "where", "share", "counts"),
    [
        (score("nps", 6, 0, 10), Band.LOW, 6000, "NPS"),
        (score("nps", 7, 0, 10), Band.MIDDLE, 7000, "NPS"),
        (score("nps", 9, 0, 10), Band.HIGH, 9000, "NPS"),
        (score("nps", 4, 1, 5), Band.HIGH, 7500, None),
        (score("csat", 2, 1, 5), Band.LOW, 2500, "CSAT"),
        (score("csat", 3, 1, 5), Band.MIDDLE, 5000, "CSAT"),
        (score("csat", 4, 1, 5), Band.HIGH, 7500, "CSAT"),
        (score("csat", 2, 1, 2), Band.HIGH, 10000, "CSAT"),
        (score("csat", 1, 1, 2), Band.LOW, 0, "CSAT"),
        (score("csat", 2, 1, 3), Band.MIDDLE, 5000, "CSAT"),
        (score("csat", 3, 1, 4), Band.HIGH, 6667, "CSAT"),
        (score("csat", 2, 1, 5, lower_is_better=True), Band.HIGH, 7500, "CSAT"),
        (score("csat", 2, 1, 5, good=(1.0, 2.0)), Band.HIGH, 2500, "CSAT"),
        (score("ces", 3, 1, 7), Band.LOW, 3333, "CES"),
        (score("ces", 4, 1, 7), Band.MIDDLE, 5000, "CES"),
        (score("ces", 5, 1, 7), Band.HIGH, 6667, "CES"),
        (score("ces", 5, 1, 5), Band.HIGH, 10000, None),
        (score("other", 100, 0, 100), Band.HIGH, 10000, None),
    ],
)
def test_a_score_has_its_band_and_its_metric(
    answer: Responded, where: Band, share: int, counts: str | None
) -> None:
    assert normalised(answer) == share
    assert band(answer, share) is where
    number = metric_of(answer)
    assert (None if number is None else number.name) == counts


def _content(at: int, digest: int, kind: int) -> Fact:
    mark = bytes([digest])
    if kind == 0:
        return Created(at, mark, CUSTOMER, {}, None, ())
    return Replied(at, mark, AGENT, True, {}) if kind == 1 else StatusChanged(at, mark, SOLVED, {})  # noqa: FBT003 - fields of a record, in its order


contents = st.builds(_content, st.integers(0, 3), st.integers(0, 3), st.integers(0, 2))


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), contents), max_size=12),
    st.randoms(use_true_random=False),
)
def test_contradictions_end_the_same_in_any_order(
    arrivals: list[tuple[str, Fact]], chance: random.Random
) -> None:
    one: Facts = {}
    for event_id, fact in arrivals:
        add_fact(one, event_id, fact)
    again = arrivals + arrivals[: len(arrivals) // 2]
    chance.shuffle(again)
    other: Facts = {}
    for event_id, fact in again:
        add_fact(other, event_id, fact)
    assert one == other
    assert decode_facts(encode_facts(one)) == one
    for event_id in {event_id for event_id, _ in arrivals}:
        said = {(fact.at, fact.digest) for name, fact in arrivals if name == event_id}
        assert (one[event_id].at, one[event_id].digest) == min(said)
    assert event_ids(one) == tuple(sorted({event_id for event_id, _ in arrivals}))
    assert not any(add_fact(one, event_id, fact) for event_id, fact in again)


def test_a_contradiction_leaves_a_tombstone_that_raises_the_revision() -> None:
    facts: Facts = {}
    assert add_fact(facts, "e", reply(2))
    assert add_fact(facts, "e", reply(1))
    assert facts["e"] == reply(1)
    assert sum(isinstance(fact, Tombstone) for fact in facts.values()) == 1
    assert not add_fact(facts, "e", reply(2))


@given(st.integers(0, 90 * DAY), st.integers(0, 90 * DAY))
def test_a_window_is_taken_apart_without_gap_or_overlap(since: int, length: int) -> None:
    parts = layers(Span(since, since + length))
    covered = sorted(
        [
            *((span.since * DAY, span.until * DAY) for span in parts.days),
            *((span.since * HOUR, span.until * HOUR) for span in parts.hours),
            *parts.edges,
        ]
    )
    place = since
    for begin, end in covered:
        assert begin == place
        assert end > begin
        place = end
    assert place == since + length
    assert sum(end - begin for begin, end in parts.edges) < 2 * HOUR
