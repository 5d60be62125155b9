"""Instants: microseconds since 1970 in UTC inside, aware datetimes and RFC 3339 at the borders."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE: Final = EPOCH.replace(tzinfo=None)


def microseconds(at: datetime) -> int:
    """Give an aware time as microseconds since 1970, exactly."""
    since = at - EPOCH
    return since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds


def instant(at: int) -> datetime:
    """Give microseconds since 1970 as an aware time in UTC."""
    return EPOCH + timedelta(0, 0, at)


def rfc3339_of(at: int) -> str:
    """Render microseconds since 1970 in UTC with a `Z`."""
    return (_EPOCH_WITHOUT_ZONE + timedelta(0, 0, at)).isoformat() + "Z"
