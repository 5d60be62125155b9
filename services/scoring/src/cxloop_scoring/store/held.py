"""The facts of documents, as they are stored."""

from collections.abc import Iterable

from cxloop_scoring.domain.facts import Facts, decode_facts
from cxloop_scoring.store.connection import Connection


async def facts_of(connection: Connection, documents: Iterable[str]) -> dict[str, Facts]:
    """Read the facts of documents; those that there are not are left out."""
    rows = await connection.fetch(
        "SELECT id, facts FROM documents WHERE id = ANY($1::text[])", sorted(set(documents))
    )
    return {row[0]: decode_facts(row[1]) for row in rows}
