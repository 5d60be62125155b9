"""Tier one: what the service books for a history is what the definitions say, without a database."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxloop_common.events import TicketCreated, TicketMerged, TicketReplied
from cxloop_scoring.domain.rules import DEFAULT_RULES
from cxloop_scoring.domain.sentiment import polarity

from .configured import NOTHING
from .drawing import START
from .folding import booked, difference, expected
from .histories import History, examples, histories
from .installation import INSTALLATION, RULES
from .known import Known
from .rows import FIRST_RESPONSE


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)
@given(history=histories("one"), configured=st.booleans(), chance=st.randoms(use_true_random=False))
def test_every_observation_is_the_one_that_the_definitions_give(
    history: History, *, configured: bool, chance: random.Random
) -> None:
    rules, installation = (RULES, INSTALLATION) if configured else (DEFAULT_RULES, NOTHING)
    records: Sequence[Any] = chance.sample(history.records * 2, 2 * len(history.records))
    found = booked(records, rules)
    wanted = expected(Known.of(history.records, polarity, installation).rows)
    assert not difference(found, wanted), difference(found, wanted)


@pytest.mark.parametrize("back", [None, "a"], ids=["a chain", "and a cycle before it"])
def test_messages_go_along_all_merges_to_the_last_survivor(back: str | None) -> None:
    base: dict[str, Any] = {"source": "zd"}
    given: list[Any] = [
        TicketCreated(**base, **_of(name, minute), channel="email", created_by=cast("Any", by))
        for name, minute, by in (("a", 0, "customer"), ("b", 1, "bot"), ("c", 2, "bot"))
    ]
    merges = [("a", "b"), ("b", "c"), *([("b", back)] if back else [])]
    given += [
        TicketMerged(**base, **_of(one, 10 + place), into_ticket_id=into)
        for place, (one, into) in enumerate(merges)
    ]
    given.append(TicketReplied(**base, **_of("c", 30), message_id="m", author="agent", public=True))
    rows = Known.of(given, polarity).rows
    assert not difference(booked(given), expected(rows))
    waits = [row.value for row in rows if row.metric == FIRST_RESPONSE]
    assert waits == [30 * 60_000]


def _of(ticket: str, minute: int) -> dict[str, Any]:
    return {"id": f"{ticket}-{minute}", "ticket_id": ticket, "time": START + timedelta(minutes=minute)}
