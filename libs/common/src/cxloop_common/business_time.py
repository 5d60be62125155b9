"""Business time: when a team is at work, how much of that lies between two moments, and when some of it is over.

A moment is open when the zone's wall clock reads inside one of the day's windows and the date is not closed. UTC
is cut wherever the zone's offset changes; between two cuts wall clock and UTC differ by a constant, so a window
becomes UTC by subtraction. The hour that a clock change skips is never open, the hour it repeats counts twice,
and neither needs a rule of its own.

Moments are whole microseconds since 1970, UTC, and lengths whole microseconds, so sums are exact. Nothing here
reads a clock or does I/O, but for zone and holiday data that are read once. A calendar lays its open intervals
out for 512 days at a time and keeps them; a question is then two binary searches.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import holidays as holiday_dates

MINUTES_OF_A_DAY: Final = 1440
"""The end of a window that runs to midnight, `24:00`."""

_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
_DAY: Final = 86_400 * _SECOND
_BLOCK: Final = 512 * _DAY
_EPOCH: Final = date(1970, 1, 1).toordinal()

_EMPTY_BLOCKS: Final = 8
"""After so many blocks without an open minute (11 years) a calendar counts as never open."""

KNOWN_YEARS: Final = (2000, 2050)
"""The years whose holidays and zone make part of a calendar's `content`; ingest refuses events before the first."""


class CalendarError(ValueError):
    """A calendar cannot be; the message says what is wrong with it."""


class NeverOpenError(CalendarError):
    """Open time was asked of a calendar that has none."""


class Window(NamedTuple):
    """Part of a day that is open: [start, end) in minutes of the wall clock, 0..1440."""

    start: int
    end: int


class _Block(NamedTuple):
    """The open intervals of 512 days, in order and apart from each other, and the open time before each."""

    starts: list[int]
    ends: list[int]
    before: list[int]
    total: int

    def until(self, moment: int) -> int:
        """Give the open time of this block before a moment of it."""
        index = bisect_right(self.starts, moment) - 1
        if index < 0:
            return 0
        return self.before[index] + min(moment, self.ends[index]) - self.starts[index]


