"""One batch, one transaction: identifiers, pairs, documents, timeline rows, and what to evaluate again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cxloop_common.events import CanonicalEventBase, ScoreRecorded
from cxloop_journey.domain.documents import Entry, Place
from cxloop_journey.domain.identity import (
    Candidate,
    anchor,
    identifier_hash,
    pairs_of,
    strong_identifiers,
)
from cxloop_journey.domain.timeline import document_of, event_key, fact_of, score_of
from cxloop_journey.store.documents import Arrived, fold
from cxloop_journey.store.identities import (
    Connection,
    Known,
    LinkCounts,
    Sighting,
    candidates,
    link,
    new_pairs,
    resolve,
)
from cxloop_journey.store.timeline import claim, mark_dirty, write_rows


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event and the hash of its encoded data."""

    event: CanonicalEventBase
    content: str


@dataclass(frozen=True, slots=True)
class ScoreArrival:
    """A score and the hash of its encoded data."""

    score: ScoreRecorded
    content: str


@dataclass(slots=True)
class BatchCounts:
    """What a batch did."""

    anonymous: int = 0
    """Events without a strong identifier and without a document that could learn one."""
    rows: int = 0
    links: LinkCounts = field(default_factory=LinkCounts)


async def apply_batch(
    connection: Connection, arrivals: Sequence[Arrival], scores: Sequence[ScoreArrival], key: bytes
) -> BatchCounts:
    """Fold events and scores into the state within the caller's transaction.

    The transaction must have its id already, as one that has passed the fence has: rows written under an
    identifier that is just turning shared are found again by waiting for all older transactions.
    """
    counts = BatchCounts()
    seen, sightings = _read(arrivals, key)
    known, fresh = await resolve(connection, sightings)
    touched = set(fresh)
    pairs: dict[tuple[int, int], datetime] = {}
    for arrival, hashes in seen:
        if len(hashes) > 1:
            at = arrival.event.time
            for pair in pairs_of(known[hash_].id for hash_ in hashes):
                if pair not in pairs or at < pairs[pair]:
                    pairs[pair] = at
    changed = await new_pairs(connection, pairs)
    earlier = {
        known[hash_].id: one.first_seen
        for hash_, one in sightings.items()
        if one.first_seen < known[hash_].first_seen
    }
    if changed or earlier:
        linked = await link(connection, changed, earlier, fresh=fresh, counts=counts.links)
        touched |= linked.touched
    documents, alone = _sort(seen, known, counts)
    for arrived in scores:
        document = documents.setdefault(arrived.score.document, Arrived())
        document.scores.append(score_of(arrived.score, arrived.content))
    folded = await fold(connection, documents)
    gone, added = await claim(
        connection, await _placed(connection, alone, known, flipped=counts.links.shared > 0)
    )
    changes = await write_rows(
        connection, [*(entry.row for entry in folded.gone), *gone], [*folded.added, *added]
    )
    counts.rows = sum(n for n in changes.values() if n > 0)
    await mark_dirty(connection, changes, touched | folded.touched)
    return counts


_Seen = list[tuple[Arrival, tuple[bytes, ...]]]


def _read(arrivals: Iterable[Arrival], key: bytes) -> tuple[_Seen, dict[bytes, Sighting]]:
    """Hash the strong identifiers of each event, and note when each was first seen in this batch."""
    seen: _Seen = []
    sightings: dict[bytes, Sighting] = {}
    for arrival in arrivals:
        hashes: list[bytes] = []
        at = arrival.event.time
        for identifier in strong_identifiers(arrival.event.identifiers):
            hash_ = identifier_hash(str(identifier), key)
            hashes.append(hash_)
            known = sightings.get(hash_)
            if known is None or at < known.first_seen:
                sightings[hash_] = Sighting(identifier.scheme, identifier.value, at)
        seen.append((arrival, tuple(hashes)))
    return seen, sightings


_Alone = list[tuple[Arrival, tuple[Known, ...]]]


def _sort(seen: _Seen, known: dict[bytes, Known], counts: BatchCounts) -> tuple[dict[str, Arrived], _Alone]:
    """Tell events of documents from those that stand for themselves."""
    documents: dict[str, Arrived] = {}
    alone: _Alone = []
    for arrival, hashes in seen:
        event = arrival.event
        document = document_of(event)
        if document is not None:
            who = tuple(sorted(known[hash_].id for hash_ in hashes))
            fact = fact_of(event, arrival.content, who)
            if fact is not None:
                entry = event_key(event.source, event.id, document), fact
                documents.setdefault(document, Arrived()).facts.append(entry)
        elif hashes:
            alone.append((arrival, tuple(known[hash_] for hash_ in hashes)))
        else:
            counts.anonymous += 1
    return documents, alone


async def _placed(
    connection: Connection, alone: _Alone, known: dict[bytes, Known], *, flipped: bool
) -> list[Entry]:
    if flipped:
        # What this batch has found to be shared must not become an anchor in it.
        now = await candidates(connection, [one.id for one in known.values()])
    else:
        now = {one.id: Candidate(one.id, one.scheme, one.hash, one.shared) for one in known.values()}
    entries: list[Entry] = []
    for arrival, identifiers in alone:
        ids = {one.id for one in identifiers}
        chosen = anchor(now[id_] for id_ in ids)
        fact = fact_of(arrival.event, arrival.content, ())
        if chosen is not None and fact is not None:
            key = event_key(arrival.event.source, arrival.event.id, None)
            entries.append(Entry(Place(chosen, tuple(sorted(ids - {chosen}))), key, fact, None))
    return entries
