"""Observations in force, page by page in order of time."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.windows import BEGINNING
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.sums import Parameters, Reading, conditions, ledger_rows

Position = tuple[datetime, str, int, int]
"""Time, document, metric number and value of a page's last observation."""

LEDGER_COLUMNS: Final = ("document", "value", "band", "at", "customer", *COLUMNS, "more")
SPARE_ROWS: Final = 16
_MICROSECOND: Final = timedelta(microseconds=1)


class ListedRow(NamedTuple):
    """One observation as the ledger has it."""

    metric: int
    document: str
    value: int
    band: int | None
    at: datetime
    customer: int | None
    columns: tuple[int | None, ...]
    """Value ids of the columns."""
    more: tuple[int, ...]
    """Value ids of tags and declared dimensions."""

    @property
    def position(self) -> Position:
        """Give the place in the order of a list."""
        return self.at, self.document, self.metric, self.value

    def filed(self, column: str) -> int | None:
        """Give the value id of a column."""
        return self.columns[COLUMNS.index(column)]


Rows = dict[ListedRow, int]
"""Observations in force, and how often each is."""


Narrowing: TypeAlias = Callable[[Parameters], str]
"""Writes a condition on single ledger rows `l`, which holds for a withdrawal where it does for what it withdraws."""


def page_of(rows: Rows, limit: int) -> tuple[list[tuple[ListedRow, int]], bool]:
    """Put rows in order, cut a page, and tell whether there are more.

    It is longer than `limit` where observations that differ in their dimensions alone stand at its end.
    """
    ordered = sorted(rows, key=lambda row: (row.position, str(row[3:])))
    end = limit
    while 0 < end < len(ordered) and ordered[end - 1].position == ordered[end].position:
        end += 1
    return [(row, rows[row]) for row in ordered[:end]], len(ordered) > end


async def in_force(
    connection: Connection,
    reading: Reading,
    number: int,
    limit: int,
    after: Position | None,
    *,
    narrowing: Narrowing | None = None,
) -> Rows:
    """Read a metric's observations in force from a position on, more than `limit` where there are that many.

    The index gives rows in order of time, so a page costs what it holds, however long the window is. Withdrawals
    stand at the time of what they withdraw: once all rows of one time are read, they are netted.
    """
    (span,) = reading.spans
    since, until = instant(max(BEGINNING, span.since)), instant(span.until)
    if after is not None:
        since = max(since, after[0])
    rows: Rows = {}
    chunk = limit + SPARE_ROWS
    while True:
        parameters = Parameters([number, since, until, chunk])
        names = ", ".join(f"l.{name}" for name in LEDGER_COLUMNS)
        narrowed = "" if narrowing is None else f"AND {narrowing(parameters)}"
        found = await connection.fetch(
            f"""
            SELECT {names}, l.sign FROM ledger AS l
            WHERE l.metric = $1::int2 AND l.at >= $2::timestamptz AND l.at < $3::timestamptz
                {narrowed} {conditions(reading, parameters)}
            ORDER BY l.at FETCH FIRST ($4::int8) ROWS WITH TIES
            """,
            *parameters.values,
        )
        for record in found:
            row = listed(number, record)
            rows[row] = rows.get(row, 0) + record["sign"]
        rows = {row: n for row, n in rows.items() if n and (after is None or row.position > after)}
        if len(found) < chunk or len(rows) > limit:
            return rows
        since, chunk = found[-1]["at"] + _MICROSECOND, chunk * 2


def listed(number: int, record: Any) -> ListedRow:
    """Make a row of a record that has the columns of `LEDGER_COLUMNS`."""
    return ListedRow(
        number,
        record["document"],
        record["value"],
        record["band"],
        record["at"],
        record["customer"],
        tuple(record[name] for name in COLUMNS),
        tuple(record["more"] or ()),
    )


async def latest(connection: Connection, reading: Reading, limit: int, after: Position | None) -> Rows:
    """Read the latest response of each customer from a position on."""
    (span,) = reading.spans
    parameters = Parameters([[0], [instant(span.since)], [instant(span.until)]])
    picked = ledger_rows(reading, parameters, LEDGER_COLUMNS)
    beyond = _beyond(after, parameters)
    found = await connection.fetch(
        f"SELECT * FROM ({picked}) AS picked {beyond} "
        f"ORDER BY at, document, metric, value LIMIT {parameters.add(limit + SPARE_ROWS)}",
        *parameters.values,
    )
    return {listed(record["metric"], record): record["sign"] for record in found}


def _beyond(after: Position | None, parameters: Parameters) -> str:
    if after is None:
        return ""
    at, document, metric, value = (parameters.add(part) for part in after)
    return (
        "WHERE (at, document, metric, value) "
        f"> ({at}::timestamptz, {document}::text, {metric}::int2, {value}::int8)"
    )


def value_ids_of(rows: Sequence[tuple[ListedRow, int]]) -> set[int]:
    """Give all value ids that rows are filed under."""
    return {value for row, _ in rows for value in (*row.columns, *row.more) if value is not None}
