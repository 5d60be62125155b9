"""What a benchmark found: medians with their range, a target, and how both are shown."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """One quantity, measured once a repeat."""

    name: str
    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        """Give the middle value."""
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        """Give name, unit, median and every value."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": _rounded(self.median),
            "values": [_rounded(value) for value in self.values],
        }

    def cells(self) -> tuple[str, str, str]:
        """Give the table's cells: name, median with its unit, lowest to highest."""
        low, high = min(self.values), max(self.values)
        spread = "" if len(self.values) == 1 else f"{_shown(low)} .. {_shown(high)}"
        return self.name, f"{_shown(self.median)} {self.unit}".rstrip(), spread


@dataclass(frozen=True)
class Target:
    """A claim about one figure's median."""

    figure: Figure
    bound: Literal["at least", "under"]
    limit: float

    @property
    def met(self) -> bool:
        """Whether the median keeps the claim."""
        median = self.figure.median
        return median >= self.limit if self.bound == "at least" else median < self.limit

    def sentence(self) -> str:
        """Say it in a line."""
        found = f"{_shown(self.figure.median)} {self.figure.unit}".rstrip()
        wanted = f"{self.bound} {_shown(self.limit)} {self.figure.unit}".rstrip()
        return f"{self.figure.name}: {found}; target {wanted}: {'met' if self.met else 'NOT met'}"

    def as_json(self) -> dict[str, Any]:
        """Give the claim and whether it is kept."""
        return {
            "figure": self.figure.name,
            "bound": self.bound,
            "limit": self.limit,
            "median": _rounded(self.figure.median),
            "met": self.met,
        }


@dataclass(frozen=True)
class Result:
    """What one benchmark has to say."""

    bench: str
    title: str
    figures: Sequence[Figure]
    targets: Sequence[Target] = ()
    notes: Sequence[str] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Give everything as JSON has it."""
        return {
            "bench": self.bench,
            "title": self.title,
            "figures": [figure.as_json() for figure in self.figures],
            "targets": [target.as_json() for target in self.targets],
            "notes": list(self.notes),
        }

    def table(self) -> str:
        """Give it as lines for a terminal."""
        rows = [("", "median", "range"), *(figure.cells() for figure in self.figures)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{self.bench}: {self.title}"]
        lines += [
            f"  {name:<{widths[0]}}  {median:>{widths[1]}}  {spread:>{widths[2]}}".rstrip()
            for name, median, spread in rows
        ]
        lines += [f"  {target.sentence()}" for target in self.targets]
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Describe where this ran; the load at the start tells how noisy it was."""
    described: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    if hasattr(os, "getloadavg"):
        described["load_at_start"] = round(os.getloadavg()[0], 2)
    return described


def _shown(value: float) -> str:
    if abs(value) >= 100:  # noqa: PLR2004 below it, decimals carry information
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"  # noqa: PLR2004 as above


def _rounded(value: float) -> float:
    return round(value, 3)
