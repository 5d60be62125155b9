"""Windows: [from, to) in microseconds, taken apart into whole days, whole hours and the edges."""

from dataclasses import dataclass
from typing import Final, NamedTuple

HOUR: Final = 3_600_000_000
"""Microseconds of an hour."""
DAY: Final = 24 * HOUR
BEGINNING: Final = -719_162 * DAY
"""The year 1, in microseconds before 1970: as early as a time can be."""


class Span(NamedTuple):
    """A half-open range: microseconds in a window, numbers of hours or days in buckets."""

    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Layers:
    """Where each part of a window is read: days and hours by number since 1970, edges in microseconds."""

    days: tuple[Span, ...]
    hours: tuple[Span, ...]
    edges: tuple[Span, ...]


def _inner(span: Span, grain: int) -> Span:
    """Give the whole units of a span, by number; empty (since >= until) where there are none."""
    return Span(-(-span.since // grain), span.until // grain)


def layers(window: Span) -> Layers:
    """Take a window apart exactly: the parts do not overlap and leave nothing out."""
    hours = _inner(window, HOUR)
    if hours.since >= hours.until:
        return Layers((), (), (window,) if window.since < window.until else ())
    edges = (Span(window.since, hours.since * HOUR), Span(hours.until * HOUR, window.until))
    days = _inner(window, DAY)
    if days.since >= days.until:
        rest: tuple[Span, ...] = (hours,)
        whole: tuple[Span, ...] = ()
    else:
        rest = (Span(hours.since, days.since * 24), Span(days.until * 24, hours.until))
        whole = (days,)
    return Layers(
        whole,
        tuple(span for span in rest if span.since < span.until),
        tuple(span for span in edges if span.since < span.until),
    )
