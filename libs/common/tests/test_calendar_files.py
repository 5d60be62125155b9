from datetime import date
from pathlib import Path

import pytest

from cxloop_common.business_time import Calendar, Calendars, Window
from cxloop_common.configuration.calendars import parse_calendars
from cxloop_common.configuration.files import read_source
from cxloop_common.configuration.reading import FaultyFilesError, Problem, Source

EXAMPLE = Path(__file__).parents[3] / "deploy/config/calendars.yaml"
DAY = (Window(540, 1020),)


def parse(text: str) -> Calendars:
    return parse_calendars(Source("calendars.yaml", text))


def faults(text: str) -> list[str]:
    with pytest.raises(FaultyFilesError) as raised:
        parse(text)
    return str(raised.value).splitlines()


def calendar(more: str, week: str = "{mon: '09:00-17:00'}") -> str:
    return f"calendars:\n  de: {{zone: Europe/Berlin, week: {week}{more}}}\n"


def test_the_example_tells_each_team_its_hours() -> None:
    problems: list[Problem] = []
    calendars = parse_calendars(read_source(EXAMPLE, problems))
    assert not problems
    office, phones = calendars.for_team("care"), calendars.for_team("phone-us")
    assert office is calendars.for_team(None)
    assert office is not None
    assert phones is not None
    assert (office.zone, office.holidays) == ("Europe/Berlin", "DE-BE")
    assert office.windows_on(date(2026, 11, 23)) == (Window(540, 750), Window(810, 1080))
    assert office.windows_on(date(2026, 12, 19)) == (Window(600, 960),)
    assert [office.windows_on(date(2026, 12, day)) for day in (24, 25, 28, 29, 30, 31)] == [()] * 6
    assert phones.windows_on(date(2026, 11, 26)) == ()
    assert phones.windows_on(date(2026, 11, 28)) == (Window(600, 960),)


@pytest.mark.parametrize(
    ("week", "expected"),
    [
        ("{mon-fri: '09:00-17:00'}", (DAY,) * 5 + ((), ())),
        ("{sun-thu: ['09:00-17:00']}", (DAY,) * 4 + ((), (), DAY)),
        ("{sat: 00:00 - 24:00}", ((),) * 5 + ((Window(0, 1440),), ())),
        ("{fri-mon: '09:00-17:00', tue: []}", (DAY, (), (), (), DAY, DAY, DAY)),
    ],
)
def test_a_week_may_be_written_by_days_and_by_ranges(week: str, expected: tuple[tuple[Window, ...]]) -> None:
    assert parse(calendar("", week)).by_name["de"].week == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "calendars.yaml:1:1: the file is empty"),
        ("calendars: {}", "calendars.yaml:1:12: calendars: there is no calendar"),
        (calendar("") + "team: {}", "calendars.yaml:3:1: team: unknown key 'team'; did you mean teams?"),
        ("calendars: {de: {zone: UTC}}", "calendars.yaml:1:17: calendars.de: week is missing"),
        (
            "calendars: {de: {zone: Europe/Berlln, week: {mon: 09:00-17:00}}}",
            "calendars.yaml:1:24: calendars.de.zone: unknown time zone 'Europe/Berlln'; did you mean Europe/Berlin?",
        ),
        (
            calendar(", holidays: DE-BB1"),
            "calendars.yaml:2:67: calendars.de.holidays: unknown holidays 'DE-BB1'; did you mean DE-BB?",
        ),
        (
            calendar("", "{mond: 09:00-17:00}"),
            "calendars.yaml:2:42: calendars.de.week.mond: unknown day of the week 'mond'; did you mean mon?",
        ),
        (calendar("", "{mon: 9-17}"), "calendars.de.week.mon: expected hours such as 09:00-17:00"),
        (calendar("", "{mon: 22:00-06:00}"), "a night is two windows"),
        (calendar("", "{mon: 09:00-24:01}"), "calendars.de.week.mon: expected hours"),
        (calendar("", "{mon: 09:60-17:00}"), "calendars.de.week.mon: expected hours"),
        (calendar("", "{mon: [09:00-12:00, 11:00-17:00]}"), "follow each other and do not overlap"),
        (calendar("", "{mon-wed: 09:00-17:00, tue: []}"), "calendars.de.week.tue: tue stands twice"),
        (calendar("", "{}"), "calendars.de.week: never open: no day of the week has a window"),
        (calendar(", closed: [2026-02-30]"), "calendars.de.closed[0]: expected a date"),
        (calendar(", closed: [2026-12-24..2026-12-01]"), "calendars.de.closed[0]: expected a date"),
        (calendar(", open: {2026-02-30: 09:00-10:00}"), "expected a date that exists"),
        (calendar(", open: {2026-02-03: []}"), "one without any stands under closed"),
        (calendar(", closed: [2026-02-03], open: {2026-02-03: 09:00-10:00}"), "2026-02-03 stands under open as well"),
        (calendar("") + "default: dee\n", "calendars.yaml:3:10: default: unknown calendar 'dee'; did you mean de?"),
        (calendar("") + "teams: {care: at}\n", "calendars.yaml:3:15: teams.care: unknown calendar 'at'"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_place_path_and_nearest_name(text: str, expected: str) -> None:
    found = faults(text)
    assert len(found) == 1
    assert expected in found[0]


def test_all_faults_of_a_file_come_at_once() -> None:
    assert [fault.split(": ", 1)[0] for fault in faults(
        "calendars:\n"
        "  de: {zone: Berlin, week: {mon: early}}\n"
        "  us: {zone: America/New_York, week: {tues: 09:00-17:00}, holidays: USA}\n"
        "default: uk\n"
    )] == [f"calendars.yaml:{place}" for place in ("2:14", "2:34", "3:45", "3:69", "4:10")]  # fmt: skip


def test_a_calendar_whose_holidays_take_every_day_of_its_week_is_a_fault() -> None:
    years = ", ".join(f"{year}-01-01..{year}-12-31" for year in range(2000, 2050))
    (found,) = faults(calendar(f", closed: [{years}]"))
    assert "never open: holidays and closed dates take every day of it" in found


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"caf\xe9")
    problems: list[Problem] = []
    assert read_source(tmp_path / "none.yaml", problems).text == ""
    assert read_source(tmp_path / "latin.yaml", problems).text == ""
    assert [problem.reason for problem in problems] == [
        "cannot be read: No such file or directory",
        "is not UTF-8 text",
    ]


def test_two_files_that_mean_the_same_have_the_same_content() -> None:
    one = parse(calendar(", closed: [2026-12-24, 2026-12-25]", "{mon-tue: 09:00-17:00}"))
    two = parse(calendar(", closed: [2026-12-24..2026-12-25]", "{tue: ['09:00-17:00'], mon: '09:00-17:00'}"))
    assert one.content() == two.content()
    assert isinstance(one.by_name["de"], Calendar)
    assert one.content() != parse(calendar("")).content()
