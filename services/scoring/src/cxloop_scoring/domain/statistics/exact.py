"""Tests on counts: exact ones for shares, and one for whole distributions."""

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from cxloop_scoring.domain.statistics.distributions import chi_square_at_least, incomplete_beta

_TIE: Final = 1 + 1e-9
"""Tables whose probabilities differ by less than this factor are equally probable: rounding differs, they do not."""
_EXPECTED_AT_LEAST: Final = 5


class Alternative(StrEnum):
    """Which deviation a test looks for, in the first of two groups."""

    TWO_SIDED = "two_sided"
    GREATER = "greater"
    LESS = "less"


def binomial_at_least(k: int, n: int, p: float) -> float:
    """Give P(X >= k) for X ~ Binomial(n, p), exactly: I_p(k, n - k + 1).

    Raises ValueError unless 0 <= k <= n and 0 <= p <= 1. Source: Abramowitz and Stegun (1964), 26.5.24.
    """
    if not (0 <= k <= n and 0 <= p <= 1):
        raise ValueError("a binomial tail needs 0 <= k <= n and a probability")
    return 1.0 if k == 0 else incomplete_beta(k, n - k + 1, p)


def _hypergeometric_weights(good: int, bad: int, drawn: int) -> tuple[int, list[float]]:
    """Give the least possible number of good ones among those drawn, and the weight of each possible number.

    Weights are relative to that of the most probable number, by recursion from there: no large numbers, no
    logarithms, and tails that underflow to 0 instead of losing digits.
    """
    least, most = max(0, drawn - bad), min(good, drawn)
    mode = min(max((drawn + 1) * (good + 1) // (good + bad + 2), least), most)
    weights = [0.0] * (most - least + 1)
    weights[mode - least] = weight = 1.0
    for k in range(mode, most):
        weight *= (good - k) * (drawn - k) / ((k + 1) * (bad - drawn + k + 1))
        weights[k + 1 - least] = weight
    weight = 1.0
    for k in range(mode, least, -1):
        weight *= k * (bad - drawn + k) / ((good - k + 1) * (drawn - k + 1))
        weights[k - 1 - least] = weight
    return least, weights


def fisher(
    good: int, n: int, other_good: int, other_n: int, alternative: Alternative = Alternative.TWO_SIDED
) -> float:
    """Give the p-value of Fisher's exact test of two shares, good of n against other_good of other_n.

    All tables with the same margins count that are at most as probable as this one (two-sided), or that have
    at least (greater) or at most (less) as many good ones in the first group. 1 where a group is empty.
    Raises ValueError unless 0 <= good <= n, in both groups.
    Source: Fisher (1935), Journal of the Royal Statistical Society 98(1); two-sided after Irwin (1935),
    Metron 12.
    """
    if not (0 <= good <= n and 0 <= other_good <= other_n):
        raise ValueError("good ones are not negative, nor more than there are")
    all_good = good + other_good
    least, weights = _hypergeometric_weights(all_good, n + other_n - all_good, n)
    held = weights[good - least]
    counts: dict[Alternative, Callable[[int, float], bool]] = {
        Alternative.TWO_SIDED: lambda _, weight: weight <= held * _TIE,
        Alternative.GREATER: lambda k, _: k >= good,
        Alternative.LESS: lambda k, _: k <= good,
    }
    counts_here = counts[alternative]
    tail = math.fsum(weight for k, weight in enumerate(weights, start=least) if counts_here(k, weight))
    return min(1.0, tail / math.fsum(weights))


class Strata(NamedTuple):
    """Two shares that stand beside each other: good of n, and other_good of other_n."""

    good: int
    n: int
    other_good: int
    other_n: int


def _log_ways(n: int, k: int) -> float:
    """Give the logarithm of the binomial coefficient."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def odds_ratio_greater(first: Strata, second: Strata) -> float:
    """Give the p-value of Zelen's exact test that the odds ratio of the first table is greater.

    Given all margins and the sum of both tables' first cells, the first cell of the first table has weights
    that are the product of two hypergeometric ones; the tail at and above what was observed counts. It asks
    whether a gap is wider here than elsewhere, where the gap itself is everywhere. Raises ValueError for
    impossible counts.
    Source: Zelen (1971), Biometrika 58(1):129-137.
    """
    if not all(0 <= t.good <= t.n and 0 <= t.other_good <= t.other_n for t in (first, second)):
        raise ValueError("good ones are not negative, nor more than there are")
    good, second_good = first.good + first.other_good, second.good + second.other_good
    together = first.good + second.good
    second_least, second_most = max(0, second_good - second.other_n), min(second.n, second_good)
    least = max(0, good - first.other_n, together - second_most)
    most = min(first.n, good, together - second_least)
    logs = [
        _log_ways(first.n, k)
        + _log_ways(first.other_n, good - k)
        + _log_ways(second.n, together - k)
        + _log_ways(second.other_n, second_good - together + k)
        for k in range(least, most + 1)
    ]
    greatest = max(logs)
    weights = [math.exp(log - greatest) for log in logs]
    return min(1.0, math.fsum(weights[first.good - least :]) / math.fsum(weights))


def _pooled(counts: Sequence[int], others: Sequence[int]) -> list[tuple[int, int]]:
    """Pool neighbouring classes until each is expected at least 5 times on either side."""
    n, m = sum(counts), sum(others)
    lesser = min(n, m)
    classes: list[tuple[int, int]] = []
    held, held_others = 0, 0
    for count, other in zip(counts, others, strict=True):
        held, held_others = held + count, held_others + other
        if (held + held_others) * lesser >= _EXPECTED_AT_LEAST * (n + m):
            classes.append((held, held_others))
            held, held_others = 0, 0
    if (held or held_others) and classes:
        last, last_others = classes.pop()
        classes.append((last + held, last_others + held_others))
    return classes


def homogeneity(counts: Sequence[int], others: Sequence[int]) -> float | None:
    """Give the p-value of Pearson's test that two groups share one distribution over ordered classes.

    Chi-square with (classes - 1) degrees of freedom. Neighbouring classes are pooled, in their order and by
    the margins alone, until each is expected at least 5 times in both groups; None where fewer than two are
    left. Raises ValueError for groups with different classes.
    Source: Pearson (1900), Philosophical Magazine 50; the least expectation: Cochran (1954), Biometrics 10(4).
    """
    n, m = sum(counts), sum(others)
    classes = _pooled(counts, others) if n and m else []
    if len(classes) < 2:  # noqa: PLR2004 - one class is the same everywhere
        return None
    # n*m*sum((a/n - b/m)^2 / (a + b)): the statistic without a table of expectations.
    statistic = sum((a * m - b * n) ** 2 / (a + b) for a, b in classes) / (n * m)
    return chi_square_at_least(statistic, len(classes) - 1)
