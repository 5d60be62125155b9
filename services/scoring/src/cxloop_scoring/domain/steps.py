"""Steps of a series, by the calendar of a time zone: local midnights, weeks from Monday, months from the 1st."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.windows import DAY, HOUR, Span

_MINUTE: Final = HOUR // 60
_NEAR_NAMES: Final = 3
_NEAR: Final = 0.5
_MONDAY_IN_1970: Final = date(1970, 1, 5)


class Unit(StrEnum):
    """What a step is counted in."""

    ELAPSED = "elapsed"
    """Time that passes, from local midnight on: a day of 25 hours has 25 steps of an hour."""
    WALL = "wall"
    """Hours of the wall clock: 06:00 is 06:00, however long the night was."""
    DAYS = "days"
    WEEKS = "weeks"
    MONTHS = "months"


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of step."""

    name: str
    unit: Unit
    length: int
    """Microseconds it usually lasts; of a month, those of the shortest one."""


STEPS: Final = {
    step.name: step
    for step in (
        *(Step(f"{count}m", Unit.ELAPSED, count * _MINUTE) for count in (5, 15, 30)),
        Step("1h", Unit.ELAPSED, HOUR),
        *(Step(f"{count}h", Unit.WALL, count * HOUR) for count in (2, 3, 4, 6, 8, 12)),
        Step("1d", Unit.DAYS, DAY),
        Step("1w", Unit.WEEKS, 7 * DAY),
        Step("1mo", Unit.MONTHS, 28 * DAY),
    )
}
"""The steps there are, by name, shortest first."""


class StepRefused(StrEnum):
    """Why a window is not cut."""

    LONGER_THAN_WINDOW = "the step is longer than the window"
    TOO_MANY_POINTS = "the step makes too many points"


@lru_cache(maxsize=1)
def _zone_names() -> dict[str, str]:
    # `localtime` is whatever the machine at hand is set to.
    return {
        name.lower(): name
        for name in sorted(available_timezones())
        if not name.startswith("posix") and name != "localtime"
    }


def zone_of(name: str) -> ZoneInfo | None:
    """Find a time zone of the IANA database by its name; None where there is none of that name."""
    try:
        return ZoneInfo(name) if name in _zone_names().values() else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


def near_zones(name: str) -> list[str]:
    """Give names of time zones that look or end like a name, the nearest first; UTC where none does."""
    known, asked = _zone_names(), name.lower()[:64]
    city = asked.rpartition("/")[2].replace(" ", "_")
    ends = [full for lower, full in known.items() if city and lower.rpartition("/")[2] == city]
    alike = difflib.get_close_matches(asked, list(known), n=_NEAR_NAMES, cutoff=_NEAR)
    cities = {lower.rpartition("/")[2]: full for lower, full in known.items() if "/" in lower}
    meant = difflib.get_close_matches(city, list(cities), n=_NEAR_NAMES, cutoff=0.7)
    found = [*ends, *(cities[near] for near in meant), *(known[near] for near in alike)]
    return list(dict.fromkeys(found))[:_NEAR_NAMES] or ["UTC"]


def cut(window: Span, step: Step, zone: ZoneInfo, most_points: int) -> tuple[Span, ...] | StepRefused:
    """Cut a window where the steps of a calendar begin; its first and last point are cut to the window.

    A local time that happens twice counts where it happens first. One that is skipped counts as if the clock
    had not been changed, which for a day that begins at 01:00 is the moment of the change.
    """
    length = window.until - window.since
    if step.length > length:
        return StepRefused.LONGER_THAN_WINDOW
    if length // step.length > most_points:
        return StepRefused.TOO_MANY_POINTS
    edges = [window.since]
    for edge in _edges(window, step, zone):
        if edge >= window.until:
            break
        if edge > edges[-1]:
            edges.append(edge)
    if len(edges) > most_points:
        return StepRefused.TOO_MANY_POINTS
    edges.append(window.until)
    return tuple(Span(since, until) for since, until in pairwise(edges))


def _edges(window: Span, step: Step, zone: ZoneInfo) -> Iterator[int]:
    """Give beginnings of steps, from one at or before the window on, in ascending order."""
    day = _local_date(window.since, zone)
    match step.unit:
        case Unit.MONTHS:
            first = day.replace(day=1)
            while True:
                yield _moment(first, time(), zone)
                first = (first + timedelta(days=31)).replace(day=1)
        case Unit.WEEKS | Unit.DAYS:
            days = 7 if step.unit is Unit.WEEKS else 1
            day -= timedelta(days=(day - _MONDAY_IN_1970).days % days)
            while True:
                yield _moment(day, time(), zone)
                day += timedelta(days=days)
        case Unit.WALL:
            while True:
                for hour in range(0, 24, step.length // HOUR):
                    yield _moment(day, time(hour), zone)
                day += timedelta(days=1)
        case Unit.ELAPSED:
            while True:
                midnight = _moment(day, time(), zone)
                day += timedelta(days=1)
                yield from range(midnight, _moment(day, time(), zone), step.length)


def _local_date(at: int, zone: ZoneInfo) -> date:
    """Give the local date of a moment, or the day before: a step that begins before the window does no harm."""
    utc = instant(at)
    return (utc.astimezone(zone).date() - timedelta(days=1)) if utc.year > 1 else utc.date()


def _moment(day: date, clock: time, zone: ZoneInfo) -> int:
    return microseconds(datetime.combine(day, clock, tzinfo=zone).astimezone(UTC))
