"""Point estimates and 95 % intervals, each with its formula and source."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from cxloop_scoring.domain.histogram import at_rank

Z: Final = 1.959963984540054
"""97.5 % point of the standard normal distribution; published tables round it to 1.96."""

SUPPRESSED_BELOW: Final = 5
LOW_CONFIDENCE_BELOW: Final = 30
_EXACT_RANKS_UP_TO: Final = 500

_T: Final = (
    *(12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139),
    *(2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963),
    *(2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272),
)
"""97.5 % points of Student's t for 1 to 30 degrees of freedom."""


class Interval(NamedTuple):
    """A 95 % interval, in the unit of its estimate."""

    low: float
    high: float


class Status(StrEnum):
    """How far a value can be trusted."""

    OK = "ok"
    LOW_CONFIDENCE = "low_confidence"
    """Fewer than 30 observations."""
    SUPPRESSED = "suppressed"
    """Fewer than 5 observations: the value would speak of single persons, and of chance."""


def status(n: int) -> Status:
    """Judge a number of observations."""
    if n < SUPPRESSED_BELOW:
        return Status.SUPPRESSED
    return Status.LOW_CONFIDENCE if n < LOW_CONFIDENCE_BELOW else Status.OK


def _refuse_negative(*counts: int) -> None:
    if min(counts) < 0:
        raise ValueError("counts are not negative")


def nps(promoters: int, passives: int, detractors: int) -> float | None:
    """Net Promoter Score in points, 100 * (promoters - detractors) / n; None if n = 0.

    Raises ValueError for a negative count. Source: Reichheld (2003), Harvard Business Review 81(12).
    """
    _refuse_negative(promoters, passives, detractors)
    n = promoters + passives + detractors
    return 100 * (promoters - detractors) / n if n else None


def nps_interval(promoters: int, passives: int, detractors: int) -> Interval | None:
    """95 % interval of the NPS in points, within -100..100; None if n = 0.

    With N = n + 3, p = (promoters + 3/4) / N and d = (detractors + 3/4) / N it is
    100 * ((p - d) +- z * sqrt((p + d - (p - d)^2) / N)). It is centred on the adjusted estimate: 1/0/0 scores
    100, outside of -48.5..98.5. Raises ValueError for a negative count.
    Source: adjusted Wald, Rocks (2016), The American Statistician 70(4).
    """
    _refuse_negative(promoters, passives, detractors)
    n = promoters + passives + detractors
    if n == 0:
        return None
    size = n + 3
    p, d = (promoters + 0.75) / size, (detractors + 0.75) / size
    half = Z * math.sqrt((p + d - (p - d) ** 2) / size)
    return Interval(max(-100.0, 100 * (p - d - half)), min(100.0, 100 * (p - d + half)))


def share(good: int, n: int) -> float | None:
    """Share of ``good`` among ``n`` in percent; None if n = 0. Raises ValueError unless 0 <= good <= n."""
    _refuse_negative(good, n - good)
    return 100 * good / n if n else None


def wilson(good: int, n: int) -> Interval | None:
    """95 % interval of a share in percent; None if n = 0. Raises ValueError unless 0 <= good <= n.

    Centre (p + z^2/2n) / (1 + z^2/n), half width z / (1 + z^2/n) * sqrt(p(1-p)/n + z^2/4n^2).
    Source: Wilson (1927), Journal of the American Statistical Association 22(158).
    """
    _refuse_negative(good, n - good)
    if n == 0:
        return None
    p, zz = good / n, Z * Z
    centre = (p + zz / (2 * n)) / (1 + zz / n)
    half = Z / (1 + zz / n) * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    return Interval(max(0.0, 100 * (centre - half)), min(100.0, 100 * (centre + half)))


def t_quantile(degrees: int) -> float:
    """97.5 % point of Student's t. Raises ValueError below one degree of freedom.

    From a table up to 30; beyond, the expansion 26.7.5 of Abramowitz and Stegun (1964), good to 6 digits.
    """
    if degrees < 1:
        raise ValueError("Student's t has at least one degree of freedom")
    if degrees <= len(_T):
        return _T[degrees - 1]
    z, v = Z, degrees
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


def mean_interval(n: int, total: int, squares: int) -> Interval | None:
    """95 % interval of a mean, in the unit of the values: mean +- t * s / sqrt(n); None below two values.

    ``total`` and ``squares`` are the integer sums of the values and of their squares, so that the
    variance has no cancellation error: (n * squares - total^2) / (n * (n - 1)).
    Source: Student (1908), Biometrika 6(1).
    """
    if n < 2:  # noqa: PLR2004 - a spread needs two values
        return None
    variance = (n * squares - total * total) / (n * (n - 1))
    half = t_quantile(n - 1) * math.sqrt(variance / n)
    return Interval(total / n - half, total / n + half)


def median_ranks(n: int) -> tuple[int, int] | None:
    """Ranks (from 1) of the order statistics that enclose the median with at least 95 %; None below six.

    The lower rank is the greatest l with P(X < l) <= 2.5 % for X ~ Binomial(n, 1/2), the upper one n + 1 - l.
    Exact up to 500 values; beyond, l = floor((n - z * sqrt(n)) / 2), which differs by one rank at most.
    Source: Conover (1999), Practical Nonparametric Statistics, 3rd ed., section 3.2.
    """
    if n > _EXACT_RANKS_UP_TO:
        low = math.floor((n - Z * math.sqrt(n)) / 2)
        return low, n + 1 - low
    limit = 2**n  # P <= 1/40 is 40 * ways <= 2^n, in integers
    below, low = 0, 0
    while 40 * (below := below + math.comb(n, low)) <= limit:
        low += 1
    return (low, n + 1 - low) if low else None


def median_interval(histogram: Mapping[int, int]) -> Interval | None:
    """95 % interval of the median of a histogram, in milliseconds, from order statistics; None below six."""
    ranks = median_ranks(sum(histogram.values()))
    if ranks is None:
        return None
    return Interval(at_rank(histogram, ranks[0]), at_rank(histogram, ranks[1]))
