"""Contradictions and windows, without a database."""

import random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cxloop_scoring.domain.facts import (
    AGENT,
    CUSTOMER,
    SOLVED,
    Created,
    Fact,
    Facts,
    Replied,
    StatusChanged,
    Tombstone,
    add_fact,
    decode_facts,
    encode_facts,
    event_ids,
)
from cxloop_scoring.domain.windows import DAY, HOUR, Span, layers


def reply(at: int) -> Fact:
    return Replied(at, b"r%d" % at, AGENT, True, {})  # noqa: FBT003 - fields of a record, in its order


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


STORED_BEFORE: dict[str, list[Any]] = {
    "a": ["c", 1, 0, b"d", 1, {"channel": "email"}, None, ["email:ana@example.com"]],
    "b": ["r", 3, 1, b"d", 2, True, {}],
    "c": ["s", 4, 2, b"d", 1, {}],
    "d": ["m", 6, 3, b"d", "ticket:desk:2"],
    "e": ["o", 10, 4, b"d", "spring", {}, []],
}


def test_what_was_stored_before_facts_grew_is_still_read() -> None:
    stored = msgspec.msgpack.encode({name: fields[1:] for name, fields in STORED_BEFORE.items()})
    facts = decode_facts(stored)
    assert [type(fact).__name__ for fact in facts.values()] == [
        *("Created", "Replied", "StatusChanged", "Merged", "Sent")
    ]
    assert decode_facts(encode_facts(facts)) == facts
