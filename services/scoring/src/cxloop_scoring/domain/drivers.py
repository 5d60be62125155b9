"""Drivers: which values of a dimension moved a metric between two windows, exactly and with intervals.

A mean is the sum over values g of weight times mean, w_g * m_g. Its change has two parts for each value, by the
symmetric (midpoint) decomposition:

- rate effect, (w1 + w0) / 2 * (m1 - m0): the value itself got better or worse;
- mix effect, ((m1 + m0) / 2 - (M1 + M0) / 2) * (w1 - w0): it became a greater or smaller part of the whole, M
  being the mean of the whole.

The effects of all values add up to M1 - M0, to the last digit, for they are computed as fractions. A value that
one window lacks has no rate effect: it came or went as it was.

Source: Kitagawa (1955), Journal of the American Statistical Association 50; the midpoint as there, the deviation
from the whole's mean (which changes no sum, for weights add up to 1) so that growing with an average value is no
effect.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, NamedTuple

from cxloop_scoring.domain import statistics
from cxloop_scoring.domain.answers import Sums
from cxloop_scoring.domain.comparing import PLAIN, UNSUMMED, plain_value
from cxloop_scoring.domain.dimensions import OTHER
from cxloop_scoring.domain.histogram import add_histogram, bin_middle
from cxloop_scoring.domain.metrics import Family, Metric
from cxloop_scoring.domain.statistics import ALPHA, SUPPRESSED_BELOW, Z
from cxloop_scoring.domain.statistics.distributions import normal_two_sided


class OverlapError(ValueError):
    """The groups hold more than the whole: values of one document overlap, as tags do, and cannot add up."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Part of a change, in the metric's unit, with its 95 % interval where something is sampled."""

    value: float
    ci_low: float | None = None
    ci_high: float | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """What one value of the dimension did to the metric."""

    key: str | None
    """None for observations without a value of the dimension."""
    n: int
    n_then: int
    value: float | None
    """None where the window has no observation with it."""
    value_then: float | None
    mix: Effect | None
    """None, as the rate effect, for counts: they have one effect, the plain difference."""
    rate: Effect | None
    total: Effect
    p_value: float | None = None
    q_value: float | None = None
    """p of the total effect, corrected for the number of values."""
    significant: bool = False


@dataclass(frozen=True, slots=True)
class Drivers:
    """A change and what it is made of."""

    of: Literal["value", "mean"]
    """`mean` for durations: medians of parts do not add up to the median of the whole, means do."""
    value: float
    value_then: float
    change: Effect
    values: tuple[Driver, ...]
    """The largest total effects first, ties by key."""
    unattributed: Driver | None
    """Observations without a value of the dimension; None where there are none."""


class Part(NamedTuple):
    """What one value of the dimension adds to the whole, in the metric's unit."""

    n: int
    total: Fraction
    variance: float = 0.0
    """Of single observations."""

    @property
    def mean(self) -> Fraction:
        """Give the mean; raises ZeroDivisionError where there is nothing."""
        return self.total / self.n


def _variance(n: int, total: float, squares: float) -> float:
    """Estimate the variance of single observations, without bias; 0 below two, where nothing is known."""
    return max(0.0, (squares - total * total / n) / (n - 1)) if n > 1 else 0.0


def part(metric: Metric, sums: Sums) -> Part:
    """Read sums as a part of a mean. Variances of durations come from the middles of their bins."""
    n = sums.n
    match metric.family:
        case Family.NET_PROMOTER:
            scale, total, squares = Fraction(100), sums.high - sums.low, sums.high + sums.low
        case Family.TOP_BOX:
            scale, total, squares = Fraction(100), sums.high, sums.high
        case Family.RATE:
            scale, total, squares = Fraction(100), sums.sum, sums.sum
        case Family.DURATION:
            held = [(bin_middle(number), count) for number, count in sums.histogram.items()]
            spread = _variance(
                n, sum(middle * count for middle, count in held), sum(m * m * count for m, count in held)
            )
            return Part(n, Fraction(sums.sum, 1000), spread / 1000**2)
        case Family.MEAN:
            scale, total, squares = Fraction(1, 100), sums.sum, sums.squares
        case _:
            scale, total, squares = Fraction(1), sums.sum, sums.squares
    return Part(n, scale * total, float(scale) ** 2 * _variance(n, total, squares))


class Window(NamedTuple):
    """A window's whole and one part of it."""

    whole: Part
    part: Part

    @property
    def weight(self) -> Fraction:
        """Give the part's share of the whole."""
        return Fraction(self.part.n, self.whole.n)


