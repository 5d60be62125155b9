"""The tickets that are open at a moment, page by page in order of the time since which they are."""

from datetime import datetime
from typing import Final

from cxloop_scoring.domain.instants import instant
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.listing import LEDGER_COLUMNS, SPARE_ROWS, Position, Rows, listed
from cxloop_scoring.store.met_rows import MetRows
from cxloop_scoring.store.questions import numbers_of
from cxloop_scoring.store.relationship import WORK_MEM
from cxloop_scoring.store.sums import Parameters, Reading, conditions

_OPEN: Final = 1
"""Value of an open ticket: it is one of those that are counted."""


async def open_tickets(connection: Connection, reading: Reading, limit: int, after: Position | None) -> Rows:
    """Read the tickets that are open at the end of the span: those whose movements come to one."""
    moved = int(numbers_of(reading.question.metric)[-1])
    open_since = await _open_since(connection, reading)
    places = sorted((at, document) for document, at in open_since.items())
    if after is not None:
        # As a position has it: all tickets are of one metric and value.
        places = [place for place in places if (*place, moved, _OPEN) > after]
    shown = {document: at for at, document in places[: limit + SPARE_ROWS]}
    return await _rows(connection, reading, shown) if shown else {}


async def _open_since(connection: Connection, reading: Reading) -> dict[str, datetime]:
    """Give the time of the last movement in force of each open ticket, in one pass over all movements.

    A pass that also nets what was withdrawn takes twice as long. So movements are added up as they are signed, which
    nets them, and where the last one may be withdrawn, the few rows of that ticket are looked at.
    """
    (span,) = reading.spans
    numbers = [int(number) for number in numbers_of(reading.question.metric)]
    created, solved, _ = numbers
    parameters = Parameters([numbers, created, solved, instant(span.until)])
    wheres = conditions(reading, parameters)
    # In int4: sums of bigints are numeric, and slow. Workers would only pass the rows on.
    await connection.execute(
        f"SET LOCAL work_mem = '{WORK_MEM}'; SET LOCAL max_parallel_workers_per_gather = 0"
    )
    rows = await connection.fetch(
        f"""
        SELECT l.document, max(l.at) FILTER (WHERE l.sign > 0), max(l.at) FILTER (WHERE l.sign < 0)
        FROM ledger AS l WHERE l.metric = ANY($1::int2[]) AND l.at < $4::timestamptz {wheres}
        GROUP BY l.document
        HAVING sum((l.sign * CASE l.metric WHEN $2::int2 THEN 1 WHEN $3::int2 THEN -1 ELSE l.value END)::int4) > 0
        """,
        *parameters.values,
    )
    found = {row[0]: row[1] for row in rows}
    unsure = [row[0] for row in rows if row[2] is not None and row[2] >= row[1]]
    met = MetRows(connection, reading)
    in_force = {
        row.document: row.at for row in await met.of_documents(unsure, numbers) if row.at < span.until
    }
    return found | {document: instant(at) for document, at in in_force.items()}


async def _rows(connection: Connection, reading: Reading, since: dict[str, datetime]) -> Rows:
    """Read how tickets are filed, from the last movement of each."""
    moved = int(numbers_of(reading.question.metric)[-1])
    numbers = [int(number) for number in numbers_of(reading.question.metric)]
    parameters = Parameters([numbers, sorted(set(since.values())), sorted(since)])
    wheres = conditions(reading, parameters)
    names = ", ".join(f"l.{name}" for name in LEDGER_COLUMNS)
    records = await connection.fetch(
        f"""
        SELECT DISTINCT ON (document) * FROM (
            SELECT {names} FROM ledger AS l
            WHERE l.metric = ANY($1::int2[]) AND l.at = ANY($2::timestamptz[]) AND l.document = ANY($3::text[])
                {wheres}
            GROUP BY l.metric, {names} HAVING sum(l.sign) > 0
        ) AS net
        ORDER BY document, at DESC
        """,
        *parameters.values,
    )
    return {
        listed(moved, record)._replace(value=_OPEN, band=None, at=since[record["document"]], customer=None): 1
        for record in records
    }
