"""A second opinion on statistics: worked out anew from the definitions, with nothing taken from the services.

Student's t comes from integrating its density, Wilson's interval from the roots of its quadratic, and times are
compared one by one instead of in bins.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

HISTOGRAM_ERROR: Final = 1 / 128
"""Durations are kept in bins whose middle lies within 1/128 of every value in them."""
ROUNDING: Final = 1e-5
_SUPPRESSED: Final = 5
_LOW_CONFIDENCE: Final = 30
_Z: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric over the window, with how far an answer may be off (a share of the figure)."""

    value: float | None
    n: int
    ci_low: float | None
    ci_high: float | None
    status: str
    extra: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    """What else the metric tells, such as `p90` of times in seconds or `top_box` of means in percent."""
    tolerance: float = ROUNDING


def judged(
    value: float | None,
    n: int,
    interval: tuple[float, float] | None,
    extra: Mapping[str, float | None] | None = None,
    tolerance: float = ROUNDING,
) -> Figure:
    """Judge a value by its n: fewer than 5 are withheld, fewer than 30 are few."""
    told = extra or {}
    if n < _SUPPRESSED:
        return Figure(None, n, None, None, "suppressed", dict.fromkeys(told), tolerance)
    status = "low_confidence" if n < _LOW_CONFIDENCE else "ok"
    low, high = interval if interval is not None else (None, None)
    return Figure(value, n, low, high, status, told, tolerance)


def net_promoter(scores: Sequence[int]) -> Figure:
    """Promoters (9-10) minus detractors (0-6) in points, with the adjusted Wald interval."""
    n = len(scores)
    promoters = sum(score >= 9 for score in scores)  # noqa: PLR2004  # of 10
    detractors = sum(score <= 6 for score in scores)  # noqa: PLR2004  # of 10
    if n == 0:
        return judged(None, 0, None)
    p, d = (promoters + 0.75) / (n + 3), (detractors + 0.75) / (n + 3)
    half = _Z * math.sqrt((p + d - (p - d) * (p - d)) / (n + 3))
    interval = (max(-100.0, (p - d - half) * 100), min(100.0, (p - d + half) * 100))
    return judged((promoters - detractors) / n * 100, n, interval)


def share(outcomes: Sequence[bool], extra: Mapping[str, float | None] | None = None) -> Figure:
    """Share of yes in percent, with the Wilson interval as the roots of its quadratic."""
    n, yes = len(outcomes), sum(outcomes)
    if n == 0:
        return judged(None, 0, None, extra)
    # (p - x)^2 = z^2 x (1 - x) / n, solved for x.
    a, b, c = 1 + _Z * _Z / n, -(2 * yes / n + _Z * _Z / n), (yes / n) ** 2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return judged(100 * yes / n, n, (100 * (-b - root) / (2 * a), 100 * (-b + root) / (2 * a)), extra)


def mean(values: Sequence[float], extra: Mapping[str, float | None] | None = None) -> Figure:
    """Mean with Student's interval."""
    n = len(values)
    if n < 2:  # noqa: PLR2004  # a spread needs two
        return judged(float(values[0]) if values else None, n, None, extra)
    middle = math.fsum(values) / n
    spread = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (n - 1))
    half = student_t(n - 1) * spread / math.sqrt(n)
    return judged(middle, n, (middle - half, middle + half), extra)


def percent(outcomes: Sequence[bool]) -> float | None:
    """Share of yes in percent; None of nothing."""
    return 100 * sum(outcomes) / len(outcomes) if outcomes else None


def durations(seconds: Iterable[float]) -> Figure:
    """Median and 90th percentile in seconds, with the interval of the median by order statistics."""
    ordered = sorted(seconds)
    n = len(ordered)
    if n == 0:
        return judged(None, 0, None, {"p90": None}, HISTOGRAM_ERROR)
    rank = median_rank(n)
    interval = (ordered[rank - 1], ordered[n - rank]) if rank else None
    return judged(quantile(ordered, 0.5), n, interval, {"p90": quantile(ordered, 0.9)}, HISTOGRAM_ERROR)


def quantile(ordered: Sequence[float], q: float) -> float:
    """Give the quantile of sorted values, linear between neighbours."""
    position = q * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return low + (high - low) * (position - math.floor(position))


def median_rank(n: int) -> int:
    """Give the greatest rank whose order statistic lies below the median with at least 97.5 %; 0 where none does."""
    below, rank = 0.0, 0
    while (below := below + math.comb(n, rank) / 2**n) <= 0.025:  # noqa: PLR2004  # half of 5 %
        rank += 1
    return rank


def student_t(degrees: int) -> float:
    """Give the 97.5 % point of Student's t: Simpson's rule over its density, and bisection."""
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)

    def density(x: float) -> float:
        return scale * (1 + x * x / degrees) ** (-(degrees + 1) / 2)

    def half_below(x: float, steps: int = 4000) -> float:
        width = x / steps
        inner = math.fsum((4 if i % 2 else 2) * density(i * width) for i in range(1, steps))
        return (density(0) + inner + density(x)) * width / 3

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if half_below(middle) < 0.475 else (low, middle)  # noqa: PLR2004  # half of 95 %
    return (low + high) / 2
