"""Tickets and responses under their locks: facts folded in, owners found, rows laid out anew."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from cxloop_journey.domain.documents import (
    Entry,
    Facts,
    Place,
    difference,
    entries,
    is_open,
    is_ticket,
    last_at,
    linked_ticket,
    owners,
    with_fact,
    with_score,
)
from cxloop_journey.domain.identity import Candidate, anchor
from cxloop_journey.domain.timeline import Fact, Score
from cxloop_journey.store.identities import Connection, candidates

_decode_facts: Final = msgspec.json.Decoder(dict[str, Fact]).decode
_decode_score: Final = msgspec.json.Decoder(Score).decode


def encode_score(score: Score) -> str:
    """Write a score as the text of its column."""
    return msgspec.json.encode(score).decode()


def decode_score(text: str) -> Score:
    """Read a score's column."""
    return _decode_score(text)


def _encode_facts(facts: Facts) -> str:
    return msgspec.json.encode({key.hex(): fact for key, fact in facts.items()}).decode()


@dataclass(frozen=True, slots=True)
class Document:
    """A row of `documents`."""

    key: str
    place: Place | None
    facts: Facts
    score: Score | None
    open: bool
    link: str | None
    at: datetime | None


@dataclass(slots=True)
class Arrived:
    """What a batch brings to one document."""

    facts: list[tuple[bytes, Fact]] = field(default_factory=list[tuple[bytes, Fact]])
    scores: list[Score] = field(default_factory=list[Score])


@dataclass(slots=True)
class Folded:
    """What folding changes elsewhere."""

    gone: list[Entry] = field(default_factory=list[Entry])
    added: list[Entry] = field(default_factory=list[Entry])
    touched: set[int] = field(default_factory=set[int])
    """Anchors whose customers have to be looked at again."""


_CREATE: Final = """
INSERT INTO documents (doc_key) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING
"""
_LOCK: Final = """
SELECT d.doc_key, d.owner, d.others, d.facts, d.score, d.open, d.link, d.at
FROM unnest($1::text[]) WITH ORDINALITY AS wanted(doc_key, place) JOIN documents d USING (doc_key)
ORDER BY wanted.place FOR NO KEY UPDATE OF d
"""
_LINKED: Final = "SELECT doc_key FROM documents WHERE link = ANY($1::text[])"
_WRITE: Final = """
UPDATE documents d SET owner = n.owner, others = n.others::bigint[], at = n.at, open = n.open, link = n.link,
  facts = n.facts::jsonb, score = n.score::jsonb
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[], $5::bool[], $6::text[], $7::text[], $8::text[])
  AS n(doc_key, owner, others, at, open, link, facts, score)
WHERE d.doc_key = n.doc_key
"""


def lock_order(keys: Iterable[str]) -> list[str]:
    """Sort documents as every transaction locks them: tickets first, for responses follow their owner."""
    return sorted(keys, key=lambda key: (not is_ticket(key), key))


def _document(row: asyncpg.Record) -> Document:
    facts = {bytes.fromhex(key): fact for key, fact in _decode_facts(row["facts"]).items()}
    place = None if row["owner"] is None else Place(row["owner"], tuple(row["others"]))
    score = None if row["score"] is None else _decode_score(row["score"])
    return Document(row["doc_key"], place, facts, score, row["open"], row["link"], row["at"])


async def _lock(connection: Connection, own: Collection[str], named: Collection[str]) -> dict[str, Document]:
    """Lock the documents, the tickets that they name, and the responses that name them.

    `named` are tickets that the batch's responses name. What turns up under the locks widens the set, and we
    start again from the savepoint, because a ticket may not be locked after a response.
    """
    wanted = {*own, *named}
    tickets = [key for key in own if is_ticket(key)]
    while True:
        savepoint: Any = connection.transaction()
        await savepoint.start()
        keys = lock_order(wanted)
        await connection.execute(_CREATE, keys)
        found = {row["doc_key"]: _document(row) for row in await connection.fetch(_LOCK, keys)}
        more = {
            fact.link
            for document in found.values()
            for fact in document.facts.values()
            if fact.link is not None and document.key in own
        }
        more |= {document.link for document in found.values() if document.link is not None}
        if tickets:
            more |= {row["doc_key"] for row in await connection.fetch(_LINKED, tickets)}
        if more <= wanted:
            await savepoint.commit()
            return found
        await savepoint.rollback()
        wanted |= more


def _place(ids: Collection[int], known: Mapping[int, Candidate]) -> Place | None:
    chosen = anchor(known[id_] for id_ in ids)
    return None if chosen is None else Place(chosen, tuple(sorted(set(ids) - {chosen})))


def _changed(document: Document, arrived: Arrived | None) -> Document:
    if arrived is None:
        return document
    facts, score = document.facts, document.score
    for key, fact in arrived.facts:
        facts = with_fact(facts, key, fact)
    for one in arrived.scores:
        score = with_score(score, one)
    if facts is document.facts and score == document.score:
        return document
    return Document(
        document.key,
        document.place,
        facts,
        score,
        is_open(facts),
        linked_ticket(facts),
        last_at(facts, score),
    )


async def fold(connection: Connection, arrivals: Mapping[str, Arrived]) -> Folded:
    """Fold what arrived into its documents, and give what changes on timelines.

    A document that is named with nothing to fold is placed anew, as after one of its identifiers turned shared.
    A response that names nobody stands with the owner of its ticket, so a ticket takes such responses along.
    """
    folded = Folded()
    if not arrivals:
        return folded
    named = {fact.link for arrived in arrivals.values() for _, fact in arrived.facts if fact.link is not None}
    before = await _lock(connection, arrivals.keys(), named)
    after = {key: _changed(document, arrivals.get(key)) for key, document in before.items()}
    owning = {key: owners(document.facts) for key, document in after.items()}
    known = await candidates(connection, {id_ for ids in owning.values() for id_ in ids})
    for key, document in after.items():
        ids = owning[key]
        if not ids and document.link is not None and document.link in owning:
            ids = owning[document.link]
        if key not in arrivals and not _follows(document, owning):
            continue
        place = _place(ids, known)
        after[key] = Document(
            key, place, document.facts, document.score, document.open, document.link, document.at
        )
    changed = [document for key, document in after.items() if document != before[key]]
    for document in changed:
        old = before[document.key]
        gone, added = difference(
            entries(old.key, old.facts, old.place), entries(document.key, document.facts, document.place)
        )
        folded.gone += gone
        folded.added += added
        folded.touched |= {place.anchor for place in (old.place, document.place) if place is not None}
    await _write(connection, changed)
    return folded


def _follows(document: Document, owning: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell whether the document has no owner of its own and stands with a ticket of this fold."""
    return not owning[document.key] and document.link in owning


async def _write(connection: Connection, documents: list[Document]) -> None:
    if not documents:
        return
    await connection.execute(
        _WRITE,
        [document.key for document in documents],
        [None if document.place is None else document.place.anchor for document in documents],
        [_array(() if document.place is None else document.place.others) for document in documents],
        [document.at for document in documents],
        [document.open for document in documents],
        [document.link for document in documents],
        [_encode_facts(document.facts) for document in documents],
        [None if document.score is None else encode_score(document.score) for document in documents],
    )


def _array(ids: Collection[int]) -> str:
    """Write ids as the text of a PostgreSQL array: unnest takes no arrays of arrays of several lengths."""
    return "{" + ",".join(map(str, ids)) + "}"
