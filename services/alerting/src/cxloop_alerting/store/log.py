"""The append-only log."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from cxloop_alerting.domain.facts import LogEntry, LogKind

_COLUMNS = "id, seq, kind, case_id, document, rule, at, actor, body::text AS body, known"
_APPEND = """
INSERT INTO log (id, kind, case_id, document, rule, at, actor, body, known)
SELECT id, kind, case_id, document, rule, at, actor, body::jsonb, string_to_array(known, ' ')
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[], $9::text[]
) WITH ORDINALITY AS n(id, kind, case_id, document, rule, at, actor, body, known, o)
ORDER BY o
RETURNING id, seq
"""
_LAST_PICK = """
SELECT body #>> '{owner,id}' AS member
FROM log WHERE kind = 'assigned' AND body #>> '{owner,team}' = $1
ORDER BY seq DESC LIMIT 1
"""


async def append(connection: Any, entries: Sequence[LogEntry]) -> list[LogEntry]:
    """Write entries in their order; returns them with their place in the log. An id stands once."""
    rows = await connection.fetch(
        _APPEND,
        [entry.id for entry in entries],
        [str(entry.kind) for entry in entries],
        [entry.case_id for entry in entries],
        [entry.document for entry in entries],
        [entry.rule for entry in entries],
        [entry.at for entry in entries],
        [entry.actor for entry in entries],
        [msgspec.json.encode(entry.body).decode() for entry in entries],
        # Ids are hexadecimal: a space separates them, where arrays of arrays would have to be rectangular.
        [" ".join(sorted(entry.known)) for entry in entries],
    )
    seq = {row["id"]: row["seq"] for row in rows}
    return [replace(entry, seq=seq[entry.id]) for entry in entries]


async def entries_of(connection: Any, documents: Collection[str]) -> list[LogEntry]:
    """Return all entries about these documents."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM log WHERE document = ANY($1::text[]) ORDER BY seq", list(documents)
    )
    return [_entry(row) for row in rows]


async def find(connection: Any, id_: str) -> LogEntry | None:
    """Return the entry with this id."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM log WHERE id = $1", id_)
    return None if row is None else _entry(row)


async def logged_documents(connection: Any, documents: Collection[str]) -> set[str]:
    """Return those of the documents that ever triggered something."""
    rows = await connection.fetch(
        "SELECT DISTINCT document FROM log WHERE document = ANY($1::text[])", list(documents)
    )
    return {row["document"] for row in rows}


async def last_picked(connection: Any, teams: Collection[str]) -> dict[str, str]:
    """Return who of each team got its latest case."""
    found: dict[str, str] = {}
    for team in sorted(teams):
        row = await connection.fetchrow(_LAST_PICK, team)
        if row is not None:
            found[team] = row["member"]
    return found


def _entry(row: Any) -> LogEntry:
    return LogEntry(
        row["id"],
        LogKind(row["kind"]),
        row["case_id"],
        row["document"],
        row["rule"],
        row["at"],
        row["seq"],
        actor=row["actor"],
        body=msgspec.json.decode(row["body"], type=dict[str, Any]),
        known=frozenset(row["known"]),
    )