def effects(now: Window, then: Window) -> tuple[Fraction, Fraction]:
    """Give the mix and the rate effect of one value, exactly; 0 for a value that neither window has."""
    if not now.part.n and not then.part.n:
        return Fraction(0), Fraction(0)
    mean = now.part.mean if now.part.n else then.part.mean
    mean_then = then.part.mean if then.part.n else mean
    average = (now.whole.mean + then.whole.mean) / 2
    mix = ((mean + mean_then) / 2 - average) * (now.weight - then.weight)
    return mix, (now.weight + then.weight) / 2 * (mean - mean_then)


class _Slopes(NamedTuple):
    """Derivatives of an effect by the weight, the mean of the value and the mean of the whole in one window."""

    weight: float
    mean: float
    whole: float

    def plus(self, other: "_Slopes") -> "_Slopes":
        return _Slopes(*(a + b for a, b in zip(self, other, strict=True)))


def _sampled(window: Window, slopes: _Slopes) -> float:
    """Give the variance that one window's sampling adds to an effect, by the delta method.

    With N independent observations (value, y) the estimates w, m and M vary with the influence functions
    A = [g] - w, B = [g] * (y - m) / w and C = y - M. So N * variance is, for slopes a, b and c,
    a^2 * w(1 - w) + b^2 * s^2 / w + c^2 * S^2 + 2ac * w(m - M) + 2bc * s^2, with s^2 and S^2 the variances
    of single observations in the value and in the whole, and no term ab, for A and B are uncorrelated.
    Source: the delta method, as in van der Vaart (1998), Asymptotic Statistics, chapter 3.
    """
    whole, own = window
    w, (a, b, c) = float(window.weight), slopes
    variance = c * c * whole.variance
    if own.n:
        variance += a * a * w * (1 - w) + own.variance * (b * b / w + 2 * b * c)
        variance += 2 * a * c * w * float(own.mean - whole.mean)
    return max(0.0, variance) / whole.n


def _errors(now: Window, then: Window) -> tuple[float, float, float]:
    """Give the standard errors of mix, rate and total effect."""
    w, w_then = float(now.weight), float(then.weight)
    mean = now.part.mean if now.part.n else then.part.mean
    mean_then = then.part.mean if then.part.n else mean
    off = float((mean + mean_then) / 2 - (now.whole.mean + then.whole.mean) / 2)
    step, grown = float(mean - mean_then), w - w_then
    both = bool(now.part.n and then.part.n)
    # A mean that stands in for the missing one counts twice.
    own = grown / 2 if both else grown
    middle = (w + w_then) / 2 if both else 0.0
    slopes = (
        (_Slopes(off, own, -grown / 2), _Slopes(step / 2, middle, 0.0)),
        (_Slopes(-off, own, -grown / 2), _Slopes(step / 2, -middle, 0.0)),
    )
    errors: list[float] = []
    for chosen in ((0,), (1,), (0, 1)):
        variance = 0.0
        for window, by_effect in zip((now, then), slopes, strict=True):
            together = by_effect[chosen[0]]
            for other in chosen[1:]:
                together = together.plus(by_effect[other])
            variance += _sampled(window, together)
        errors.append(math.sqrt(variance))
    return errors[0], errors[1], errors[2]


def _effect(value: Fraction, error: float) -> Effect:
    return Effect(float(value), float(value) - Z * error, float(value) + Z * error)


def _driver(key: str | None, now: Window, then: Window) -> Driver:
    mix, rate = effects(now, then)
    mix_error, rate_error, error = _errors(now, then)
    return Driver(
        key,
        now.part.n,
        then.part.n,
        float(now.part.mean) if now.part.n else None,
        float(then.part.mean) if then.part.n else None,
        _effect(mix, mix_error),
        _effect(rate, rate_error),
        _effect(mix + rate, error),
        normal_two_sided(float(mix + rate) / error) if error else None,
    )


def _judged(found: list[Driver]) -> tuple[Driver, ...]:
    """Add q-values over all values, and order them."""
    tested = [driver for driver in found if driver.p_value is not None]
    q_values = statistics.q_values([driver.p_value or 0.0 for driver in tested])
    judged = [driver for driver in found if driver.p_value is None]
    for driver, q in zip(tested, q_values, strict=True):
        low, high = driver.total.ci_low or 0.0, driver.total.ci_high or 0.0
        judged.append(replace(driver, q_value=q, significant=q < ALPHA and (low > 0 or high < 0)))
    return tuple(sorted(judged, key=lambda driver: (-abs(driver.total.value), driver.key or "")))


