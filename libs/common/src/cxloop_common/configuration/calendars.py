"""`calendars.yaml` as text to Calendars, or everything that is wrong with it; scoring and alerting share the file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

from cxloop_common.business_time import (
    MINUTES_OF_A_DAY,
    Calendar,
    CalendarError,
    Calendars,
    Window,
    check_holidays,
    find_zone,
    holiday_codes,
    zone_names,
)
from cxloop_common.configuration.reading import At, FaultyFilesError, Source, YamlReader

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CALENDAR_KEYS: Final = ("zone", "week", "holidays", "closed", "open")
_CLOCKS: Final = re.compile(
    r"(?P<from_hour>\d{2}):(?P<from_minute>\d{2})-(?P<to_hour>\d{2}):(?P<to_minute>\d{2})", re.ASCII
)
_LONGEST_RANGE: Final = timedelta(days=366)


def parse_calendars(source: Source) -> Calendars:
    """Read the file. Raises FaultyFilesError with all of its problems."""
    reader = YamlReader(source.name)
    calendars = _Calendars(reader).read(source.text)
    if reader.problems:
        raise FaultyFilesError(reader.problems)
    return calendars


@dataclass
class _Calendars:
    reader: YamlReader

    def read(self, text: str) -> Calendars:
        root = self.reader.document(text)
        if root is None:
            return Calendars()
        entries = self.reader.mapping(root, ("calendars", "default", "teams"))
        if not self.reader.require(root, entries, "calendars"):
            return Calendars()
        written = self.reader.mapping(entries["calendars"])
        if not written and not self.reader.problems:
            self.reader.complain(entries["calendars"], "there is no calendar")
        by_name = {name: found for name, at in written.items() if (found := self._calendar(at)) is not None}
        # A faulty calendar is still known by its name, so that one run finds what else is wrong.
        default = self._name(entries["default"], written) if "default" in entries else None
        teams: dict[str, str] = {}
        for team, at in self.reader.mapping(entries["teams"]).items() if "teams" in entries else ():
            name = self._name(at, written)
            if name is not None:
                teams[team] = name
        return Calendars(by_name, teams, default)

    def _name(self, at: At, known: Mapping[str, At]) -> str | None:
        name = self.reader.text(at)
        if name is not None and name not in known:
            self.reader.complain_of_name(at, name, "calendar", known)
            return None
        return name

    def _calendar(self, at: At) -> Calendar | None:
        problems = len(self.reader.problems)
        entries = self.reader.mapping(at, _CALENDAR_KEYS)
        if not self.reader.require(at, entries, "zone", "week"):
            return None
        zone = self._zone(entries["zone"])
        week = self._week(entries["week"])
        code = self._holidays(entries["holidays"]) if "holidays" in entries else None
        opened = self._open(entries["open"]) if "open" in entries else {}
        closed = self._closed(entries["closed"], opened) if "closed" in entries else frozenset[date]()
        if len(self.reader.problems) > problems:
            return None
        try:
            calendar = Calendar(zone, week, code, closed, opened)
        except CalendarError as error:
            self.reader.complain(entries["week"], str(error))
            return None
        if not calendar.is_ever_open():
            self.reader.complain(
                entries["week"], "never open: holidays and closed dates take every day of it"
            )
            return None
        return calendar

    def _zone(self, at: At) -> str:
        name = self.reader.text(at)
        if name is None:
            return ""
        try:
            find_zone(name)
        except CalendarError:
            self.reader.complain_of_name(at, name, "time zone", zone_names())
        return name

    def _holidays(self, at: At) -> str | None:
        code = self.reader.text(at)
        if code is None:
            return None
        try:
            check_holidays(code)
        except CalendarError:
            country = code.partition("-")[0]
            parts = holiday_codes().get(country)
            known = holiday_codes() if parts is None else {country, *(f"{country}-{part}" for part in parts)}
            self.reader.complain_of_name(at, code, "holidays", known)
        return code

    def _week(self, at: At) -> tuple[tuple[Window, ...], ...]:
        week: list[tuple[Window, ...]] = [()] * len(WEEKDAYS)
        taken: set[int] = set()
        for name, value in self.reader.mapping(at).items():
            windows = self._windows(value)
            for day in self._weekdays(value, name):
                if day in taken:
                    self.reader.complain(value, f"{WEEKDAYS[day]} stands twice")
                taken.add(day)
                week[day] = windows
        return tuple(week)

    def _weekdays(self, at: At, text: str) -> list[int]:
        first, dash, last = text.partition("-")
        found: list[int] = []
        for name in (first, last) if dash else (first,):
            if name not in WEEKDAYS:
                self.reader.complain_of_name(at, name, "day of the week", WEEKDAYS)
                return []
            found.append(WEEKDAYS.index(name))
        length = (found[-1] - found[0]) % len(WEEKDAYS)  # sun-thu is a week's beginning too
        return [(found[0] + step) % len(WEEKDAYS) for step in range(length + 1)]

    def _windows(self, at: At) -> tuple[Window, ...]:
        windows: list[Window] = []
        for text in self.reader.texts(at):
            window = _window(text)
            if window is None:
                self.reader.complain(
                    at,
                    "expected hours such as 09:00-17:00 that end after they start; 24:00 is the end of a day, and "
                    "a night is two windows, 22:00-24:00 and the next day's 00:00-06:00",
                )
                return ()
            windows.append(window)
        if any(later.start < earlier.end for earlier, later in pairwise(windows)):
            self.reader.complain(at, "the windows of a day follow each other and do not overlap")
            return ()
        return tuple(windows)

    def _open(self, at: At) -> dict[date, tuple[Window, ...]]:
        opened: dict[date, tuple[Window, ...]] = {}
        for name, value in self.reader.mapping(at).items():
            try:
                day = date.fromisoformat(name)
            except ValueError:
                self.reader.complain(value, "expected a date that exists, such as 2026-12-19")
                continue
            opened[day] = self._windows(value)
            if not opened[day] and not self.reader.problems:
                self.reader.complain(value, "an open date has hours; one without any stands under closed")
        return opened

    def _closed(self, at: At, opened: Mapping[date, object]) -> frozenset[date]:
        closed: set[date] = set()
        for item in self.reader.sequence(at):
            text = self.reader.text(item)
            if text is None:
                continue
            days = _days(text)
            if days is None:
                self.reader.complain(
                    item,
                    "expected a date or two, such as 2026-12-24 or 2026-12-24..2027-01-01, a year at most",
                )
                continue
            for day in days:
                if day in opened:
                    self.reader.complain(item, f"{day} stands under open as well")
            closed.update(days)
        return frozenset(closed)


def _window(text: str) -> Window | None:
    form = _CLOCKS.fullmatch(text.replace(" ", ""))
    if form is None or int(form["from_minute"]) > 59 or int(form["to_minute"]) > 59:  # noqa: PLR2004 - minutes of an hour
        return None
    window = Window(
        int(form["from_hour"]) * 60 + int(form["from_minute"]),
        int(form["to_hour"]) * 60 + int(form["to_minute"]),
    )
    return window if window.start < window.end <= MINUTES_OF_A_DAY else None


def _days(text: str) -> list[date] | None:
    first, dots, last = text.partition("..")
    try:
        since = date.fromisoformat(first)
        until = date.fromisoformat(last) if dots else since
    except ValueError:
        return None
    if not timedelta(0) <= until - since <= _LONGEST_RANGE:
        return None
    return [since + timedelta(days=step) for step in range((until - since).days + 1)]
