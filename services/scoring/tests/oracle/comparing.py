"""One answer of the service beside the oracle's."""

import math
from collections.abc import Mapping
from typing import Any

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
