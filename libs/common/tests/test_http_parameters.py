"""Windows, instants, cursors and ETags."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxloop_common.http import (
    Problem,
    check_if_match,
    decode_cursor,
    encode_cursor,
    etag,
    json_pointer,
    parse_instant,
    parse_window,
)


@pytest.mark.parametrize(
    ("text", "window"),
    [("15m", timedelta(minutes=15)), ("24h", timedelta(hours=24)), ("90d", timedelta(days=90))],
)
def test_a_window_is_a_number_and_a_unit(text: str, window: timedelta) -> None:
    assert parse_window(text) == window


@pytest.mark.parametrize(
    "text",
    ["", "0d", "-1d", "7", "d", "1.5h", "7 d", "7D", "1w", "9999999d", "٧d", "3661d", "1d\n"],  # noqa: RUF001 - digits of another script
)
def test_any_other_window_gets_400(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_window(text)
    assert caught.value.status == 400
    assert caught.value.errors[0]["parameter"] == "window"


def test_a_window_can_be_bounded() -> None:
    assert parse_window("90d", longest=timedelta(days=90)).days == 90
    with pytest.raises(Problem, match="400"):
        parse_window("91d", longest=timedelta(days=90))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-06T16:30:00Z", datetime(2026, 3, 6, 16, 30, tzinfo=UTC)),
        ("2026-03-06t16:30:00.5z", datetime(2026, 3, 6, 16, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-03-06 18:30:00+02:00", datetime(2026, 3, 6, 16, 30, tzinfo=UTC)),
        ("2026-03-06T16:30:00.123456789Z", datetime(2026, 3, 6, 16, 30, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_into_utc(text: str, instant: datetime) -> None:
    assert parse_instant(text) == instant
    assert parse_instant(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-03-06",
        "2026-03-06T16:30:00",
        "2026-03-06T16:30Z",
        "2026-02-30T00:00:00Z",
        "2026-03-06T16:30:60Z",
        "2026-03-06T16:30:00 02:00",
        "2026-W10-5T16:30:00Z",
        "0001-01-01T00:00:00+23:59",
        "1772814600",
    ],
)
def test_any_other_instant_gets_400(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_instant(text, parameter="as_of")
    assert caught.value.status == 400
    assert caught.value.errors[0]["parameter"] == "as_of"


def test_a_plus_lost_in_a_url_is_explained() -> None:
    with pytest.raises(Problem) as caught:
        parse_instant("2026-03-06T16:30:00 02:00")
    assert "%2B" in str(caught.value.detail)


@given(st.integers(-(2**63), 2**63), st.text(), st.datetimes(timezones=st.just(UTC)))
def test_a_cursor_round_trips_its_position(number: int, text: str, at: datetime) -> None:
    cursor = encode_cursor([at, number, text, None], "cases")
    if len(cursor) <= 1024:
        assert decode_cursor(cursor, "cases", datetime, int, str, type(None)) == (at, number, text, None)


def test_a_cursor_of_other_types_or_another_list_gets_400() -> None:
    cursor = encode_cursor([7, "a"], "cases")
    for listing, types in (("cases", (str, str)), ("cases", (int,)), ("signals", (int, str))):
        with pytest.raises(Problem, match="400"):
            decode_cursor(cursor, listing, *types)


@given(st.text())
def test_no_text_breaks_the_cursor(text: str) -> None:
    with pytest.raises(Problem, match="400"):
        decode_cursor(text, "cases", int)


def test_an_etag_matches_itself() -> None:
    check_if_match(etag(7), 7, required=True)
    check_if_match(None, 7)


def test_a_pointer_escapes_what_rfc_6901_asks() -> None:
    assert json_pointer(["a/b", 0, "m~n"]) == "/a~1b/0/m~0n"
    assert json_pointer([]) == ""
