from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cxloop_common.business_time import Calendar, CalendarError, Calendars, NeverOpenError, Window

MINUTE = 60_000_000
HOUR = 60 * MINUTE
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hours(*windows: str) -> tuple[Window, ...]:
    """Write windows as people do: `hours("09:00-12:30", "13:30-18:00")`."""
    return tuple(
        Window(*(int(clock[:2]) * 60 + int(clock[3:]) for clock in window.split("-"))) for window in windows
    )


OFFICE = hours("09:00-17:00")
BERLIN = Calendar("Europe/Berlin", (OFFICE,) * 5 + ((), ()))
BAVARIA = replace(BERLIN, holidays="DE-BY")
NEW_YORK = Calendar("America/New_York", (OFFICE,) * 5 + ((), ()), holidays="US-NY")
BREAKS = Calendar("Europe/Berlin", (hours("09:00-12:30", "13:30-18:00"),) * 5 + (hours("10:00-14:00"), ()))
ALWAYS = Calendar("Europe/Berlin", (hours("00:00-24:00"),) * 7)
NIGHT = Calendar("Europe/Berlin", (hours("00:00-06:00", "22:00-24:00"),) * 7)
NIGHT_NY = replace(NIGHT, zone="America/New_York")
SUNDAY_TWO = Calendar("Europe/Berlin", ((),) * 6 + (hours("02:00-03:00"),))
DECEMBER = replace(
    BAVARIA,
    closed=frozenset({date(2026, 12, 24), date(2026, 12, 31)}),
    opened={date(2026, 12, 19): hours("10:00-16:00"), date(2026, 12, 26): hours("12:00-13:00")},
)


