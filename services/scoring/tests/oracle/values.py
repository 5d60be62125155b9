"""What a question is answered with."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .intervals import Interval, share_interval


class Value(NamedTuple):
    """A value with its count, its interval and what stands beside it; None where nothing was counted."""

    n: int
    value: float | None
    interval: Interval | None
    extra: Mapping[str, float | int | None] = {}
    sample: Sequence[float] = ()
    """The single values, where the value is their mean."""
    hits: int | None = None
    """How many say yes, where the value is a share."""


def share_of(hits: int, n: int, extra: Mapping[str, float | int | None] | None = None) -> Value:
    """Give a share in percent, with Wilson's interval."""
    return Value(n, percent(hits, n), share_interval(hits, n), extra or {}, hits=hits)


def percent(hits: int, n: int) -> float | None:
    """Give a share in percent."""
    return None if n == 0 else 100 * hits / n


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Interpolate linearly between order statistics (Hyndman and Fan's type 7)."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
