"""A question: one window, filters, a population, and when it is asked."""

from dataclasses import dataclass, replace

from .known import Known
from .rows import Row


@dataclass(frozen=True)
class Asked:
    """All times in microseconds; the window is [since, until)."""

    since: int
    until: int
    now: int
    """When it is asked; under as_of, the moment whose knowledge is asked for."""
    where: tuple[tuple[str, str], ...] = ()
    relationship: bool = False
    currency: str = "EUR"

    def filtered(self, row: Row) -> bool:
        """Tell whether a row passes all filters."""
        return all(item in row.dimensions for item in self.where)

    def within(self, at: int) -> bool:
        """Tell whether a time is inside of the window."""
        return self.since <= at < self.until

    def choose(self, known: Known, *metrics: int) -> list[Row]:
        """Give the rows that the question is about, by time, then document."""
        return [row for row in known.of_metrics(*metrics) if self.within(row.at) and self.filtered(row)]

    def narrowed(self, dimension: str, value: str) -> "Asked":
        """Ask the same of one group."""
        return replace(self, where=(*self.where, (dimension, value)))

    def from_the_beginning(self) -> "Asked":
        """Ask the same of all time up to the window's end."""
        return replace(self, since=-(1 << 62))
