"""Shifts are told once, whatever hovers, repeats or comes late."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxloop_scoring.domain.comparing import Difference
from cxloop_scoring.domain.shifts import (
    ANNOUNCING,
    SETTLED_AFTER,
    Heading,
    Reason,
    ShiftState,
    heading,
    look,
)
from cxloop_scoring.domain.statistics import Status

HOUR = 3_600_000_000


def difference(
    value: float, half: float = 5.0, *, n: int = 100, q: float | None = 0.01, p: float = 0.01
) -> Difference:
    return Difference(
        value, value - half, value + half, p, significant=True, n=n, n_then=100, status=Status.OK, q_value=q
    )


DOWN, NOISE, UP = difference(-8), difference(-3, p=0.3, q=0.4), difference(8)
UNCORRECTED = difference(-8, p=0.03, q=0.3)
Looks = list[tuple[int, Difference]]


def judge(looks: Looks) -> list[Reason]:
    state, reasons = ShiftState(), list[Reason]()
    for at, found in looks:
        state, reason = look(state, found, at)
        reasons.append(reason)
    return reasons


def test_a_shift_is_announced_once_while_it_stands() -> None:
    assert judge([(hour * HOUR, DOWN) for hour in range(100)]) == [Reason.SHIFTED] + [Reason.KNOWN] * 99


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (NOISE, Reason.WITHIN_NOISE),
        (UNCORRECTED, Reason.WITHIN_NOISE),
        (difference(-8, n=29), Reason.TOO_FEW),
        (difference(-8, q=None, p=0.2), Reason.WITHIN_NOISE),
        (difference(-8, q=None), Reason.SHIFTED),
        (difference(-8, n=30), Reason.SHIFTED),
    ],
)
def test_only_a_corrected_difference_with_enough_behind_it_is_announced(
    found: Difference, reason: Reason
) -> None:
    assert judge([(HOUR, found)]) == [reason]


def test_a_withheld_difference_has_no_heading() -> None:
    withheld = Difference(None, None, None, None, significant=False, n=40, n_then=40, status=Status.OK)
    assert heading(withheld) is None
    assert judge([(0, withheld)]) == [Reason.WITHIN_NOISE]


def test_a_shift_is_news_again_after_a_day_without_a_difference() -> None:
    looks = [(0, DOWN), *((hour * HOUR, NOISE) for hour in range(1, 26)), (26 * HOUR, DOWN)]
    reasons = judge(looks)
    assert reasons[1:25] == [Reason.SETTLING] * 24
    assert reasons[25:] == [Reason.SETTLED, Reason.SHIFTED]


def test_a_shift_that_turns_round_is_news_at_once() -> None:
    assert judge([(0, DOWN), (HOUR, UP), (2 * HOUR, UP)]) == [Reason.SHIFTED, Reason.TURNED, Reason.KNOWN]


def test_a_difference_that_is_no_longer_proven_does_not_let_the_shift_settle() -> None:
    looks = [(0, DOWN), *((hour * HOUR, UNCORRECTED) for hour in range(1, 60)), (60 * HOUR, DOWN)]
    assert judge(looks)[-1] is Reason.KNOWN
    quiet = [(hour * HOUR, UNCORRECTED if hour == 20 else NOISE) for hour in range(1, 40)]
    assert judge([(0, DOWN), *quiet])[1:] == [Reason.SETTLING] * 39


def test_a_second_look_at_the_same_moment_is_not_taken() -> None:
    assert judge([(HOUR, NOISE), (HOUR, DOWN), (HOUR - 1, DOWN)]) == [
        Reason.WITHIN_NOISE,
        *[Reason.STALE] * 2,
    ]


def test_a_window_with_too_few_observations_forgets_nothing() -> None:
    few = difference(-3, n=4)
    looks = [(0, DOWN), *((hour * HOUR, few) for hour in range(1, 60)), (60 * HOUR, DOWN)]
    assert judge(looks)[1:] == [Reason.TOO_FEW] * 59 + [Reason.KNOWN]


def test_announcements_are_numbered() -> None:
    state = ShiftState()
    for at, found in ((0, DOWN), (1, DOWN), (2, UP)):
        state, _ = look(state, found, at)
    assert (state.announcements, state.announced, state.announced_at) == (2, Heading.UP, 2)


some_looks = st.lists(
    st.tuples(
        st.integers(0, 400).map(lambda quarter: quarter * HOUR // 4),
        st.sampled_from([DOWN, NOISE, UP, UNCORRECTED, difference(-8, n=3)]),
    ),
    max_size=80,
    unique_by=lambda item: item[0],
).map(lambda looks: sorted(looks, key=lambda item: item[0]))


@given(some_looks, st.randoms(use_true_random=False))
def test_the_same_looks_give_the_same_announcements_repeated_or_late(
    looks: Looks, chance: random.Random
) -> None:
    again: Looks = []
    for place, item in enumerate(looks):
        again.append(item)
        again += [chance.choice(looks[: place + 1]) for _ in range(chance.randint(0, 2))]
    announced = [reason for reason in judge(looks) if reason in ANNOUNCING]
    assert [reason for reason in judge(again) if reason in ANNOUNCING] == announced
    one, other = ShiftState(), ShiftState()
    for at, found in looks:
        one, _ = look(one, found, at)
    for at, found in again:
        other, _ = look(other, found, at)
    assert one == other


@given(some_looks)
def test_one_direction_is_never_announced_twice_within_a_day(looks: Looks) -> None:
    state, last = ShiftState(), dict[Heading | None, int]()
    for at, found in looks:
        state, reason = look(state, found, at)
        if reason is Reason.SHIFTED:
            assert at - last.get(state.announced, -SETTLED_AFTER) >= SETTLED_AFTER
        if reason in ANNOUNCING:
            assert heading(found) is state.announced
            last[state.announced] = at


def test_a_difference_that_hovers_at_the_border_is_announced_once() -> None:
    chance = random.Random(3)  # noqa: S311 - reproducible by its seed
    looks = [(second * 30_000_000, difference(-5 + chance.gauss(0, 0.5))) for second in range(20_000)]
    assert sum(reason in ANNOUNCING for reason in judge(looks)) == 1
