"""The observations behind a value, and single documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from cxloop_common.database import Database
from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.facts import Facts, decode_facts
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.questions import (
    Parameters,
    UnknownDimensionError,
    known_dimensions,
    ledger_rows,
    value_ids,
)

Position = tuple[datetime, str, int]
"""Time, document and value of a page's last observation."""


@dataclass(frozen=True, slots=True)
class BookedObservation:
    """One observation in force."""

    document: str
    value: int
    band: int | None
    at: datetime
    dimensions: dict[str, str | list[str]]
    facts: Facts
    count: int


@dataclass(frozen=True, slots=True)
class HeldDocument:
    """A document as it stands."""

    id: str
    generation: int
    facts: Facts


class Explanations:
    """Reads observations and documents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def observations(
        self, question: Question, limit: int, after: Position | None
    ) -> list[BookedObservation]:
        """List the net observations of a question's first span in order of time, one more than `limit`.

        Raises UnknownDimensionError.
        """
        pool = await self._database.pool()
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            numbers = await known_dimensions(connection)
            if not numbers.keys() >= question.dimensions:
                raise UnknownDimensionError(numbers)
            ids = await value_ids(connection, question.where, numbers)
            if ids is None:
                return []
            span = question.spans[0]
            parameters = Parameters([[0], [instant(span.since)], [instant(span.until)]])
            columns = ("value", "band", "document", "at", *COLUMNS, "more")
            picked = ledger_rows(question, ids, numbers, parameters, columns)
            beyond = ""
            if after is not None:
                holders = ", ".join(parameters.add(value) for value in after)
                beyond = f"WHERE (at, document, value) > ({holders})"
            own = ", ".join(COLUMNS)
            statement = f"""
                SELECT document, value, band, at, {own}, more, sum(sign)::int4 AS times
                FROM ({picked}) AS picked {beyond}
                GROUP BY document, value, band, at, {own}, more
                HAVING sum(sign) <> 0
                ORDER BY at, document, value LIMIT {parameters.add(limit + 1)}
            """
            rows = await connection.fetch(statement, *parameters.values)
            return await _explained(connection, rows)

    async def document(self, candidates: Sequence[str]) -> HeldDocument | None:
        """Read the first of several document ids that there is."""
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT id, generation, facts FROM documents WHERE id = ANY($1::text[])", candidates
            )
        found = {row[0]: row for row in rows}
        for candidate in candidates:
            if row := found.get(candidate):
                return HeldDocument(row[0], row[1], decode_facts(row[2]))
        return None


async def _explained(connection: Connection, rows: Sequence[asyncpg.Record]) -> list[BookedObservation]:
    documents = sorted({row["document"] for row in rows})
    held = {
        row[0]: decode_facts(row[1])
        for row in await connection.fetch(
            "SELECT id, facts FROM documents WHERE id = ANY($1::text[])", documents
        )
    }
    ids = {row[name] for row in rows for name in COLUMNS if row[name] is not None}
    ids.update(value for row in rows for value in row["more"] or ())
    words = {
        row[0]: (row[1], row[2])
        for row in await connection.fetch(
            """
            SELECT v.id, d.name, v.value FROM dimension_values AS v
            LEFT JOIN dimensions AS d ON d.id = v.dimension WHERE v.id = ANY($1::int4[])
            """,
            sorted(ids),
        )
    }
    return [
        BookedObservation(
            document=row["document"],
            value=row["value"],
            band=row["band"],
            at=row["at"],
            dimensions=_dimensions(row, words),
            facts=held.get(row["document"], {}),
            count=row["times"],
        )
        for row in rows
    ]


def _dimensions(row: asyncpg.Record, words: dict[int, tuple[str | None, str]]) -> dict[str, str | list[str]]:
    named: dict[str, str | list[str]] = {
        name: words[row[name]][1] for name in COLUMNS if row[name] is not None
    }
    tags: list[str] = []
    for value in row["more"] or ():
        name, text = words[value]
        if name is None:
            tags.append(text)
        else:
            named[name] = text
    if tags:
        named["tag"] = sorted(tags)
    return named
