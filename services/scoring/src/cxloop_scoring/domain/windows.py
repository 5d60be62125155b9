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


@dataclass(frozen=True, slots=True)
class Pieces:
    """The same with signs: what a day has too much is taken away again."""

    days: tuple[tuple[int, Span], ...]
    """Pairs of sign (+1, -1) and numbers of days."""
    hours: tuple[tuple[int, Span], ...]
    edges: tuple[Span, ...]


def pieces(window: Span) -> Pieces:
    """Take a window apart from the nearest days, adding and taking away hours: at most 24 of them.

    A local day east or west of Greenwich is a day and a few hours this way, instead of 24 hours.
    """
    edges = layers(window).edges
    hours = _inner(window, HOUR)
    if hours.since >= hours.until:
        return Pieces((), (), edges)
    days = Span((hours.since + 12) // 24, (hours.until + 12) // 24)
    if days.since >= days.until:
        return Pieces((), ((1, hours),), edges)
    parts = (
        (1, Span(hours.since, days.since * 24)),
        (-1, Span(days.since * 24, hours.since)),
        (1, Span(days.until * 24, hours.until)),
        (-1, Span(hours.until, days.until * 24)),
    )
    return Pieces(((1, days),), tuple(part for part in parts if part[1].since < part[1].until), edges)
