"""Steps of series follow the calendar of a time zone."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.steps import STEPS, StepRefused, cut, near_zones, zone_of
from cxloop_scoring.domain.windows import DAY, HOUR, Span

BERLIN = ZoneInfo("Europe/Berlin")


def window(since: str, until: str, zone: ZoneInfo = BERLIN) -> Span:
    """Read local times."""
    times = [datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC) for text in (since, until)]
    return Span(microseconds(times[0]), microseconds(times[1]))


def local(spans: tuple[Span, ...] | StepRefused, zone: ZoneInfo = BERLIN) -> list[str]:
    """Write where each span begins, and where the last one ends, as local times."""
    assert not isinstance(spans, StepRefused)
    edges = [*(span.since for span in spans), spans[-1].until]
    return [instant(edge).astimezone(zone).strftime("%m-%d %H:%M") for edge in edges]


def test_days_begin_at_local_midnight_and_the_ends_are_cut_to_the_window() -> None:
    spans = cut(window("2026-03-28 15:30", "2026-03-31 06:00"), STEPS["1d"], BERLIN, 100)
    assert local(spans) == ["03-28 15:30", "03-29 00:00", "03-30 00:00", "03-31 00:00", "03-31 06:00"]
    assert not isinstance(spans, StepRefused)
    assert spans[1].until - spans[1].since == 23 * HOUR


@pytest.mark.parametrize(("day", "after", "hours"), [("03-29", "03-30", 23), ("10-25", "10-26", 25)])
def test_a_day_of_the_clock_change_has_as_many_hours_as_pass(day: str, after: str, hours: int) -> None:
    whole = window(f"2026-{day} 00:00", f"2026-{after} 00:00")
    assert whole.until - whole.since == hours * HOUR
    spans = cut(whole, STEPS["1h"], BERLIN, 100)
    assert not isinstance(spans, StepRefused)
    assert [span.until - span.since for span in spans] == [HOUR] * hours
    assert local(cut(whole, STEPS["6h"], BERLIN, 100)) == [
        *(f"{day} {hour:02}:00" for hour in (0, 6, 12, 18)),
        f"{after} 00:00",
    ]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    spans = cut(window("2026-03-05 12:00", "2026-04-02 00:00"), STEPS["1w"], BERLIN, 100)
    assert local(spans)[1:-1] == ["03-09 00:00", "03-16 00:00", "03-23 00:00", "03-30 00:00"]
    spans = cut(window("2025-12-31 23:00", "2026-03-01 00:00"), STEPS["1mo"], BERLIN, 100)
    assert local(spans) == ["12-31 23:00", "01-01 00:00", "02-01 00:00", "03-01 00:00"]


def test_a_midnight_that_the_clock_skips_is_the_moment_of_the_change() -> None:
    cairo = ZoneInfo("Africa/Cairo")
    spans = cut(window("2026-04-23 12:00", "2026-04-25 12:00", cairo), STEPS["1d"], cairo, 100)
    assert local(spans, cairo) == ["04-23 12:00", "04-24 01:00", "04-25 00:00", "04-25 12:00"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"])
@pytest.mark.parametrize("step", list(STEPS))
def test_steps_leave_nothing_out_and_never_overlap(zone: str, step: str) -> None:
    tz = ZoneInfo(zone)
    since = microseconds(datetime(2011, 12, 25, 7, 13, 5, 1, tzinfo=UTC))  # Apia skips 30 December 2011
    whole = Span(since, since + 40 * DAY + 12345)
    spans = cut(whole, STEPS[step], tz, 1_000_000)
    assert not isinstance(spans, StepRefused)
    assert (spans[0].since, spans[-1].until) == whole
    assert all(one.until == other.since for one, other in pairwise(spans))
    assert all(span.since < span.until for span in spans)
    assert max(span.until - span.since for span in spans) <= STEPS[step].length + 3 * DAY + HOUR


def test_a_step_that_does_not_fit_is_refused_by_name() -> None:
    year = window("2026-01-01 00:00", "2027-01-01 00:00")
    assert cut(year, STEPS["1h"], BERLIN, 2000) is StepRefused.TOO_MANY_POINTS
    assert cut(year, STEPS["5m"], BERLIN, 100_000) is StepRefused.TOO_MANY_POINTS
    assert cut(year, STEPS["1d"], BERLIN, 364) is StepRefused.TOO_MANY_POINTS
    assert not isinstance(cut(year, STEPS["1d"], BERLIN, 365), StepRefused)
    assert cut(Span(0, DAY), STEPS["1w"], BERLIN, 100) is StepRefused.LONGER_THAN_WINDOW


@pytest.mark.parametrize(
    ("meant", "offered"),
    [
        ("Berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("", "UTC"),
    ],
)
def test_a_zone_that_is_not_there_is_answered_with_near_names(meant: str, offered: str) -> None:
    assert zone_of(meant) is None
    assert offered in near_zones(meant)


def test_a_zone_name_never_leads_to_a_file() -> None:
    for name in ("../../etc/passwd", "/etc/passwd", "Europe", "posixrules", "localtime", "Europe/Berlin\x00"):
        assert zone_of(name) is None
