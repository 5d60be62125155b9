"""Series: what is told of metrics unasked, and what makes it worth telling again."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from cxloop_common.events import MetricShifted, MetricSnapshot
from cxloop_common.events.metrics import series_key
from cxloop_common.identifiers import derive_id
from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.comparing import PLAIN, Difference
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.metrics import CATALOGUE, Direction, Metric, Plan
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.shifts import Heading, Reason, ShiftState
from cxloop_scoring.domain.windows import DAY, HOUR, Span

WINDOWS: Final = (DAY, 7 * DAY, 30 * DAY)
"""Lengths of the windows that snapshots are published of."""
DIMENSIONS: Final = ("team", "channel", "source")
"""Dimensions whose values have snapshots of their own, beside those that are watched for shifts."""
PERSONAL: Final = frozenset(("agent",))
"""Dimensions whose values are persons: the topic keeps its records for ever, so they stay out of it."""
SOURCE: Final = "scoring"
"""The CloudEvents source."""

_MINUTE: Final = 60_000_000


class Series(NamedTuple):
    """One metric, of the whole or of one value of a dimension, over one length of window in microseconds."""

    metric: Metric
    dimension: str | None
    value: str | None
    window: int

    @property
    def key(self) -> str:
        """Name the series as its snapshots' key does."""
        return series_key(self.metric.name, self.dimension, self.value, window_name(self.window))


Told = dict[tuple[str, str | None, str], set[str | None]]
"""Values of a dimension, by metric, dimension and name of the window; None is the whole."""


def told_values(keys: Iterable[str]) -> Told:
    """Read back from the keys of series which values they are about."""
    told: Told = {}
    for key in keys:
        metric, about, window = key.split("|")
        dimension, _, value = about.partition("=")
        if about == "*":
            told.setdefault((metric, None, window), set()).add(None)
        else:
            told.setdefault((metric, unquote(dimension), window), set()).add(unquote(value))
    return told


def window_name(window: int) -> str:
    """Write a length of window as the API does: days, or hours up to a day, or minutes."""
    if window > DAY and window % DAY == 0:
        return f"{window // DAY}d"
    return f"{window // HOUR}h" if window % HOUR == 0 else f"{window // _MINUTE}m"


def published_metrics() -> tuple[Metric, ...]:
    """Give the metrics that snapshots are published of: those that are made of sums.

    What meets across documents is joined when it is asked for; to do so every half minute for nobody would
    cost more than all snapshots together.
    """
    return tuple(metric for metric in CATALOGUE.values() if metric.plan is not Plan.JOINED)


def published_dimensions(rules: Rules) -> tuple[str, ...]:
    """Give the dimensions by which snapshots are published, in their order."""
    watched = (name for watch in rules.shifts for name in watch.by)
    return tuple(name for name in dict.fromkeys((*DIMENSIONS, *watched)) if name not in PERSONAL)


def watches(rules: Rules) -> dict[tuple[int, str | None], tuple[Metric, ...]]:
    """Give what is watched for shifts, by window and dimension, so that it can be read together."""
    found: dict[tuple[int, str | None], list[Metric]] = {}
    for watch in rules.shifts:
        metric = CATALOGUE[watch.metric]
        if _unwatchable(metric):
            continue
        for by in (None, *watch.by):
            if by not in PERSONAL and metric not in (listed := found.setdefault((watch.window, by), [])):
                listed.append(metric)
    return {place: tuple(metrics) for place, metrics in found.items()}


def _unwatchable(metric: Metric) -> bool:
    return metric.plan is Plan.JOINED or metric.family in PLAIN


def unwatchable(rules: Rules) -> list[str]:
    """Name what is configured to be watched and cannot be.

    Metrics that are joined when asked for, counts, of which nothing is sampled, and dimensions of persons.
    """
    metrics = {watch.metric for watch in rules.shifts if _unwatchable(CATALOGUE[watch.metric])}
    return sorted(metrics | {name for watch in rules.shifts for name in watch.by if name in PERSONAL})


def content_digest(metric: Metric, found: Answer) -> bytes:
    """Hash what a snapshot says, its window apart: equal digests need no second record."""
    interval = None if found.interval is None else tuple(found.interval)
    said = (metric.formula_version, found.value, found.n, interval, found.status.value, sorted(_extra(found)))
    return blake2b(msgspec.json.encode(said), digest_size=16).digest()


def _extra(found: Answer) -> Iterable[tuple[str, float]]:
    return ((name, value) for name, value in found.extra.items() if value is not None)


def _told_of(series: Series, window: Span, sequence: int) -> dict[str, Any]:
    """Give what every record of a series says: which one it is, of which window, at its end."""
    return {
        "source": SOURCE,
        "time": instant(window.until),
        "metric": series.metric.name,
        "formula_version": series.metric.formula_version,
        "unit": series.metric.unit,
        "dimension": series.dimension,
        "dimension_value": series.value,
        "window": window_name(series.window),
        "window_from": instant(window.since),
        "window_to": instant(window.until),
        "sequence": sequence,
    }


def snapshot(series: Series, found: Answer, until: int, sequence: int) -> MetricSnapshot:
    """Tell how a series stands at the end of its window."""
    low, high = found.interval or (None, None)
    return MetricSnapshot(
        id=derive_id("snapshot", series.key, str(sequence)),
        **_told_of(series, Span(until - series.window, until), sequence),
        value=found.value,
        n=found.n,
        ci_low=low,
        ci_high=high,
        status=found.status.value,
        extra=dict(_extra(found)),
    )


class Shift(NamedTuple):
    """A shift that is news."""

    series: Series
    difference: Difference
    state: ShiftState
    reason: Reason
    now: Answer
    then: Answer


def shifted(shift: Shift, window: Span, sequence: int) -> MetricShifted:
    """Tell that a series shifted. Raises ValueError for a state that announces nothing."""
    series, difference, state = shift.series, shift.difference, shift.state
    if state.announced is None or difference.difference is None:
        raise ValueError("only a shift with a direction is announced")
    if difference.ci_low is None or difference.ci_high is None or difference.q_value is None:
        raise ValueError("only a shift with a corrected interval is announced")
    rises = state.announced is Heading.UP
    good = rises is (series.metric.direction is Direction.HIGHER_IS_BETTER)
    return MetricShifted(
        # Derived from what was told, not from when it is sent: a repeated one is the same record.
        id=derive_id("shift", series.key, str(state.announcements)),
        **_told_of(series, window, sequence),
        direction=state.announced.value,
        effect="better" if good else "worse",
        turned=shift.reason is Reason.TURNED,
        value=shift.now.value,
        value_then=shift.then.value,
        difference=difference.difference,
        ci_low=difference.ci_low,
        ci_high=difference.ci_high,
        q_value=difference.q_value,
        n=difference.n,
        n_then=difference.n_then,
        number=state.announcements,
    )
