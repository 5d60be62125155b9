"""What an installation decides, as the oracle knows it: calendars, targets, words, currency."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from .rows import DAY, micros, moment

Clock = Literal["first_response", "resolution"]


@dataclass(frozen=True)
class Calendar:
    """Opening hours by weekday (0 is Monday) on the zone's wall clock; none of them touches a clock change."""

    zone: str
    week: Mapping[int, tuple[tuple[str, str], ...]]
    closed: frozenset[date] = frozenset()

    def open_us(self, since: int, until: int) -> int:
        """Add up the open time within [since, until)."""
        return sum(max(0, min(until, end) - max(since, begin)) for begin, end in self._windows(since, until))

    def after(self, since: int, length: int) -> int:
        """Give the first instant at which `length` of open time has passed since."""
        for begin, end in self._windows(since, since + 60 * DAY):
            place = max(since, begin)
            if end - place >= length:
                return place + length
            length -= max(0, end - place)
        raise ValueError("never open")

    def _windows(self, since: int, until: int) -> list[tuple[int, int]]:
        zone = ZoneInfo(self.zone)
        day = moment(since).astimezone(zone).date() - timedelta(days=1)
        last = moment(until).astimezone(zone).date()
        found: list[tuple[int, int]] = []
        while day <= last:
            if day not in self.closed:
                for begin, end in self.week.get(day.weekday(), ()):
                    edges = [
                        micros(datetime.combine(day, time.fromisoformat(text), zone)) for text in (begin, end)
                    ]
                    found.append((edges[0], edges[1]))
            day += timedelta(days=1)
        return [(begin, end) for begin, end in found if end > since]


@dataclass(frozen=True)
class Target:
    """How long a ticket may take."""

    clock: Clock
    length: int
    """Microseconds: of open time where there is a calendar."""
    calendar: Calendar | None = None

    def due(self, since: int) -> int:
        """Give the last moment that meets the target."""
        return since + self.length if self.calendar is None else self.calendar.after(since, self.length)


Policy = tuple[Mapping[str, tuple[str, ...]], tuple[Target, ...]]
"""For each dimension the values that it is meant for, and its targets."""


@dataclass(frozen=True)
class Configured:
    """All of it; by default nothing."""

    calendars: Mapping[str | None, Calendar]
    """By team; None is everybody else's."""
    policies: tuple[Policy, ...] = ()
    """The first one that matches is the one that counts."""
    active_words: tuple[str, ...] = ("purchase", "signup", "onboarding", "renewal", "usage", "delivery")
    left_words: tuple[str, ...] = ("cancellation", "churn")
    currency: str = "EUR"

    def calendar_of(self, team: str | None) -> Calendar | None:
        """Give the calendar that applies to a team."""
        return self.calendars.get(team) or self.calendars.get(None)

    def targets_of(self, dimensions: frozenset[tuple[str, str]]) -> tuple[Target, ...]:
        """Give the targets that a ticket has to meet."""
        for match, targets in self.policies:
            if all(any((name, value) in dimensions for value in values) for name, values in match.items()):
                return targets
        return ()


NOTHING = Configured({})
