"""Differences and tests against published vectors, and against SciPy and statsmodels over random inputs."""

import importlib
import math
import random
from collections import Counter
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxloop_scoring.domain.histogram import duration_bin
from cxloop_scoring.domain.statistics import (
    Alternative,
    Contrast,
    binomial_at_least,
    fisher,
    homogeneity,
    mean_difference,
    median_difference,
    nps_difference,
    nps_interval,
    q_values,
    share_difference,
)
from cxloop_scoring.domain.statistics.distributions import (
    chi_square_at_least,
    incomplete_beta,
    normal_two_sided,
    student_two_sided,
)

# Neither library has types throughout; as oracles they are asked for numbers alone.
scipy_stats: Any = importlib.import_module("scipy.stats")
scipy_special: Any = importlib.import_module("scipy.special")
proportion: Any = importlib.import_module("statsmodels.stats.proportion")
multitest: Any = importlib.import_module("statsmodels.stats.multitest")
weightstats: Any = importlib.import_module("statsmodels.stats.weightstats")

ROUNDS = 400


@pytest.fixture
def chance() -> random.Random:
    return random.Random(20_260_307)  # noqa: S311 - samples, reproducible by their seed


def _held(contrast: Contrast | None) -> Contrast:
    assert contrast is not None
    return contrast


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 5.24, 33.39),
        ((9, 10, 3, 10), 17.05, 80.90),
        ((6, 7, 2, 7), 5.82, 80.62),
        ((5, 56, 0, 29), -3.81, 19.26),
        ((0, 10, 0, 20), -16.11, 27.75),
        ((0, 10, 0, 10), -27.75, 27.75),
        ((10, 10, 0, 20), 67.91, 100.00),
        ((10, 10, 0, 10), 60.75, 100.00),
    ],
)
def test_a_difference_of_shares_matches_the_table_of_newcombe(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    contrast = _held(share_difference(*counts))
    assert contrast.interval == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_a_difference_of_shares_matches_statsmodels(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        n, m = chance.randint(1, 900), chance.randint(1, 900)
        a, b = chance.randint(0, n), chance.randint(0, m)
        contrast = _held(share_difference(a, n, b, m))
        expected = proportion.confint_proportions_2indep(a, n, b, m, compare="diff", method="newcomb")
        assert contrast.interval == pytest.approx([100 * bound for bound in expected], abs=1e-9)
        assert contrast.difference == pytest.approx(100 * (a / n - b / m))


def test_the_test_of_shares_is_chi_square_for_all_but_one_observation(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        n, m = chance.randint(20, 900), chance.randint(20, 900)
        a, b = chance.randint(1, n - 1), chance.randint(1, m - 1)
        table = [[a, n - a], [b, m - b]]
        expected = scipy_stats.contingency.expected_freq(table)
        if expected.min() < 1:
            p = scipy_stats.fisher_exact(table).pvalue
        else:
            statistic = (
                scipy_stats.chi2_contingency(table, correction=False).statistic * (n + m - 1) / (n + m)
            )
            p = scipy_stats.chi2.sf(statistic, 1)
        assert _held(share_difference(a, n, b, m)).p_value == pytest.approx(p, rel=1e-8, abs=1e-300)


def test_empty_groups_cannot_be_compared() -> None:
    assert share_difference(0, 0, 1, 2) is None
    assert nps_difference((0, 0, 0), (1, 0, 0)) is None
    assert mean_difference((1, 5, 25), (9, 45, 300)) is None
    assert median_difference({}, {5: 10}) is None
    assert median_difference({5: 5}, {5: 10}) is None


def test_values_that_do_not_vary_are_no_ground_for_a_test() -> None:
    assert mean_difference((3, 12, 48), (3, 15, 75)) is None
    assert median_difference({5: 30}, {9: 30}) is None


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        share_difference(3, 2, 1, 2)
    with pytest.raises(ValueError, match="not negative"):
        nps_difference((1, 2, -1), (1, 1, 1))
    with pytest.raises(ValueError, match="nor more"):
        fisher(3, 2, 1, 2)
    with pytest.raises(ValueError, match="binomial"):
        binomial_at_least(3, 2, 0.5)
    with pytest.raises(ValueError, match="degree"):
        chi_square_at_least(1.0, 0)


def test_a_difference_of_scores_adds_the_variances_of_both_intervals(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        first, second = (
            (chance.randint(1, 300), chance.randint(1, 300), chance.randint(1, 300)) for _ in "ab"
        )
        contrast = _held(nps_difference(first, second))
        halves: list[float] = []
        for counts in (first, second):
            interval = nps_interval(*counts)
            assert interval is not None
            halves.append((interval.high - interval.low) / 2)
        assert (contrast.interval.high - contrast.interval.low) / 2 == pytest.approx(math.hypot(*halves))
        excluded = contrast.interval.low > 0 or contrast.interval.high < 0
        assert excluded is (contrast.p_value < 0.05)


def test_the_interval_of_a_difference_of_scores_holds_what_it_promises(chance: random.Random) -> None:
    """The true difference is 30 - 10 points; of 2,000 pairs of samples at least 93.5 % must enclose it."""

    def sample(weights: tuple[int, int, int], n: int) -> tuple[int, int, int]:
        drawn = Counter(chance.choices("hml", weights, k=n))
        return drawn["h"], drawn["m"], drawn["l"]

    enclosed = 0
    for _ in range(2000):
        contrast = _held(nps_difference(sample((50, 30, 20), 40), sample((40, 30, 30), 60)))
        enclosed += contrast.interval.low <= 20 <= contrast.interval.high
    assert 0.935 <= enclosed / 2000 <= 0.975


def test_a_difference_of_means_matches_welch(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        first = [chance.randint(100, 700) for _ in range(chance.randint(2, 60))]
        second = [chance.choice((300, 700)) for _ in range(chance.randint(2, 60))]
        if min(len({*first}), len({*second})) == 1:
            continue
        contrast = _held(
            mean_difference(
                (len(first), sum(first), sum(v * v for v in first)),
                (len(second), sum(second), sum(v * v for v in second)),
            )
        )
        result = scipy_stats.ttest_ind(first, second, equal_var=False)
        assert contrast.p_value == pytest.approx(result.pvalue, rel=1e-9)
        assert contrast.interval == pytest.approx(result.confidence_interval(0.95), rel=2e-6, abs=2e-4)


def test_a_difference_of_means_matches_statsmodels(chance: random.Random) -> None:
    first = [chance.gauss(5, 2) for _ in range(700)]
    second = [chance.gauss(5.2, 3) for _ in range(900)]
    whole = [[round(100 * v) for v in values] for values in (first, second)]
    contrast = _held(
        mean_difference(
            (700, sum(whole[0]), sum(v * v for v in whole[0])),
            (900, sum(whole[1]), sum(v * v for v in whole[1])),
        )
    )
    compared = weightstats.CompareMeans.from_data(*whole)
    assert contrast.interval == pytest.approx(compared.tconfint_diff(usevar="unequal"), rel=1e-6)
    assert contrast.p_value == pytest.approx(compared.ttest_ind(usevar="unequal")[1], rel=1e-9)


def test_a_difference_of_medians_matches_the_published_example() -> None:
    """Two groups of ten, from the documentation of the R package statpsych, `ci.median2`."""
    first = Counter([32, 39, 26, 35, 43, 27, 40, 37, 34, 29])
    second = Counter([36, 44, 47, 42, 49, 39, 46, 31, 33, 48])
    contrast = _held(median_difference(first, second))
    assert contrast.difference == -8.5
    assert contrast.interval == (pytest.approx(-16.95977, abs=1e-5), pytest.approx(-0.04022524, abs=1e-8))


def test_the_interval_of_a_difference_of_medians_holds_what_it_promises(chance: random.Random) -> None:
    """Log-normal times, as times to answer are; of 1,000 pairs at least 93 % enclose the true difference."""
    enclosed = 0
    for _ in range(1000):
        first = Counter(duration_bin(round(chance.lognormvariate(14, 1))) for _ in range(40))
        second = Counter(duration_bin(round(chance.lognormvariate(13.5, 1.2))) for _ in range(80))
        contrast = _held(median_difference(first, second))
        enclosed += contrast.interval.low <= math.exp(14) - math.exp(13.5) <= contrast.interval.high
    assert enclosed >= 930


@given(st.lists(st.integers(0, 10**7), min_size=6, max_size=60))
def test_a_sample_does_not_differ_from_itself(values: list[int]) -> None:
    histogram = Counter(map(duration_bin, values))
    contrast = median_difference(histogram, histogram)
    assert contrast is None or (contrast.difference == 0 and contrast.p_value == 1)
    sums = len(values), sum(values), sum(v * v for v in values)
    means = mean_difference(sums, sums)
    assert means is None or (means.difference == 0 and means.p_value == pytest.approx(1))


def test_fisher_matches_scipy_on_every_side(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        n, m = chance.randint(0, 300), chance.randint(0, 3000)
        a, b = chance.randint(0, n), chance.randint(0, m)
        if chance.random() < 0.5:
            a, b = min(a, chance.randint(0, 6)), min(b, chance.randint(0, 60))
        table = [[a, n - a], [b, m - b]]
        for alternative in Alternative:
            expected = scipy_stats.fisher_exact(table, alternative=alternative.value.replace("_", "-")).pvalue
            assert fisher(a, n, b, m, alternative) == pytest.approx(expected, rel=1e-7, abs=1e-290)


@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 25), st.integers(0, 25))
def test_fisher_is_the_ratio_of_the_tables_that_count(a: int, b: int, c: int, d: int) -> None:
    n, m, good = a + b, c + d, a + c
    tables = {k: math.comb(n, k) * math.comb(m, good - k) for k in range(max(0, good - m), min(n, good) + 1)}
    all_ = sum(tables.values())
    two_sided = sum(ways for ways in tables.values() if ways <= tables[a])
    assert fisher(a, n, c, m) == pytest.approx(two_sided / all_, rel=1e-10)
    greater = sum(ways for k, ways in tables.items() if k >= a)
    assert fisher(a, n, c, m, Alternative.GREATER) == pytest.approx(greater / all_, rel=1e-10)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 100))
def test_a_binomial_tail_is_the_sum_of_its_terms(k: int, more: int, percent: int) -> None:
    n, p = k + more, percent / 100
    exact = math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
    assert binomial_at_least(k, n, p) == pytest.approx(exact, rel=1e-9, abs=1e-300)


def test_distribution_functions_match_scipy(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        a, b, x = 10 ** chance.uniform(-1, 5), 10 ** chance.uniform(-1, 5), chance.random()
        assert incomplete_beta(a, b, x) == pytest.approx(scipy_special.betainc(a, b, x), rel=1e-8, abs=1e-280)
        t, degrees = 10 ** chance.uniform(-3, 1.5), 10 ** chance.uniform(0, 6)
        assert student_two_sided(t, degrees) == pytest.approx(
            2 * scipy_stats.t.sf(t, degrees), rel=1e-7, abs=1e-290
        )
        whole, statistic = chance.randint(1, 40), 10 ** chance.uniform(-2, 2.5)
        expected = scipy_stats.chi2.sf(statistic, whole)
        assert chi_square_at_least(statistic, whole) == pytest.approx(expected, rel=1e-9)
        assert normal_two_sided(-t) == pytest.approx(2 * scipy_stats.norm.sf(t), rel=1e-12, abs=1e-300)


def test_whole_distributions_are_compared_as_scipy_does(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        first = [chance.randint(20, 90) for _ in range(chance.randint(2, 11))]
        second = [chance.randint(20, 900) for _ in first]
        table = [first, second]
        if scipy_stats.contingency.expected_freq(table).min() < 5:
            continue
        p = scipy_stats.chi2_contingency(table, correction=False).pvalue
        assert homogeneity(first, second) == pytest.approx(p, rel=1e-9, abs=1e-300)


def test_rare_scores_are_pooled_with_their_neighbours() -> None:
    pooled = scipy_stats.chi2_contingency([[6, 4, 10], [60, 40, 100]], correction=False).pvalue
    assert homogeneity([2, 4, 3, 1, 10], [20, 40, 30, 10, 100]) == pytest.approx(pooled)
    assert homogeneity([1, 2, 3], [5, 5, 5]) is None
    assert homogeneity([0, 0], [0, 0]) is None


def test_q_values_match_statsmodels(chance: random.Random) -> None:
    for _ in range(ROUNDS):
        p = [chance.random() ** chance.randint(1, 6) for _ in range(chance.randint(1, 40))]
        assert q_values(p) == pytest.approx(multitest.multipletests(p, method="fdr_bh")[1])
    assert q_values([]) == []


def test_q_values_match_the_example_of_benjamini_and_hochberg() -> None:
    """Fifteen tests of the paper's section 4.2, of which four are kept at 5 %."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert sum(q < 0.05 for q in q_values(p)) == 4


def test_a_median_of_the_values_is_what_differs(chance: random.Random) -> None:
    first, second = ([chance.randint(1, 10**6) for _ in range(101)] for _ in "ab")
    contrast = _held(median_difference(*(Counter(map(duration_bin, v)) for v in (first, second))))
    assert contrast.difference == pytest.approx(median(first) - median(second), abs=0.02 * 10**6)


def test_the_difference_of_two_extreme_scores_lies_within_its_interval() -> None:
    for best, worst in (((60, 0, 0), (0, 0, 60)), ((100_000, 0, 0), (0, 0, 5)), ((7, 0, 0), (0, 0, 7))):
        for first, second in ((best, worst), (worst, best)):
            contrast = _held(nps_difference(first, second))
            assert contrast.interval is not None
            assert contrast.interval.low <= contrast.difference <= contrast.interval.high
