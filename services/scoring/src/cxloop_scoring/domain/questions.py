"""Questions: what is asked of a metric, before anything is read."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.metrics import Metric, MetricNumber, Plan
from cxloop_scoring.domain.windows import BEGINNING, Span

BOOKED_AHEAD: Final = frozenset((MetricNumber.SLA_BREACH_RATE, MetricNumber.BACKLOG))
"""What has no meaning later than now: a target that is due tomorrow, and tomorrow's level."""


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
    now: datetime | None = None
    """The moment of asking; None asks as if everything that is booked had happened."""

    @property
    def known_until(self) -> datetime | None:
        """Give the moment up to which something can have happened for whoever answers."""
        if self.as_of is None or self.now is None:
            return self.as_of or self.now
        return min(self.as_of, self.now)

    @property
    def reached(self) -> tuple[Span, ...]:
        """Give the spans as far as this metric may look; empty (since >= until) where that is not at all."""
        last = self.known_until
        if last is None or self.metric.number not in BOOKED_AHEAD:
            return self.spans
        end = microseconds(last)
        return tuple(Span(span.since, min(span.until, end)) for span in self.spans)

    @property
    def read(self) -> tuple[Span, ...]:
        """Give what is read to answer each span: a balance, everything before the span's end."""
        if self.metric.plan is not Plan.BALANCE:
            return self.reached
        return tuple(
            Span(BEGINNING, span.until) if span.since < span.until else span for span in self.reached
        )

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
