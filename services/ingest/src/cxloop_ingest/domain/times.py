"""The times senders write: nine-digit fractions, epoch seconds or milliseconds, offsets, no zone at all."""

import math
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Literal

from cxloop_ingest.domain.reading import Reason, UnreadableError

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST_AHEAD: Final = timedelta(hours=24)
"""How far an event may lie after its delivery: a day covers every wrong time zone."""
_MILLISECONDS_FROM: Final = 1e11
"""As seconds this would be the year 5138; as milliseconds it is 1973."""

Unit = Literal["s", "ms"]


def parse_time(value: Any, zone: tzinfo | None = None, unit: Unit | None = None) -> datetime:
    """Read a sender's time and give it in UTC; digits beyond microseconds are cut off.

    Numbers are epoch seconds, or milliseconds from 1e11 on or where `unit` says so. A text without an offset
    is read in `zone`. Raises UnreadableError.
    """
    if isinstance(value, bool) or value is None:
        raise UnreadableError(Reason.TIME_UNREADABLE, "a time is missing or empty")
    if isinstance(value, int | float):
        return _from_epoch(float(value), unit)
    if not isinstance(value, str) or not value.strip():
        raise UnreadableError(Reason.TIME_UNREADABLE, "a time is neither a number nor a text")
    written = value.strip()
    if (number := _number(written)) is not None:
        return _from_epoch(number, unit)
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise UnreadableError(Reason.TIME_UNREADABLE, "a time is not ISO 8601") from None
    if at.tzinfo is None:
        if zone is None:
            raise UnreadableError(Reason.TIME_WITHOUT_ZONE, "a time has no zone; give the source a time_zone")
        at = at.replace(tzinfo=zone)
    try:
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnreadableError(Reason.TIME_UNREADABLE, "a time is out of range") from None


def _number(written: str) -> float | None:
    # Nine digits and more: shorter ones are dates without separators, which fromisoformat reads.
    digits = written.replace(".", "", 1)
    if len(digits) > len("20260306") and digits.isascii() and digits.isdigit():
        return float(written)
    return None


def _from_epoch(number: float, unit: Unit | None) -> datetime:
    if not math.isfinite(number):
        raise UnreadableError(Reason.TIME_UNREADABLE, "a time is not a finite number")
    if unit == "ms" or (unit is None and abs(number) >= _MILLISECONDS_FROM):
        number /= 1000
    try:
        return datetime.fromtimestamp(number, UTC)
    except (ValueError, OverflowError, OSError):
        raise UnreadableError(Reason.TIME_UNREADABLE, "a time is out of range") from None


def check_time(at: datetime, received_at: datetime) -> None:
    """Raise UnreadableError for a time before 2000 or more than 24 h after the delivery was received."""
    if at < EARLIEST:
        raise UnreadableError(Reason.TIME_BEFORE_2000, "a time lies before the year 2000")
    if at > received_at + LATEST_AHEAD:
        raise UnreadableError(Reason.TIME_IN_THE_FUTURE, "a time lies more than 24 h after the delivery")