@dataclass(frozen=True)
class Calendar:
    """A week of windows in one time zone, with holidays, closed dates and dates with hours of their own.

    Raises CalendarError for an unknown zone or holiday code, windows out of order, a date both open and closed,
    and a week without any window. Two calendars that say the same are equal.
    """

    zone: str
    """IANA name, such as `Europe/Berlin`."""
    week: tuple[tuple[Window, ...], ...]
    """Windows of Monday to Sunday."""
    holidays: str | None = None
    """Code of the public holidays that close it: a country, or country and subdivision, such as `DE-BY`."""
    closed: frozenset[date] = frozenset()
    opened: Mapping[date, tuple[Window, ...]] = field(default_factory=dict[date, tuple[Window, ...]])
    """Dates with windows of their own, which win over the week and over a holiday."""
    _blocks: dict[int, _Block] = field(
        default_factory=dict[int, _Block], init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if len(self.week) != 7:  # noqa: PLR2004 - Monday to Sunday
            raise CalendarError("a week has seven days")
        for windows in (*self.week, *self.opened.values()):
            check_windows(windows)
        if not any(self.week):
            raise CalendarError("never open: no day of the week has a window")
        if both := sorted(self.closed.intersection(self.opened)):
            raise CalendarError(f"{both[0]} is both open and closed")
        if not all(self.opened.values()):
            raise CalendarError("an open date has a window; one without any is a closed date")
        find_zone(self.zone)
        if self.holidays is not None:
            check_holidays(self.holidays)

    def between(self, start: int, end: int) -> int:
        """Give the open microseconds in [start, end); 0 where end is not after start."""
        if end <= start:
            return 0
        first, last = start // _BLOCK, end // _BLOCK
        if first == last:
            block = self._block(first)
            return block.until(end) - block.until(start)
        begun = self._block(first)
        whole = sum(self._block(number).total for number in range(first + 1, last))
        return begun.total - begun.until(start) + whole + self._block(last).until(end)

    def after(self, start: int, open_time: int) -> int:
        """Give the first moment by which `open_time` microseconds have been open since start.

        For 0 or less that is the start itself, open or not. With 09:00-17:00, Friday 16:30 and one hour give
        Monday 09:30, and half an hour gives Friday 17:00. Raises NeverOpenError where no open time comes.
        """
        if open_time <= 0:
            return start
        number = start // _BLOCK
        block = self._block(number)
        wanted = open_time + block.until(start)
        empty = 0
        while wanted > block.total:
            wanted -= block.total
            empty = 0 if block.total else empty + 1
            if empty > _EMPTY_BLOCKS:
                raise NeverOpenError("no open time for years: every day of this calendar is closed")
            number += 1
            block = self._block(number)
        index = bisect_left(block.before, wanted) - 1
        return block.starts[index] + wanted - block.before[index]

    def windows_on(self, day: date) -> tuple[Window, ...]:
        """Give the windows of a date, in wall-clock minutes; none where it is closed."""
        own = self.opened.get(day)
        if own:
            return own
        if day in self.closed or (self.holidays is not None and day in holidays_of(self.holidays, day.year)):
            return ()
        return self.week[day.weekday()]

    def is_ever_open(self) -> bool:
        """Tell whether any week of the known years has an open window that no holiday or closed date takes."""
        years = range(KNOWN_YEARS[0], KNOWN_YEARS[1])
        return any(
            self.windows_on(date.fromordinal(ordinal))
            for year in years
            for ordinal in range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal())
        )

    def content(self) -> dict[str, object]:
        """Give all that decides about open time, as JSON has it; equal for equal business time.

        The holidays are there as a digest of their dates in the known years, and so is the zone by its offsets: a
        new version of the holiday data, or of the tz database, changes it only where it moves a date or a clock.
        """
        days: bytes = b""
        if self.holidays is not None:
            known = (day for year in range(*KNOWN_YEARS) for day in sorted(holidays_of(self.holidays, year)))
            days = " ".join(day.isoformat() for day in known).encode()
        return {
            "zone": self.zone,
            "offsets": _offsets_digest(find_zone(self.zone)),
            "week": [[list(window) for window in windows] for windows in self.week],
            "holidays": blake2b(days, digest_size=16).hexdigest() if self.holidays is not None else None,
            "closed": sorted(day.isoformat() for day in self.closed),
            "open": {
                day.isoformat(): [list(window) for window in self.opened[day]] for day in sorted(self.opened)
            },
        }

    def _block(self, number: int) -> _Block:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._lay_out(number * _BLOCK, (number + 1) * _BLOCK)
        return block

    def _lay_out(self, since: int, until: int) -> _Block:
        starts: list[int] = []
        ends: list[int] = []
        before: list[int] = []
        total = 0
        for start, end in self._intervals(since, until):
            if ends and ends[-1] == start:  # 24:00 and 00:00 of the next day are one moment
                ends[-1] = end
            else:
                starts.append(start)
                ends.append(end)
                before.append(total)
            total += end - start
        return _Block(starts, ends, before, total)

    def _intervals(self, since: int, until: int) -> Iterator[tuple[int, int]]:
        """Iterate over the open intervals in [since, until), in order."""
        zone = find_zone(self.zone)
        cuts = _offset_changes(zone, since // _SECOND, until // _SECOND)
        for first, last in pairwise([since, *(cut * _SECOND for cut in cuts), until]):
            offset = _offset(zone, first // _SECOND) * _SECOND
            for day in range((first + offset) // _DAY, (last + offset - 1) // _DAY + 1):
                midnight = day * _DAY - offset
                for window in self.windows_on(date.fromordinal(_EPOCH + day)):
                    start = max(first, midnight + window.start * _MINUTE)
                    end = min(last, midnight + window.end * _MINUTE)
                    if start < end:
                        yield start, end


@dataclass(frozen=True)
class Calendars:
    """Which calendar holds for which team."""

    by_name: Mapping[str, Calendar] = field(default_factory=dict[str, Calendar])
    teams: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name of the calendar of each team that has one of its own."""
    default: str | None = None

    def for_team(self, team: str | None) -> Calendar | None:
        """Give the team's calendar, else the default one; None where there is neither."""
        name = self.teams.get(team, self.default) if team is not None else self.default
        return self.by_name[name] if name is not None else None

    def content(self) -> dict[str, object]:
        """Give all that decides about open time, as JSON has it."""
        return {
            "calendars": {name: self.by_name[name].content() for name in sorted(self.by_name)},
            "teams": dict(sorted(self.teams.items())),
            "default": self.default,
        }


def check_windows(windows: tuple[Window, ...]) -> None:
    """Raise CalendarError unless windows lie within a day, in order and apart from each other."""
    for window in windows:
        if not 0 <= window.start < window.end <= MINUTES_OF_A_DAY:
            raise CalendarError("a window ends after it starts, on the same day")
    for earlier, later in pairwise(windows):
        if later.start < earlier.end:
            raise CalendarError("the windows of a day follow each other and do not overlap")


@lru_cache(maxsize=256)
def find_zone(name: str) -> ZoneInfo:
    """Find a time zone by its IANA name. Raises CalendarError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CalendarError("unknown time zone; a name is such as Europe/Berlin") from None


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Give all IANA names that are known here."""
    return frozenset(available_timezones())


def check_holidays(code: str) -> None:
    """Raise CalendarError unless holidays of this code are known."""
    country, _, part = code.partition("-")
    known = holiday_codes()
    if country not in known:
        raise CalendarError("no holidays are known of this country; a code is such as DE, DE-BY or US-NY")
    if part and part not in known[country]:
        raise CalendarError(f"{country} has holidays, but no part {part}")


@lru_cache(maxsize=1)
def holiday_codes() -> Mapping[str, frozenset[str]]:
    """Give the countries whose holidays are known (ISO 3166-1) and their parts (ISO 3166-2)."""
    return {
        country: frozenset(parts)
        for country, parts in holiday_dates.list_supported_countries(include_aliases=False).items()
    }


@lru_cache(maxsize=8192)
def holidays_of(code: str, year: int) -> frozenset[date]:
    """Give the public holidays of a code in a year, days off in lieu included."""
    country, _, part = code.partition("-")
    return frozenset(
        holiday_dates.country_holidays(country, subdiv=part or None, years=year, expand=False).keys()
    )


@lru_cache(maxsize=256)
def _offsets_digest(zone: ZoneInfo) -> str:
    """Digest what the zone's clocks are ahead of UTC in the known years, and from when on."""
    since, until = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in KNOWN_YEARS)
    told = (f"{at}:{_offset(zone, at)}" for at in (since, *_offset_changes(zone, since, until)))
    return blake2b(" ".join(told).encode(), digest_size=16).hexdigest()


def _offset(zone: ZoneInfo, second: int) -> int:
    """Give what the wall clock is ahead of UTC, in whole seconds."""
    ahead = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
    return 0 if ahead is None else ahead.days * 86_400 + ahead.seconds


def _offset_changes(zone: ZoneInfo, since: int, until: int) -> list[int]:
    """Find the seconds within (since, until) from which another offset holds.

    Two changes within a day that cancel each other out would be missed; no zone has ever had them.
    """
    found: list[int] = []
    left, ahead = since, _offset(zone, since)
    while left < until:
        right = min(left + 86_400, until)
        then = _offset(zone, right)
        if then != ahead:
            low, high = left, right
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == ahead else (low, middle)
            if high < until:
                found.append(high)
        left, ahead = right, then
    return found
