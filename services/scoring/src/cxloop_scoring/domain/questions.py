"""Questions: what is asked of a metric, before anything is read."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cxloop_scoring.domain.metrics import Metric
from cxloop_scoring.domain.windows import Span


class Population(StrEnum):
    """Which responses count."""

    TRANSACTIONAL = "transactional"
    """Every response."""
    RELATIONSHIP = "relationship"
    """The latest response of each customer in the window, ties settled by document; anonymous ones do not
    count, for they cannot be told from the customer's others."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition: a dimension has a value."""

    dimension: str
    value: str


@dataclass(frozen=True, slots=True)
class Question:
    """A metric over spans of time, filtered and grouped."""

    metric: Metric
    spans: tuple[Span, ...]
    where: tuple[Filter, ...] = ()
    by: str | None = None
    population: Population = Population.TRANSACTIONAL
    as_of: datetime | None = None

    @property
    def dimensions(self) -> set[str]:
        """Names of all dimensions the question touches."""
        return {item.dimension for item in self.where} | ({self.by} if self.by is not None else set[str]())

    @property
    def needs_ledger(self) -> bool:
        """Tell whether buckets cannot answer: they know one dimension at a time, and only the present."""
        return (
            self.as_of is not None
            or self.population is Population.RELATIONSHIP
            or len(self.where) + (self.by is not None) > 1
        )