def moment(text: str) -> int:
    """Read an ISO time with its offset as microseconds."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("calendar", "start", "end", "minutes"),
    [
        pytest.param(BERLIN, "2026-03-06T16:30+01:00", "2026-03-09T09:30+01:00", 60, id="over a weekend"),
        pytest.param(BERLIN, "2026-03-06T17:00+01:00", "2026-03-09T09:00+01:00", 0, id="a weekend alone"),
        pytest.param(BERLIN, "2026-03-06T12:00+01:00", "2026-03-06T11:00+01:00", 0, id="end before start"),
        pytest.param(BREAKS, "2026-03-06T12:00+01:00", "2026-03-06T14:00+01:00", 60, id="over a break"),
        pytest.param(BREAKS, "2026-03-06T12:30+01:00", "2026-03-06T13:30+01:00", 0, id="a break alone"),
        pytest.param(BREAKS, "2026-03-02T00:00+01:00", "2026-03-09T00:00+01:00", 44 * 60, id="a week"),
        pytest.param(ALWAYS, "2026-03-06T23:30+01:00", "2026-03-07T00:30+01:00", 60, id="24:00 meets 00:00"),
        pytest.param(NIGHT, "2026-03-06T21:00+01:00", "2026-03-07T07:00+01:00", 480, id="over midnight"),
        pytest.param(BAVARIA, "2026-04-02T16:00+02:00", "2026-04-07T10:00+02:00", 120, id="Easter"),
        pytest.param(
            BERLIN, "2026-04-02T16:00+02:00", "2026-04-07T10:00+02:00", 1080, id="Easter, no holidays"
        ),
        pytest.param(
            BAVARIA, "2026-01-06T00:00+01:00", "2026-01-07T00:00+01:00", 0, id="Epiphany in Bavaria"
        ),
        # 4 July 2026 is a Saturday, so the Friday is off.
        pytest.param(NEW_YORK, "2026-07-02T16:00-04:00", "2026-07-06T10:00-04:00", 120, id="day in lieu"),
        pytest.param(NEW_YORK, "2026-11-26T00:00-05:00", "2026-11-27T00:00-05:00", 0, id="Thanksgiving"),
        pytest.param(DECEMBER, "2026-12-24T00:00+01:00", "2026-12-25T00:00+01:00", 0, id="closed by hand"),
        pytest.param(DECEMBER, "2026-12-19T00:00+01:00", "2026-12-20T00:00+01:00", 360, id="open Saturday"),
        pytest.param(
            DECEMBER, "2026-12-26T00:00+01:00", "2026-12-27T00:00+01:00", 60, id="open on a holiday"
        ),
        # Berlin, 29 March 2026: 02:00 becomes 03:00. 25 October: 03:00 becomes 02:00.
        pytest.param(ALWAYS, "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", 23 * 60, id="Berlin spring"),
        pytest.param(ALWAYS, "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00", 25 * 60, id="Berlin autumn"),
        pytest.param(NIGHT, "2026-03-28T22:00+01:00", "2026-03-29T06:00+02:00", 420, id="Berlin short night"),
        pytest.param(NIGHT, "2026-10-24T22:00+02:00", "2026-10-25T06:00+01:00", 540, id="Berlin long night"),
        pytest.param(SUNDAY_TWO, "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", 0, id="in the gap"),
        pytest.param(SUNDAY_TWO, "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00", 120, id="in the fold"),
        # New York, 8 March 2026 and 1 November 2026.
        pytest.param(NIGHT_NY, "2026-03-07T22:00-05:00", "2026-03-08T06:00-04:00", 420, id="New York spring"),
        pytest.param(NIGHT_NY, "2026-10-31T22:00-04:00", "2026-11-01T06:00-05:00", 540, id="New York autumn"),
    ],
)
def test_open_time_between_two_moments(calendar: Calendar, start: str, end: str, minutes: int) -> None:
    assert calendar.between(moment(start), moment(end)) == minutes * MINUTE


@pytest.mark.parametrize(
    ("calendar", "start", "minutes", "end"),
    [
        pytest.param(BERLIN, "2026-03-06T16:30+01:00", 60, "2026-03-09T09:30+01:00", id="over a weekend"),
        pytest.param(BERLIN, "2026-03-06T16:30+01:00", 30, "2026-03-06T17:00+01:00", id="to the very end"),
        pytest.param(
            BERLIN, "2026-03-07T12:00+01:00", 1, "2026-03-09T09:01+01:00", id="from a closed moment"
        ),
        pytest.param(BERLIN, "2026-03-07T12:00+01:00", 0, "2026-03-07T12:00+01:00", id="no time at all"),
        pytest.param(BREAKS, "2026-03-06T12:15+01:00", 30, "2026-03-06T13:45+01:00", id="over a break"),
        pytest.param(BAVARIA, "2026-04-02T16:00+02:00", 90, "2026-04-07T09:30+02:00", id="Easter"),
        pytest.param(NEW_YORK, "2026-07-02T16:00-04:00", 90, "2026-07-06T09:30-04:00", id="day in lieu"),
        pytest.param(NIGHT, "2026-03-29T01:30+01:00", 60, "2026-03-29T03:30+02:00", id="Berlin spring"),
        pytest.param(NIGHT, "2026-10-25T01:30+02:00", 90, "2026-10-25T02:00+01:00", id="Berlin autumn"),
        pytest.param(NIGHT_NY, "2026-03-08T01:30-05:00", 60, "2026-03-08T03:30-04:00", id="New York spring"),
        pytest.param(NIGHT_NY, "2026-11-01T00:30-04:00", 120, "2026-11-01T01:30-05:00", id="New York autumn"),
        pytest.param(BERLIN, "2026-01-01T00:00+01:00", 40 * 60 * 300, "2031-10-01T17:00+02:00", id="years"),
    ],
)
def test_when_some_open_time_is_over(calendar: Calendar, start: str, minutes: int, end: str) -> None:
    assert calendar.after(moment(start), minutes * MINUTE) == moment(end)


def walked(calendar: Calendar, start: int, end: int, closed: frozenset[date]) -> int:
    """Count open minutes one by one, from what the wall clock reads at each."""
    zone = ZoneInfo(calendar.zone)
    count = 0
    for now in range(start, end, MINUTE):
        wall = (EPOCH + timedelta(microseconds=now)).astimezone(zone)
        windows = calendar.week[wall.weekday()]
        if wall.date() in calendar.opened:
            windows = calendar.opened[wall.date()]
        elif wall.date() in closed:
            continue
        reads = wall.hour * 60 + wall.minute
        count += any(first <= reads < last for first, last in windows)
    return count * MINUTE


def _windows(marks: list[int]) -> tuple[Window, ...]:
    ordered = sorted(set(marks))
    return tuple(Window(a, b) for a, b in zip(ordered[::2], ordered[1::2], strict=False))


days = st.lists(st.integers(0, 96).map(lambda quarter: quarter * 15), max_size=6).map(_windows)
weeks = st.tuples(*[days] * 7).filter(any)
# Both hemispheres, a half-hour change, a zone without changes and one off the hour.
zones = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata", "UTC"]
)
near_changes = st.sampled_from(
    [
        moment(f"{day}T00:00+00:00")
        for day in ("2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-09-06")
    ]
)
some_dates = st.sets(st.dates(date(2026, 3, 1), date(2026, 11, 5)), max_size=40)


@st.composite
def calendars_with_dates(draw: st.DrawFn) -> Calendar:
    dates = sorted(draw(some_dates))
    own = draw(days.filter(bool))
    return Calendar(
        draw(zones), draw(weeks), closed=frozenset(dates[::2]), opened=dict.fromkeys(dates[1::2], own)
    )


@given(calendars_with_dates(), near_changes, st.integers(-2880, 2880), st.integers(0, 5760))
@example(ALWAYS, moment("2026-10-25T00:00+00:00"), -60, 2880)
@example(NIGHT_NY, moment("2026-03-08T00:00+00:00"), -60, 2880)
def test_open_time_is_what_a_walk_over_every_minute_counts(
    calendar: Calendar, around: int, shift: int, length: int
) -> None:
    start = around + shift * MINUTE
    end = start + length * MINUTE
    assert calendar.between(start, end) == walked(calendar, start, end, calendar.closed)


@given(zones, weeks, st.integers(0, 10**15), st.integers(1, 10**13), st.integers(0, 10**13))
def test_open_time_adds_up_and_after_undoes_between(
    zone: str, week: tuple[tuple[Window, ...], ...], start: int, open_time: int, more: int
) -> None:
    calendar = Calendar(zone, week)
    # A few minutes a week would take the open time asked for beyond the years that dates have.
    assume(sum(last - first for day in week for first, last in day) >= 60)
    due = calendar.after(start, open_time)
    assert calendar.between(start, due) == open_time
    assert calendar.between(start, due - 1) == open_time - 1
    end = due + more
    assert calendar.between(start, end) == open_time + calendar.between(due, end)


@given(st.integers(0, 60), st.integers(1, 4000))
def test_around_the_clock_open_time_is_time(number: int, length: int) -> None:
    # Starts and lengths are multiples of what a calendar lays out at a time, so that its seams are met.
    clock = Calendar("UTC", (hours("00:00-24:00"),) * 7)
    start, span = number * 512 * 24 * HOUR, length * 128 * 24 * HOUR // 100 * 4
    assert clock.after(start, span) == start + span
    assert clock.between(start, start + span) == span
    end = start + 512 * 24 * HOUR
    assert clock.after(start, end - start) == end
    last_close = BERLIN.after(start, BERLIN.between(start, end))
    assert end - 4 * 24 * HOUR < last_close <= end


def test_a_year_of_walked_holidays_is_a_year_of_holidays() -> None:
    bavaria_2026 = frozenset(
        {
            *(date(2026, 1, 1), date(2026, 1, 6), date(2026, 4, 3), date(2026, 4, 6), date(2026, 5, 1)),
            *(date(2026, 5, 14), date(2026, 5, 25), date(2026, 6, 4), date(2026, 10, 3), date(2026, 11, 1)),
            *(date(2026, 12, 25), date(2026, 12, 26)),
        }
    )
    # Assumption Day is a holiday only in the Catholic parts of Bavaria, and a Saturday in 2026.
    since, until = moment("2026-01-01T00:00+01:00"), moment("2027-01-01T00:00+01:00")
    for first in range(since, until, 8 * 24 * HOUR):
        last = min(first + 8 * 24 * HOUR, until)
        assert BAVARIA.between(first, last) == walked(BAVARIA, first, last, bavaria_2026)


def test_a_span_over_many_years_is_the_sum_of_its_years() -> None:
    years = [moment(f"{year}-01-01T00:00+00:00") for year in range(2010, 2030)]
    parts = [BAVARIA.between(first, last) for first, last in pairwise(years)]
    assert BAVARIA.between(years[0], years[-1]) == sum(parts)
    assert BAVARIA.after(years[0], sum(parts)) <= years[-1]


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (lambda: Calendar("Europe/Berlin", ((),) * 7), "never open"),
        (lambda: Calendar("Europe/Berlin", (OFFICE,)), "seven days"),
        (lambda: Calendar("Europe/Berlin", ((Window(600, 600),),) * 7), "ends after it starts"),
        (lambda: Calendar("Europe/Berlin", ((Window(600, 1441),),) * 7), "ends after it starts"),
        (lambda: Calendar("Europe/Berlin", ((Window(600, 700), Window(699, 800)),) * 7), "do not overlap"),
        (lambda: Calendar("Europe/Berlln", (OFFICE,) * 7), "unknown time zone"),
        (lambda: Calendar("../etc/passwd", (OFFICE,) * 7), "unknown time zone"),
        (lambda: replace(BERLIN, holidays="QQ"), "of this country"),
        (lambda: replace(BERLIN, holidays="DE-ZZ"), "no part ZZ"),
        (lambda: replace(BERLIN, opened={date(2026, 12, 19): ()}), "open date has a window"),
        (lambda: replace(DECEMBER, closed=frozenset({date(2026, 12, 19)})), "both open and closed"),
    ],
)
def test_a_calendar_that_cannot_be_says_why(faulty: Callable[[], Calendar], reason: str) -> None:
    with pytest.raises(CalendarError, match=reason):
        faulty()


def test_a_calendar_whose_every_date_is_closed_is_never_open_and_says_so() -> None:
    sundays = frozenset(
        day
        for ordinal in range(date(1999, 1, 1).toordinal(), date(2060, 1, 1).toordinal())
        if (day := date.fromordinal(ordinal)).weekday() == 6
    )
    calendar = Calendar("Europe/Berlin", ((),) * 6 + (OFFICE,), closed=sundays)
    assert not calendar.is_ever_open()
    assert BAVARIA.is_ever_open()
    with pytest.raises(NeverOpenError):
        calendar.after(moment("2026-03-06T16:30+01:00"), HOUR)


def test_a_team_without_a_calendar_of_its_own_has_the_default_one() -> None:
    calendars = Calendars({"de": BERLIN, "ny": NEW_YORK}, {"us-care": "ny"}, "de")
    assert calendars.for_team("us-care") is NEW_YORK
    assert calendars.for_team("care") is BERLIN
    assert calendars.for_team(None) is BERLIN
    assert Calendars({"ny": NEW_YORK}, {"us-care": "ny"}).for_team("care") is None
    assert Calendars().for_team(None) is None


def test_the_content_of_a_calendar_tells_what_decides_about_open_time() -> None:
    assert BAVARIA.content() == replace(BAVARIA).content()
    variants = [
        BERLIN, BAVARIA, BREAKS, NEW_YORK, DECEMBER,
        replace(BAVARIA, holidays="DE-BE"), replace(BAVARIA, zone="Europe/Paris"),
        replace(DECEMBER, closed=frozenset()), replace(DECEMBER, opened={}),
    ]  # fmt: skip
    contents = [str(variant.content()) for variant in variants]
    assert len(set(contents)) == len(contents)
