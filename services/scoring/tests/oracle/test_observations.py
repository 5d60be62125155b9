"""Tier one: what the service books for a history is what the definitions say, without a database."""

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxloop_scoring.domain.rules import DEFAULT_RULES
from cxloop_scoring.domain.sentiment import polarity

from .configured import NOTHING
from .folding import booked, difference, expected
from .histories import History, examples, histories
from .installation import INSTALLATION, RULES
from .known import Known


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