def _few_together(
    now: Mapping[str, Sums], then: Mapping[str, Sums], *, unsuppress: bool
) -> dict[str, tuple[Sums, Sums]]:
    """Pair the values of both windows; those with fewer than 5 observations in each go together as `__other__`."""
    pairs: dict[str, tuple[Sums, Sums]] = {}
    few: list[tuple[Sums, Sums]] = []
    for key in sorted(now.keys() | then.keys()):
        pair = now.get(key, Sums()), then.get(key, Sums())
        if not any(sums.n or sums.sum for sums in pair):
            continue
        if key == OTHER or (not unsuppress and max(pair[0].n, pair[1].n) < SUPPRESSED_BELOW):
            few.append(pair)
        else:
            pairs[key] = pair
    if few:
        ours, theirs = Sums(), Sums()
        for mine, other in few:
            ours.add(mine)
            theirs.add(other)
        pairs[OTHER] = ours, theirs
    return pairs


def _plain(metric: Metric, totals: tuple[Sums, Sums], pairs: Mapping[str, tuple[Sums, Sums]]) -> Drivers:
    """Decompose what is counted: every value's effect is its plain difference."""
    value, value_then = (plain_value(metric, sums) for sums in totals)
    found: list[Driver] = []
    rest, rest_then = value, value_then
    n, n_then = totals[0].n, totals[1].n
    for key, (now, then) in pairs.items():
        own, own_then = plain_value(metric, now), plain_value(metric, then)
        rest, rest_then = rest - own, rest_then - own_then
        n, n_then = n - now.n, n_then - then.n
        found.append(Driver(key, now.n, then.n, own, own_then, None, None, Effect(own - own_then)))
    if n < 0 or n_then < 0:
        raise OverlapError("the values of this dimension overlap; ask for groups instead")
    rest_driver = Driver(None, n, n_then, rest, rest_then, None, None, Effect(rest - rest_then))
    return Drivers(
        "value",
        value,
        value_then,
        Effect(value - value_then),
        _judged(found),
        rest_driver if n or n_then or rest or rest_then else None,
    )


def drivers(
    metric: Metric,
    totals: tuple[Sums, Sums],
    now: Mapping[str, Sums],
    then: Mapping[str, Sums],
    *,
    unsuppress: bool = False,
) -> Drivers | None:
    """Decompose the change of a metric from then to now over the values of one dimension.

    `totals` are the sums of the whole, now and then; `now` and `then` those of all values, none left out.
    Values with fewer than 5 observations in both windows go together as `__other__` unless ``unsuppress``.
    None where a window is empty (counts apart), for lifts and amounts. Not for tags: a document has any number of them,
    and overlapping values cannot add up. Raises OverlapError where they hold more than the whole.
    """
    pairs = _few_together(now, then, unsuppress=unsuppress)
    if metric.family in PLAIN:
        return _plain(metric, totals, pairs)
    if not totals[0].n or not totals[1].n or metric.family in UNSUMMED:
        return None
    whole, whole_then = (part(metric, sums) for sums in totals)
    found: list[Driver] = []
    rest, rest_then = Sums(), Sums()
    rest.add(totals[0])
    rest_then.add(totals[1])
    for key, (ours, theirs) in pairs.items():
        _subtract(rest, ours)
        _subtract(rest_then, theirs)
        found.append(
            _driver(key, Window(whole, part(metric, ours)), Window(whole_then, part(metric, theirs)))
        )
    if rest.n < 0 or rest_then.n < 0:
        raise OverlapError("the values of this dimension overlap; ask for groups instead")
    unattributed = None
    if rest.n or rest_then.n:
        unattributed = _driver(
            None, Window(whole, part(metric, rest)), Window(whole_then, part(metric, rest_then))
        )
    error = math.sqrt(whole.variance / whole.n + whole_then.variance / whole_then.n)
    return Drivers(
        "mean" if metric.is_duration else "value",
        float(whole.mean),
        float(whole_then.mean),
        _effect(whole.mean - whole_then.mean, error),
        _judged(found),
        unattributed,
    )


def _subtract(sums: Sums, other: Sums) -> None:
    """Take a part out of the whole."""
    sums.n -= other.n
    sums.sum -= other.sum
    sums.squares -= other.squares
    sums.low -= other.low
    sums.middle -= other.middle
    sums.high -= other.high
    add_histogram(sums.histogram, other.histogram, -1)
