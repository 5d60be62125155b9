"""What two windows or groups differ by: estimate, 95 % interval and two-sided p-value, with formula and source.

The difference is always the first minus the second, in the unit of the estimates. None stands for a pair that
cannot be compared: nothing was observed, or too little to know how much it varies.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from cxloop_scoring.domain.histogram import at_rank, quantile
from cxloop_scoring.domain.statistics.distributions import (
    incomplete_beta,
    normal_quantile,
    normal_two_sided,
    student_two_sided,
)
from cxloop_scoring.domain.statistics.estimates import Interval, Z, t_quantile, wilson
from cxloop_scoring.domain.statistics.exact import fisher

ALPHA: Final = 0.05
"""What is less probable by chance than this is called significant; the intervals hold 1 - ALPHA."""

_MEDIAN_FROM: Final = 6
"""With fewer values no two of them enclose the median with 95 %."""


class Contrast(NamedTuple):
    """A difference of two estimates."""

    difference: float
    interval: Interval
    p_value: float
    """How probable a difference at least as large is if there is none: two-sided."""


def _score_test(good: int, n: int, other_good: int, other_n: int) -> float:
    """Give the p-value of the "N - 1" chi-square test, or of Fisher's where less than one is expected somewhere.

    The statistic is Pearson's times (N - 1) / N, with one degree of freedom. Fisher's test alone would be the
    simpler rule, but it is conservative: its error rate is well below 5 % even for hundreds of observations,
    so that it would often contradict the interval beside it.
    Source: Campbell (2007), Statistics in Medicine 26(19); Richardson (2011), Statistics in Medicine 30(8).
    """
    all_, all_good = n + other_n, good + other_good
    if min(n, other_n) * min(all_good, all_ - all_good) < all_:
        return fisher(good, n, other_good, other_n)
    cross = good * (other_n - other_good) - other_good * (n - good)
    statistic = cross * cross * (all_ - 1) / (n * other_n * all_good * (all_ - all_good))
    return normal_two_sided(math.sqrt(statistic))


def share_difference(good: int, n: int, other_good: int, other_n: int) -> Contrast | None:
    """Compare two shares, of the observations themselves or of the base they are counted against; in percent.

    With the Wilson intervals l1..u1 and l2..u2 of p1 and p2 the interval of d = p1 - p2 is
    d - sqrt((p1 - l1)^2 + (u2 - p2)^2) .. d + sqrt((u1 - p1)^2 + (p2 - l2)^2): it stays within -100..100 and
    has a width at 0 and 100 %. None where a group is empty. Raises ValueError unless 0 <= good <= n, in both.
    Source: hybrid score, method 10 of Newcombe (1998), Statistics in Medicine 17(8):873-890.
    """
    first, second = wilson(good, n), wilson(other_good, other_n)
    if first is None or second is None:
        return None
    p, other_p = 100 * good / n, 100 * other_good / other_n
    interval = Interval(
        max(-100.0, p - other_p - math.hypot(p - first.low, second.high - other_p)),
        min(100.0, p - other_p + math.hypot(first.high - p, other_p - second.low)),
    )
    return Contrast(p - other_p, interval, _score_test(good, n, other_good, other_n))


def _adjusted_nps(promoters: int, passives: int, detractors: int) -> tuple[float, float]:
    """Give the adjusted score and its variance, as shares."""
    size = promoters + passives + detractors + 3
    p, d = (promoters + 0.75) / size, (detractors + 0.75) / size
    return p - d, (p + d - (p - d) ** 2) / size


def nps_difference(counts: tuple[int, int, int], others: tuple[int, int, int]) -> Contrast | None:
    """Compare two Net Promoter Scores in points, each as promoters, passives and detractors.

    Adjusted Wald on both: with the estimates and variances of `nps_interval`, the interval is
    100 * ((a1 - a2) +- z * sqrt(v1 + v2)), within -200..200, and p is that of (a1 - a2) / sqrt(v1 + v2). The
    difference is that of the scores themselves; where both are extreme the interval is stretched to hold it.
    None where a group is empty; raises ValueError for a negative count.
    Source: Rocks (2016), The American Statistician 70(4); variances of independent samples add up.
    """
    if min(*counts, *others) < 0:
        raise ValueError("counts are not negative")
    n, m = sum(counts), sum(others)
    if n == 0 or m == 0:
        return None
    (first, variance), (second, other_variance) = _adjusted_nps(*counts), _adjusted_nps(*others)
    error = math.sqrt(variance + other_variance)
    difference = 100 * ((counts[0] - counts[2]) / n - (others[0] - others[2]) / m)
    low, high = 100 * (first - second - Z * error), 100 * (first - second + Z * error)
    interval = Interval(max(-200.0, min(low, difference)), min(200.0, max(high, difference)))
    return Contrast(difference, interval, normal_two_sided((first - second) / error))


def _real_t_quantile(degrees: float) -> float:
    """Give the 97.5 % point of Student's t for real degrees of freedom, at least one.

    Between the points of the whole numbers around it, by bisection on the tail.
    """
    whole = math.floor(degrees)
    high = t_quantile(whole) + 1e-6  # the table has six digits
    low = t_quantile(whole + 1) - 1e-6
    while high - low > 1e-9:  # noqa: PLR2004 - far below what anybody reads
        middle = (low + high) / 2
        if student_two_sided(middle, degrees) > ALPHA:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def mean_difference(sums: tuple[int, int, int], others: tuple[int, int, int]) -> Contrast | None:
    """Compare two means by Welch's t, in the unit of the values, each from n, sum and sum of squares.

    With v_i = s_i^2 / n_i: t = (m1 - m2) / sqrt(v1 + v2) on (v1 + v2)^2 / (v1^2 / (n1 - 1) + v2^2 / (n2 - 1))
    degrees of freedom. None below two values on either side, and where neither side varies at all.
    Source: Welch (1947), Biometrika 34; degrees of freedom: Satterthwaite (1946), Biometrics Bulletin 2(6).
    """
    (n, total, squares), (other_n, other_total, other_squares) = sums, others
    if min(n, other_n) < 2:  # noqa: PLR2004 - a spread needs two values
        return None
    first = (n * squares - total * total) / (n * n * (n - 1))
    second = (other_n * other_squares - other_total * other_total) / (other_n * other_n * (other_n - 1))
    if first + second <= 0:
        return None
    difference, error = total / n - other_total / other_n, math.sqrt(first + second)
    degrees = (first + second) ** 2 / (first**2 / (n - 1) + second**2 / (other_n - 1))
    half = _real_t_quantile(max(1.0, degrees)) * error
    return Contrast(
        difference,
        Interval(difference - half, difference + half),
        student_two_sided(difference / error, degrees),
    )


def _median_variance(histogram: Mapping[int, int], n: int) -> float:
    """Estimate the variance of a median from the order statistics around it.

    ((Y(n-c+1) - Y(c)) / 2z)^2 with c = (n + 1)/2 - sqrt(n), rounded and at least 1, and z the normal quantile
    of 1 - P(X < c) for X ~ Binomial(n, 1/2): no assumption on the shape of the distribution.
    """
    rank = max(1, round((n + 1) / 2 - math.sqrt(n)))
    beyond = 1 - incomplete_beta(rank, n - rank + 1, 0.5)
    z = -normal_quantile(beyond)
    return ((at_rank(histogram, n - rank + 1) - at_rank(histogram, rank)) / (2 * z)) ** 2


def median_difference(histogram: Mapping[int, int], other: Mapping[int, int]) -> Contrast | None:
    """Compare the medians of two histograms, in milliseconds: d +- z * sqrt(v1 + v2), p of d / sqrt(v1 + v2).

    None below six values on either side, and where the values around both medians are all in one bin.
    Source: Price, Bonett (2002), Journal of Statistical Computation and Simulation 72(2), and Bonett, Price
    (2002), Psychological Methods 7(3):370-383.
    """
    n, m = sum(histogram.values()), sum(other.values())
    if min(n, m) < _MEDIAN_FROM:
        return None
    first, second = quantile(histogram, 0.5), quantile(other, 0.5)
    error = math.sqrt(_median_variance(histogram, n) + _median_variance(other, m))
    if first is None or second is None or error == 0:
        return None
    difference = first - second
    return Contrast(
        difference,
        Interval(difference - Z * error, difference + Z * error),
        normal_two_sided(difference / error),
    )
