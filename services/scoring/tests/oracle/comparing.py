"""One answer of the service beside the oracle's."""

import math
from collections.abc import Mapping
from typing import Any

from .intervals import Interval, lift_interval, mean_difference_interval
from .values import Value

SKETCH = 1 / 128
"""What the service promises of durations: each bin stands for its values within this share."""
_TABLES = 1e-4
"""Student's quantiles come from a table there, and z is 1.96: intervals agree to four digits."""


def disagreements(found: Mapping[str, Any], wanted: Value, *, duration: bool) -> list[str]:
    """Say where an answer differs: count, value, interval, and everything that stands beside."""
    wrong: list[str] = []
    if found["n"] != wanted.n:
        wrong.append(f"n is {found['n']}, not {wanted.n}")
    exact, rough = (
        (SKETCH, 0.0011) if duration else (0.0, 1e-6),
        (SKETCH, 0.0011) if duration else (_TABLES, 3e-3),
    )
    low, high = wanted.interval or (None, None)
    figures = [("value", wanted.value, exact), ("ci_low", low, rough), ("ci_high", high, rough)]
    for name, figure, (relative, absolute) in figures:
        if not _same(found[name], figure, relative, absolute):
            wrong.append(f"{name} is {found[name]}, not {figure}")
    for name, figure in wanted.extra.items():
        said = _inside(found, name)
        # Where nothing was counted nothing stands beside it.
        if not _same(said, figure, *exact) and not (wanted.n == 0 and not figure and said is None):
            wrong.append(f"{name} is {said}, not {figure}")
    return wrong


def differences(found: Mapping[str, Any], wanted: Value, other: Value, *, duration: bool) -> list[str]:
    """Say where a comparison differs: the other value, the difference, and its interval for shares and means."""
    wrong: list[str] = []
    if found["n"] != other.n:
        wrong.append(f"n is {found['n']}, not {other.n}")
    if not _same(found["value"], other.value, SKETCH if duration else 0.0, 0.0011):
        wrong.append(f"the other value is {found['value']}, not {other.value}")
    if wanted.value is None or other.value is None or found["difference"] is None:
        return wrong
    difference = wanted.value - other.value
    slack = (wanted.value + other.value) * SKETCH + 0.003 if duration else 2e-6
    if not _same(found["difference"], difference, 0.0, slack):
        wrong.append(f"difference is {found['difference']}, not {difference}")
    interval = _difference_interval(wanted, other)
    if interval is not None and found["ci_low"] is not None:
        for name, figure in zip(("ci_low", "ci_high"), interval, strict=True):
            if not _same(found[name], figure, _TABLES, 5e-3):
                wrong.append(f"{name} is {found[name]}, not {figure}")
    return wrong


def _difference_interval(one: Value, other: Value) -> Interval | None:
    if one.sample and other.sample:
        return mean_difference_interval(one.sample, other.sample)
    if one.hits is not None and other.hits is not None:
        return lift_interval(one.hits, one.n, other.hits, other.n)
    return None


def _inside(found: Mapping[str, Any], path: str) -> Any:
    """Read `business.p90` from what stands beside; None where it is left out."""
    inside: Any = found
    for name in path.split("."):
        inside = None if inside is None else inside.get(name)
    return inside


def _same(found: float | None, wanted: float | None, relative: float, absolute: float) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return math.isclose(found, wanted, rel_tol=relative, abs_tol=absolute)
