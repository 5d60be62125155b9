"""Scores, identities and context cards: what arrives, kept in its newest revision."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cxloop_alerting.domain.facts import ScoreFact

_UPSERT_FACTS = """
WITH old AS (SELECT document, hint FROM facts WHERE document = ANY($1::text[])),
written AS (
    INSERT INTO facts AS f (
        document, hint, at, generation, revision, record_id, metric, band, value, scale, labels
    )
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[],
        $9::double precision[], $10::text[], $11::text[]
    )
    ON CONFLICT (document) DO UPDATE SET
        hint = excluded.hint, at = excluded.at, generation = excluded.generation, revision = excluded.revision,
        record_id = excluded.record_id, metric = excluded.metric, band = excluded.band, value = excluded.value,
        scale = excluded.scale, labels = excluded.labels
    WHERE (excluded.generation, excluded.revision) > (f.generation, f.revision)
       OR ((excluded.generation, excluded.revision) = (f.generation, f.revision)
           AND (excluded.at, excluded.record_id) < (f.at, f.record_id))
    RETURNING document
)
SELECT written.document, old.hint FROM written LEFT JOIN old USING (document)
"""
_NEW_IDENTITIES = """
INSERT INTO identities (identifier, customer, version)
SELECT identifier, identifier, -1 FROM unnest($1::text[]) AS n(identifier)
ON CONFLICT DO NOTHING
"""
_HOLD_IDENTITIES = """
SELECT identifier, customer, version FROM identities WHERE identifier = ANY($1::text[])
ORDER BY identifier COLLATE "C" FOR UPDATE
"""
_UPDATE_IDENTITIES = """
UPDATE identities AS i SET customer = n.customer, version = n.version
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n(identifier, customer, version)
WHERE i.identifier = n.identifier
"""
_UPSERT_CARDS = """
INSERT INTO cards AS c (customer, version, card)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
ON CONFLICT (customer) DO UPDATE SET version = excluded.version, card = excluded.card
WHERE excluded.version > c.version
RETURNING customer
"""
_FACTS_OF_HINTS = "SELECT * FROM facts WHERE hint = ANY($1::text[])"


@dataclass(frozen=True, slots=True)
class MovedIdentity:
    """An identifier that belongs to another subject than before."""

    identifier: str
    before: str
    """The customer before; the identifier itself if nobody was known for it."""
    after: str


async def upsert_facts(connection: Any, facts: Sequence[ScoreFact]) -> dict[str, str | None]:
    """Keep each document's newest revision. Returns the documents that changed, with the hint they had before."""
    ordered = sorted(facts, key=lambda fact: fact.document)
    rows = await connection.fetch(
        _UPSERT_FACTS,
        [fact.document for fact in ordered],
        [fact.hint for fact in ordered],
        [fact.at for fact in ordered],
        [fact.revision[0] for fact in ordered],
        [fact.revision[1] for fact in ordered],
        [fact.record_id for fact in ordered],
        [fact.metric for fact in ordered],
        [fact.band for fact in ordered],
        [fact.value for fact in ordered],
        [msgspec.json.encode(fact.scale).decode() for fact in ordered],
        [msgspec.json.encode(fact.labels).decode() for fact in ordered],
    )
    return {row["document"]: row["hint"] for row in rows}


async def facts_of(connection: Any, hints: Collection[str]) -> list[ScoreFact]:
    """Return all scores that stand under these hints."""
    rows = await connection.fetch(_FACTS_OF_HINTS, list(hints))
    return [
        ScoreFact(
            document=row["document"],
            hint=row["hint"],
            at=row["at"],
            revision=(row["generation"], row["revision"]),
            record_id=row["record_id"],
            metric=row["metric"],
            band=row["band"],
            value=row["value"],
            scale=msgspec.json.decode(row["scale"]),
            labels=msgspec.json.decode(row["labels"], type=dict[str, str | tuple[str, ...]]),
        )
        for row in rows
    ]


async def upsert_identities(
    connection: Any, identities: Mapping[str, tuple[int, str]]
) -> list[MovedIdentity]:
    """Keep the highest version (version, customer) of each identifier. Returns those that moved."""
    ordered = sorted(identities)
    # Rows are made and locked before they are compared: in one upsert, the customer before would be read from
    # the statement's snapshot, while another worker may just have changed it.
    await connection.execute(_NEW_IDENTITIES, ordered)
    held = {
        row["identifier"]: (row["version"], row["customer"])
        for row in await connection.fetch(_HOLD_IDENTITIES, ordered)
    }
    newer = [
        name
        for name in ordered
        if identities[name][0] > held[name][0]
        or (identities[name][0] == held[name][0] and identities[name][1] < held[name][1])
    ]
    if newer:
        await connection.execute(
            _UPDATE_IDENTITIES,
            newer,
            [identities[name][1] for name in newer],
            [identities[name][0] for name in newer],
        )
    return [
        MovedIdentity(name, held[name][1], identities[name][1])
        for name in newer
        if held[name][1] != identities[name][1]
    ]


async def subjects_of(connection: Any, documents: Collection[str]) -> set[str]:
    """Return the subjects that these documents belong to now. Raises LookupError if one is not there at all."""
    rows = await connection.fetch(
        """
        SELECT f.document, coalesce(i.customer, f.hint) AS subject
        FROM facts f LEFT JOIN identities i ON i.identifier = f.hint WHERE f.document = ANY($1::text[])
        """,
        list(documents),
    )
    if len(rows) != len(documents):
        message = f"{len(documents) - len(rows)} scores that cases stand on are not in facts"
        raise LookupError(message)
    return {row["subject"] for row in rows}


async def customers_of(connection: Any, hints: Collection[str]) -> dict[str, str]:
    """Return the customers that are known for these hints."""
    rows = await connection.fetch(
        "SELECT identifier, customer FROM identities WHERE identifier = ANY($1::text[])", list(hints)
    )
    return {row["identifier"]: row["customer"] for row in rows}


async def hints_of(connection: Any, customers: Collection[str]) -> dict[str, str]:
    """Return the identifiers of these customers, with their customer."""
    rows = await connection.fetch(
        "SELECT identifier, customer FROM identities WHERE customer = ANY($1::text[])", list(customers)
    )
    return {row["identifier"]: row["customer"] for row in rows}


async def upsert_cards(connection: Any, cards: Mapping[str, tuple[int, bytes]]) -> list[str]:
    """Keep each customer's newest card (version, JSON). Returns the customers whose card changed."""
    ordered = sorted(cards)
    rows = await connection.fetch(
        _UPSERT_CARDS,
        ordered,
        [cards[customer][0] for customer in ordered],
        [cards[customer][1].decode() for customer in ordered],
    )
    return [row["customer"] for row in rows]


async def cards_of(connection: Any, customers: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the newest context card of each customer that has one."""
    rows = await connection.fetch(
        "SELECT customer, card FROM cards WHERE customer = ANY($1::text[])", list(customers)
    )
    return {row["customer"]: msgspec.json.decode(row["card"], type=dict[str, Any]) for row in rows}
