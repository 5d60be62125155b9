"""Comparing: whether a metric differs between two windows or groups, and by how much."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from cxloop_scoring.domain import statistics
from cxloop_scoring.domain.answers import Sums, answer
from cxloop_scoring.domain.metrics import Family, Metric
from cxloop_scoring.domain.statistics import ALPHA, Contrast, Status

Key = TypeVar("Key")

PLAIN: Final = frozenset((Family.COUNT, Family.BALANCE))
"""Families in which everything is counted and nothing sampled: their differences are what they are."""

UNSUMMED: Final = frozenset((Family.LIFT, Family.AMOUNT))
"""Families whose values are not made of sums."""
_STORED: Final = {Family.MEAN: 100, Family.DURATION: 1000}
"""How many stored units make one of the metric's: hundredths of a point, milliseconds."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much a value now exceeds the one it is compared with, in the metric's unit (shares: percentage points)."""

    difference: float | None
    """None where it is withheld, for too few observations on one side."""
    ci_low: float | None
    """Lower end of the 95 % interval; None too where nothing is sampled or nothing varies."""
    ci_high: float | None
    p_value: float | None
    significant: bool
    """The interval excludes 0 and p, or q where there is one, is below 0.05."""
    n: int
    n_then: int
    """Observations of the window or group that is compared with."""
    status: Status
    """By the lesser of both n."""
    q_value: float | None = None
    """p corrected for the number of comparisons made together."""

    @property
    def excludes_zero(self) -> bool:
        """Tell whether the interval lies on one side of 0."""
        if self.ci_low is None or self.ci_high is None:
            return False
        return self.ci_low > 0 or self.ci_high < 0


def _bands(sums: Sums) -> tuple[int, int, int]:
    return sums.high, sums.middle, sums.low


def _moments(sums: Sums) -> tuple[int, int, int]:
    return sums.n, sums.sum, sums.squares


def _contrast(metric: Metric, now: Sums, then: Sums) -> tuple[Contrast | None, int]:
    """Give the contrast in stored units, and how many of those make one of the metric's."""
    contrast: Contrast | None = None
    match metric.family:
        case Family.NET_PROMOTER:
            contrast = statistics.nps_difference(_bands(now), _bands(then))
        case Family.TOP_BOX:
            contrast = statistics.share_difference(now.high, now.n, then.high, then.n)
        case Family.RATE:
            contrast = statistics.share_difference(now.sum, now.n, then.sum, then.n)
        case Family.MEAN | Family.AVERAGE:
            contrast = statistics.mean_difference(_moments(now), _moments(then))
        case Family.DURATION:
            contrast = statistics.median_difference(now.histogram, then.histogram)
        case Family.COUNT | Family.BALANCE | Family.AMOUNT | Family.LIFT:
            pass
    return contrast, _STORED.get(metric.family, 1)


def plain_value(metric: Metric, sums: Sums) -> float:
    """Give a value of which nothing is sampled, 0 where there is nothing.

    A level counts even before anything was created: a ticket that is reported as solved first lowers it.
    """
    if metric.family is Family.BALANCE:
        return float(sums.sum)
    return answer(metric, sums, unsuppress=True).value or 0.0


def compare(metric: Metric, now: Sums, then: Sums, *, unsuppress: bool = False) -> Difference | None:
    """Compare two windows, or two groups that have no observation in common.

    None where one side has no observations (counts and levels apart, which are 0 then), and for lifts and
    amounts, which are not made of sums. With fewer than 5 observations on a side the difference is withheld unless
    ``unsuppress``, as the values are.
    """
    verdict = statistics.status(min(now.n, then.n))
    if metric.family in PLAIN:
        plain = plain_value(metric, now) - plain_value(metric, then)
        return Difference(plain, None, None, None, significant=False, n=now.n, n_then=then.n, status=verdict)
    if not now.n or not then.n or metric.family in UNSUMMED:
        return None
    if verdict is Status.SUPPRESSED and not unsuppress:
        return Difference(None, None, None, None, significant=False, n=now.n, n_then=then.n, status=verdict)
    contrast, scale = _contrast(metric, now, then)
    if contrast is None:
        ours, theirs = (answer(metric, sums, unsuppress=True).value for sums in (now, then))
        known = None if ours is None or theirs is None else ours - theirs
        return Difference(known, None, None, None, significant=False, n=now.n, n_then=then.n, status=verdict)
    found = Difference(
        contrast.difference / scale,
        contrast.interval.low / scale,
        contrast.interval.high / scale,
        contrast.p_value,
        significant=False,
        n=now.n,
        n_then=then.n,
        status=verdict,
    )
    return replace(found, significant=contrast.p_value < ALPHA and found.excludes_zero)


def corrected(differences: Mapping[Key, Difference]) -> dict[Key, Difference]:
    """Add the q-values of differences that are looked at together, and judge significance by them."""
    tested = {key: found.p_value for key, found in differences.items() if found.p_value is not None}
    q_values = dict(zip(tested, statistics.q_values(list(tested.values())), strict=True))
    return {
        key: replace(found, q_value=q, significant=q < ALPHA and found.excludes_zero)
        if (q := q_values.get(key)) is not None
        else found
        for key, found in differences.items()
    }


def compare_many(
    metric: Metric, pairs: Mapping[Key, tuple[Sums, Sums]], *, unsuppress: bool = False
) -> dict[Key, Difference]:
    """Compare many pairs of now and then, with q-values over all of them; those without a difference are left out.

    Withheld differences take no part in the correction: nobody sees them, so none can be picked.
    """
    found = {key: compare(metric, now, then, unsuppress=unsuppress) for key, (now, then) in pairs.items()}
    return corrected({key: difference for key, difference in found.items() if difference is not None})
