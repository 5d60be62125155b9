"""Answers: from the sums of a window to a value with its interval and status."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cxloop_scoring.domain import statistics
from cxloop_scoring.domain.dimensions import OTHER
from cxloop_scoring.domain.histogram import Histogram, Ranks, add_histogram
from cxloop_scoring.domain.metrics import Direction, Family, Metric, MetricNumber
from cxloop_scoring.domain.statistics import Interval, Status

LARGEST_GROUPS = 500


@dataclass(slots=True)
class Sums:
    """What a window adds up to: integers only, so that no order of adding shows."""

    n: int = 0
    sum: int = 0
    squares: int = 0
    low: int = 0
    middle: int = 0
    high: int = 0
    histogram: Histogram = field(default_factory=dict[int, int])
    business: "Sums | None" = None
    """The same durations in business hours, of metrics that have them."""

    def add(self, other: "Sums") -> None:
        """Add the sums of another part."""
        self.n += other.n
        self.sum += other.sum
        self.squares += other.squares
        self.low += other.low
        self.middle += other.middle
        self.high += other.high
        add_histogram(self.histogram, other.histogram)
        if other.business is not None:
            self.business = self.business or Sums()
            self.business.add(other.business)

    def copied(self) -> "Sums":
        """Give sums of their own that are equal."""
        copied = Sums()
        copied.add(self)
        return copied


@dataclass(frozen=True, slots=True)
class Answer:
    """A value in the metric's unit (seconds for times), None for n = 0 and where it is withheld."""

    value: float | None
    n: int
    interval: Interval | None
    status: Status
    extra: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    """What else a metric tells: `p90` of durations in seconds, shares such as `top_box` in percent, whole counts."""
    business: "Answer | None" = None
    """The same in business hours, of durations that have them."""


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _scaled(interval: Interval | None, divisor: int) -> Interval | None:
    return None if interval is None else Interval(interval.low / divisor, interval.high / divisor)


def _evaluate(  # noqa: C901, PLR0911 - one case a family
    metric: Metric, sums: Sums
) -> tuple[float | None, Interval | None, Mapping[str, float | None]]:
    n = sums.n
    match metric.family:
        case Family.NET_PROMOTER:
            bands = sums.high, sums.middle, sums.low
            return statistics.nps(*bands), statistics.nps_interval(*bands), {}
        case Family.TOP_BOX:
            return statistics.share(sums.high, n), statistics.wilson(sums.high, n), {}
        case Family.MEAN:
            mean = sums.sum / n / 100 if n else None
            interval = _scaled(statistics.mean_interval(n, sums.sum, sums.squares), 100)
            if metric.number is MetricNumber.SENTIMENT:
                return mean, interval, {"negative": statistics.share(sums.low, n)}
            return mean, interval, {"top_box": statistics.share(sums.high, n)}
        case Family.RATE:
            return statistics.share(sums.sum, n), statistics.wilson(sums.sum, n), {}
        case Family.DURATION:
            ranks = Ranks(sums.histogram)
            ends = statistics.median_ranks(ranks.n)
            interval = None if ends is None else Interval(ranks.at(ends[0]), ranks.at(ends[1]))
            p90 = _seconds(ranks.quantile(0.9))
            return _seconds(ranks.quantile(0.5)), _scaled(interval, 1000), {"p90": p90}
        case Family.COUNT:
            # Every ticket is counted, none is sampled: there is nothing to be unsure of.
            return (float(n) if n else None), None, {}
        case Family.AVERAGE:
            interval = statistics.mean_interval(n, sums.sum, sums.squares)
            return (sums.sum / n if n else None), interval, {"two_or_more": statistics.share(sums.high, n)}
        case Family.BALANCE:
            return (float(sums.sum) if n else None), None, {}
        case Family.LIFT | Family.AMOUNT:
            raise ValueError(f"{metric.name} is not answered from sums")


def answer(metric: Metric, sums: Sums, *, unsuppress: bool = False) -> Answer:
    """Turn sums into an answer; below 5 observations the value is withheld unless ``unsuppress``.

    Raises ValueError for a metric that is not made of sums (a lift, an amount).
    """
    value, interval, extra = _evaluate(metric, sums)
    business = None
    if metric.business is not None:
        alike = replace(metric, business=None)
        business = answer(alike, sums.business or Sums(), unsuppress=unsuppress)
    found = Answer(value, sums.n, interval, statistics.status(sums.n), extra, business)
    return shown(found, unsuppress=unsuppress)


def shown(found: Answer, *, unsuppress: bool) -> Answer:
    """Withhold a value of fewer than 5 observations, unless it was asked for."""
    if found.status is not Status.SUPPRESSED or unsuppress:
        return found
    return replace(found, value=None, interval=None, extra=dict.fromkeys(found.extra))


def largest_groups(groups: Mapping[str, Sums]) -> dict[str, Sums]:
    """Keep the 500 largest groups, ties by value, and fold all others into `__other__`."""
    kept = {key: sums for key, sums in groups.items() if sums.n}
    if len(kept) <= LARGEST_GROUPS:
        return kept
    ranked = sorted(kept, key=lambda key: (-kept[key].n, key))
    other = Sums()
    for key in ranked[LARGEST_GROUPS:]:
        other.add(kept[key])
    return {key: kept[key] for key in ranked[:LARGEST_GROUPS]} | {OTHER: other}


def worst_first(metric: Metric, answers: Mapping[str, Answer]) -> list[tuple[str, Answer]]:
    """Order groups with the worst value in front, ties by key; those without a value stand last, `__other__` behind."""
    sign = 1 if metric.direction is Direction.HIGHER_IS_BETTER else -1

    def place(item: tuple[str, Answer]) -> tuple[bool, bool, float, str]:
        value = item[1].value
        return item[0] == OTHER, value is None, 0.0 if value is None else sign * value, item[0]

    return sorted(answers.items(), key=place)
