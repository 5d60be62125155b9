"""Distribution functions, to some twelve digits, of what the tests compare their statistics with."""

import math
from statistics import NormalDist
from typing import Final

_STANDARD: Final = NormalDist()
_TINY: Final = 1e-300
_PRECISION: Final = 1e-15
_MOST_TERMS: Final = 100_000


def normal_two_sided(z: float) -> float:
    """Give P(|Z| >= |z|) of a standard normal Z: erfc(|z| / sqrt(2))."""
    return math.erfc(abs(z) / math.sqrt(2))


def normal_quantile(p: float) -> float:
    """Give the p-quantile of the standard normal distribution. Raises StatisticsError unless 0 < p < 1."""
    return _STANDARD.inv_cdf(p)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function by Lentz's method, from the front."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1 + term * d
            d = 1 / (d if abs(d) > _TINY else _TINY)
            c = 1 + term / c
            c = c if abs(c) > _TINY else _TINY
            step = c * d
            value *= step
        if abs(step - 1) < _PRECISION:
            break
    return value


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Give the regularised incomplete beta function I_x(a, b) for a, b > 0 and 0 <= x <= 1.

    Source: continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, on the side of
    the mean where it converges fast; the other side by I_x(a, b) = 1 - I_(1-x)(b, a).
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


def student_two_sided(t: float, degrees: float) -> float:
    """Give P(|T| >= |t|) of Student's t, for real degrees of freedom: I_x(v/2, 1/2) with x = v / (v + t^2).

    Source: Abramowitz and Stegun (1964), 26.7.1 and 26.5.27.
    """
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def chi_square_at_least(x: float, degrees: int) -> float:
    """Give P(X >= x) of a chi-square X with whole degrees of freedom.

    Finite sums: for even degrees a Poisson tail, for odd ones the normal tail and a rest.
    Source: Abramowitz and Stegun (1964), 26.4.4 and 26.4.5.
    """
    if degrees < 1:
        raise ValueError("chi-square has at least one degree of freedom")
    if x <= 0:
        return 1.0
    half = x / 2
    if degrees % 2:
        tail, term, least = math.erfc(math.sqrt(half)), math.exp(-half) * 2 * math.sqrt(half / math.pi), 3
    else:
        tail, term, least = 0.0, math.exp(-half), 2
    for reached in range(least, degrees + 1, 2):
        tail += term
        term *= x / reached
    return min(1.0, tail)
