"""Estimates and intervals against published vectors and exact computations."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxloop_scoring.domain.histogram import (
    Histogram,
    add_histogram,
    bin_middle,
    duration_bin,
    quantile,
)
from cxloop_scoring.domain.statistics import (
    Status,
    mean_interval,
    median_interval,
    median_ranks,
    nps,
    nps_interval,
    share,
    status,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("counts", "value", "low", "high"),
    [
        ((50, 30, 20), 30, 14.05, 44.20),
        ((500, 300, 200), 30, 25.08, 34.74),
        ((6, 2, 2), 40, -12.59, 74.12),
        ((1, 0, 0), 100, -48.5, 98.5),
    ],
)
def test_nps_and_its_interval_match_the_published_vectors(
    counts: tuple[int, int, int], value: float, low: float, high: float
) -> None:
    assert nps(*counts) == value
    interval = nps_interval(*counts)
    assert interval is not None
    assert interval.low == pytest.approx(low, abs=0.05)
    assert interval.high == pytest.approx(high, abs=0.05)


def test_the_interval_of_an_nps_stays_on_its_scale() -> None:
    worst, best = nps_interval(0, 0, 3), nps_interval(3, 0, 0)
    assert worst is not None
    assert best is not None
    assert worst.low == -100
    assert best.high == 100


@pytest.mark.parametrize(
    ("good", "n", "low", "high"), [(70, 100, 60.42, 78.11), (4, 5, 37.55, 96.38), (0, 10, 0, 27.75)]
)
def test_wilson_matches_the_published_vectors(good: int, n: int, low: float, high: float) -> None:
    interval = wilson(good, n)
    assert interval is not None
    assert interval.low == pytest.approx(low, abs=0.006)
    assert interval.high == pytest.approx(high, abs=0.006)


def test_nothing_observed_has_no_value_and_no_interval() -> None:
    assert nps(0, 0, 0) is None
    assert nps_interval(0, 0, 0) is None
    assert share(0, 0) is None
    assert wilson(0, 0) is None
    assert mean_interval(1, 5, 25) is None
    assert quantile({}, 0.5) is None
    assert median_interval({}) is None


def test_negative_and_impossible_counts_are_refused() -> None:
    for call in (lambda: nps(-1, 0, 0), lambda: nps_interval(0, -1, 0), lambda: wilson(3, 2)):
        with pytest.raises(ValueError, match="not negative"):
            call()


@pytest.mark.parametrize(("degrees", "value"), [(1, 12.7062), (30, 2.0423), (31, 2.0395), (100, 1.98397)])
def test_student_quantiles_match_the_tables(degrees: int, value: float) -> None:
    assert t_quantile(degrees) == pytest.approx(value, abs=5e-5)


def test_the_interval_of_a_mean_is_exact_over_integers() -> None:
    values = [400, 500, 600, 700, 300]
    interval = mean_interval(5, sum(values), sum(v * v for v in values))
    assert interval is not None
    half = 2.776445 * math.sqrt(25000 / 5)
    assert interval.low == pytest.approx(500 - half)
    assert interval.high == pytest.approx(500 + half)


@pytest.mark.parametrize(("n", "ranks"), [(5, None), (6, (1, 6)), (10, (2, 9)), (15, (4, 12)), (25, (8, 18))])
def test_ranks_around_a_median_match_the_binomial(n: int, ranks: tuple[int, int] | None) -> None:
    assert median_ranks(n) == ranks


@given(st.integers(6, 3000))
def test_ranks_around_a_median_hold_95_percent(n: int) -> None:
    ranks = median_ranks(n)
    assert ranks is not None
    below = sum(math.comb(n, k) for k in range(ranks[0] - (n > 500)))
    assert 40 * below <= 2**n
    assert ranks[0] + ranks[1] == n + 1


@pytest.mark.parametrize(
    ("n", "verdict"),
    [(0, Status.SUPPRESSED), (4, Status.SUPPRESSED), (5, Status.LOW_CONFIDENCE), (29, Status.LOW_CONFIDENCE)],
)
def test_few_observations_say_so(n: int, verdict: Status) -> None:
    assert status(n) is verdict
    assert status(30) is Status.OK


@given(st.integers(0, 2**62))
def test_a_bin_stands_for_its_values_within_one_percent(value: int) -> None:
    number = duration_bin(value)
    assert abs(bin_middle(number) - value) <= value / 100
    assert duration_bin(value + 1) in (number, number + 1)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_histograms_subtract_what_they_added(values: list[int], chance: random.Random) -> None:
    kept: Histogram = {}
    all_: Histogram = {}
    for place, value in enumerate(values):
        add_histogram(all_, {duration_bin(value): 1})
        if place % 2:
            add_histogram(kept, {duration_bin(value): 1})
    gone = [value for place, value in enumerate(values) if not place % 2]
    chance.shuffle(gone)
    for value in gone:
        add_histogram(all_, {duration_bin(value): 1}, -1)
    assert all_ == kept


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200))
def test_a_median_is_within_one_percent_of_the_exact_one(values: list[int]) -> None:
    histogram: Histogram = {}
    for value in values:
        add_histogram(histogram, {duration_bin(value): 1})
    ordered = sorted(values)
    middle = len(ordered) // 2
    exact = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    assert quantile(histogram, 0.5) == pytest.approx(exact, rel=0.01)
