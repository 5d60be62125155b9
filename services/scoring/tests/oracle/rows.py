"""What the oracle counts: one row for each value that a document adds to a metric."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
LOW, MIDDLE, HIGH = range(3)

NPS, CSAT, CES, VOLUME, FIRST_RESPONSE, FIRST_RESOLUTION, FULL_RESOLUTION, REOPENED = range(1, 9)
CES_V1, RESPONSE_RATE, SEND_UNLINKED, NEXT_RESPONSE, FIRST_CONTACT, CONTACT, HANDOFFS, ESCALATED = range(
    9, 17
)
HANDLE_TIME, SLA_BREACH, BACKLOG, SENTIMENT, LIFECYCLE, CASE_OPENED, CASE_CLOSED, CASE_CONTACTED = range(
    17, 25
)
MERGED_AWAY, CUSTOMER_VALUE = 25, 26
BUSINESS_TWINS = {FIRST_RESPONSE: 30, NEXT_RESPONSE: 31, FIRST_RESOLUTION: 32, FULL_RESOLUTION: 33}
SCORES = frozenset({NPS, CSAT, CES, CES_V1})


def micros(at: datetime) -> int:
    """Give whole microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """Give the time of `micros`."""
    return EPOCH + timedelta(microseconds=at)


class Row(NamedTuple):
    """One value; in the ledger's unit: milliseconds, hundredths of a point, minor units, or a count."""

    document: str
    metric: int
    value: int
    band: int | None
    at: int
    customer: str | None
    """Best-ranked identifier of the document, as text."""
    dimensions: frozenset[tuple[str, str]]

    def dimension(self, name: str) -> str | None:
        """Give the one value of a dimension that has at most one."""
        return next((value for key, value in self.dimensions if key == name), None)


def filed(said: Mapping[str, str | None], tags: Iterable[str] = ()) -> frozenset[tuple[str, str]]:
    """Give what a row is filed under: what was said last, without what was cleared."""
    named = {(name, value) for name, value in said.items() if value}
    return frozenset(named | {("tag", tag) for tag in tags if tag})
