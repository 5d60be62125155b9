"""Rows that hang on an identifier which turned out to be shared move to the next best one.

Two visits: the first notes the newest transaction in use; the second acts once all up to it have ended, because
a batch that read the identifier before it turned shared may still be writing under it.
"""

from typing import Any, Final

from cxloop_journey.domain.documents import Entry, Place
from cxloop_journey.domain.identity import anchor
from cxloop_journey.domain.stages import Stage
from cxloop_journey.domain.timeline import Fact, Kind
from cxloop_journey.store.documents import Arrived, fold
from cxloop_journey.store.identities import Connection, candidates
from cxloop_journey.store.timeline import mark_dirty, reclaim, write_rows

_NOTE: Final = """
UPDATE repairs SET ready_after = pg_snapshot_xmax(pg_current_snapshot()) WHERE ready_after IS NULL
"""
_READY: Final = """
SELECT identifier FROM repairs WHERE ready_after <= pg_snapshot_xmin(pg_current_snapshot())
ORDER BY identifier FOR UPDATE SKIP LOCKED
"""
_DOCUMENTS: Final = "SELECT doc_key FROM documents WHERE owner = ANY($1::bigint[]) AND others <> '{}'"
_FOLLOWERS: Final = """
SELECT doc_key FROM documents WHERE owner = ANY($1::bigint[]) AND link IS NOT NULL
"""
_CLAIMS: Final = """
SELECT e.event FROM touchpoint_events e JOIN touchpoints t ON (t.anchor, t.at, t.event) = (e.anchor, e.at, e.event)
WHERE t.anchor = ANY($1::bigint[]) AND t.doc_key IS NULL AND t.others IS NOT NULL
ORDER BY e.event FOR NO KEY UPDATE OF e
"""
_ROWS: Final = """
SELECT t.*, e.content FROM touchpoint_events e
JOIN touchpoints t ON (t.anchor, t.at, t.event) = (e.anchor, e.at, e.event)
WHERE e.event = ANY($1::bytea[]) AND t.anchor = ANY($2::bigint[])
"""


async def note_repairs(connection: Connection) -> None:
    """Note which transactions have to end before the waiting repairs are safe."""
    await connection.execute(_NOTE)


async def repairs_waiting(connection: Connection) -> bool:
    """Tell whether any identifier is yet to be repaired."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM repairs)"))


async def repair(connection: Connection) -> int:
    """Move the rows of the repairs that are ready, within the caller's transaction; gives how many moved."""
    ready = [row[0] for row in await connection.fetch(_READY)]
    if not ready:
        return 0
    keys = {row[0] for row in await connection.fetch(_DOCUMENTS, ready)}
    keys |= {row[0] for row in await connection.fetch(_FOLLOWERS, ready)}
    folded = await fold(connection, {key: Arrived() for key in keys})
    events = [row[0] for row in await connection.fetch(_CLAIMS, ready)]
    moved = await _move(connection, await connection.fetch(_ROWS, events, ready)) if events else []
    changes = await write_rows(
        connection,
        [*(entry.row for entry in folded.gone), *(row for row, _ in moved)],
        [*folded.added, *(entry for _, entry in moved)],
    )
    await reclaim(connection, [entry for _, entry in moved])
    await mark_dirty(connection, changes, folded.touched)
    await connection.execute("DELETE FROM repairs WHERE identifier = ANY($1::bigint[])", ready)
    return len(folded.added) + len(moved)


async def _move(connection: Connection, rows: list[Any]) -> list[tuple[tuple[int, Any, bytes], Entry]]:
    known = await candidates(connection, {id_ for row in rows for id_ in (row["anchor"], *row["others"])})
    moved: list[tuple[tuple[int, Any, bytes], Entry]] = []
    for row in rows:
        ids = {row["anchor"], *row["others"]}
        chosen = anchor(known[id_] for id_ in ids)
        if chosen is None or chosen == row["anchor"]:
            continue
        entry = Entry(Place(chosen, tuple(sorted(ids - {chosen}))), row["event"], _fact(row), None)
        moved.append(((row["anchor"], row["at"], row["event"]), entry))
    return moved


def _fact(row: Any) -> Fact:
    return Fact(
        at=row["at"],
        content=row["content"],
        event_id=row["event_id"],
        kind=Kind(row["kind"]),
        source=row["source"],
        summary=row["summary"],
        touchpoint=row["touchpoint"],
        stage=None if row["stage"] is None else Stage(row["stage"]),
        channel=row["channel"],
        amount=row["amount"],
        currency=row["currency"],
    )
