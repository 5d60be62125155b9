"""Tallies: what was counted for one span and group, as integers that add up, and the answers they give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cxloop_scoring.domain.answers import LARGEST_GROUPS, Answer
from cxloop_scoring.domain.dimensions import OTHER
from cxloop_scoring.domain.statistics import share, status, wilson


@dataclass(slots=True)
class Tally:
    """How many were counted, how many of them are meant, and what else was counted beside."""

    n: int = 0
    hits: int = 0
    beside: dict[str, int] = field(default_factory=dict[str, int])

    def count(self, name: str, by: int = 1) -> None:
        """Count something that is told beside the value."""
        self.beside[name] = self.beside.get(name, 0) + by

    def get(self, name: str) -> int:
        """Give a count beside the value."""
        return self.beside.get(name, 0)

    def add(self, other: "Tally") -> None:
        """Add what another group counted."""
        self.n += other.n
        self.hits += other.hits
        for name, number in other.beside.items():
            self.count(name, number)


Cell: TypeAlias = tuple[int, str | None]
"""Number of the span, and the group; None where none was asked for."""
Extra: TypeAlias = dict[str, float | None]
Evaluate: TypeAlias = Callable[[Tally], Answer]

ONLY: Final = 0
"""Number of the first span."""


def share_answer(tally: Tally, extra: Mapping[str, float | None] | None = None) -> Answer:
    """Answer with hits / n in percent and Wilson's interval."""
    return Answer(
        share(tally.hits, tally.n),
        tally.n,
        wilson(tally.hits, tally.n),
        status(tally.n),
        {} if extra is None else extra,
    )


def largest(tallies: Mapping[Cell, Tally]) -> dict[Cell, Tally]:
    """Keep the 500 largest groups of each span, ties by value, and fold all others into `__other__`."""
    kept: dict[Cell, Tally] = {}
    for place in sorted({place for place, _ in tallies}):
        groups = {cell: tally for cell, tally in tallies.items() if cell[0] == place}
        ranked = sorted(groups, key=lambda cell: (-groups[cell].n, cell[1] or ""))
        kept.update((cell, groups[cell]) for cell in ranked[:LARGEST_GROUPS])
        if len(ranked) > LARGEST_GROUPS:
            other = Tally()
            for cell in ranked[LARGEST_GROUPS:]:
                other.add(groups[cell])
            kept[place, OTHER] = other
    return kept
