"""95 % intervals by statsmodels and scipy, in the unit of the value."""

import math
from collections.abc import Sequence
from typing import Any, cast

import scipy.stats
import statsmodels.stats.proportion
import statsmodels.stats.weightstats

# Neither library says its types.
stats = cast("Any", scipy.stats)
shares = cast("Any", statsmodels.stats.proportion)
means = cast("Any", statsmodels.stats.weightstats)

Interval = tuple[float, float]


def share_interval(hits: int, n: int) -> Interval | None:
    """Wilson, in percent."""
    if n == 0:
        return None
    low, high = shares.proportion_confint(hits, n, method="wilson")
    return 100 * float(low), 100 * float(high)


def nps_interval(promoters: int, detractors: int, n: int) -> Interval | None:
    """Adjusted Wald (Rocks 2016), within -100..100."""
    if n == 0:
        return None
    size = n + 3
    p, d = (promoters + 0.75) / size, (detractors + 0.75) / size
    half = float(stats.norm.ppf(0.975)) * math.sqrt((p + d - (p - d) ** 2) / size)
    return max(-100.0, 100 * (p - d - half)), min(100.0, 100 * (p - d + half))


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Student's t; None for fewer than two values."""
    n = len(values)
    if n <= 1:
        return None
    mean = sum(values) / n
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return mean - half, mean + half


def median_interval(ordered: Sequence[float]) -> Interval | None:
    """Order statistics around the median by the binomial; None for fewer than six."""
    n = len(ordered)
    # The most ranks that may be left out on each side: P(Bin(n, 1/2) < rank) <= 2.5 %.
    rank = int(stats.binom.ppf(0.025, n, 0.5))
    while rank > 0 and float(stats.binom.cdf(rank - 1, n, 0.5)) > 0.025:
        rank -= 1
    return None if rank < 1 else (ordered[rank - 1], ordered[n - rank])


def lift_interval(hits: int, n: int, other_hits: int, other_n: int) -> Interval | None:
    """Newcombe's hybrid score interval of a difference of shares, in points."""
    if n == 0 or other_n == 0:
        return None
    low, high = shares.confint_proportions_2indep(
        hits, n, other_hits, other_n, compare="diff", method="newcomb"
    )
    return 100 * float(low), 100 * float(high)


def mean_difference_interval(values: Sequence[float], others: Sequence[float]) -> Interval | None:
    """Welch's interval of a difference of means; None where a side has one value, or nothing varies."""
    if min(len(values), len(others)) <= 1 or (len(set(values)) == 1 and len(set(others)) == 1):
        return None
    low, high = means.CompareMeans(means.DescrStatsW(values), means.DescrStatsW(others)).tconfint_diff(
        usevar="unequal"
    )
    return float(low), float(high)
