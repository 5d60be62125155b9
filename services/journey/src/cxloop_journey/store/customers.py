"""What is known of customers, read from identifiers, timelines and documents as they stand."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, cast

from cxloop_common.events.outcomes import ContactSummary, ScoreSummary
from cxloop_journey.domain.card import (
    CONTACTS_ON_A_CARD,
    SCORES_ON_A_CARD,
    CustomerFacts,
    KnownIdentifier,
    StagedAt,
)
from cxloop_journey.domain.stages import Stage
from cxloop_journey.domain.timeline import CONTACT_KINDS
from cxloop_journey.store.documents import decode_score
from cxloop_journey.store.identities import Connection

END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)
_LAST_EVENT: Final = b"\xff" * 17

_MEMBERS: Final = """
SELECT id, hash, scheme, value, first_seen, shared, root, customer, version
FROM identifiers WHERE customer = ANY($1::bigint[]) ORDER BY id
"""
_CONTESTED: Final = """
SELECT root FROM identifiers WHERE root = ANY($1::bigint[]) AND NOT shared
GROUP BY root HAVING count(DISTINCT customer) > 1
"""
# Rows not folded yet count too, so that a reader never sees fewer than the timeline shows.
_DAYS: Final = """
SELECT anchor, day, stage, sum(n) AS n FROM (
  SELECT anchor, day, stage, n FROM anchor_days WHERE anchor = ANY($1::bigint[])
  UNION ALL SELECT anchor, day, stage, n FROM dirty WHERE anchor = ANY($1::bigint[]) AND day IS NOT NULL) counted
GROUP BY anchor, day, stage HAVING sum(n) > 0
"""
_COUNTS: Final = f"SELECT anchor, sum(n)::bigint AS n FROM ({_DAYS}) days GROUP BY anchor"
# The latest day of each stage says where to look: one backward step on the key finds the row.
_STAGED: Final = f"""
SELECT last.anchor, last.stage, t.at FROM (
  SELECT anchor, stage, max(day) AS day FROM ({_DAYS}) days WHERE stage <> '' GROUP BY anchor, stage) last
CROSS JOIN LATERAL (
  SELECT at FROM touchpoints t
  WHERE t.anchor = last.anchor AND t.at < (last.day + 1)::timestamp AT TIME ZONE 'UTC' AND t.stage = last.stage
  ORDER BY t.at DESC LIMIT 1) t
"""
_LAST_AT: Final = """
SELECT a.anchor, t.at FROM unnest($1::bigint[]) AS a(anchor)
CROSS JOIN LATERAL (SELECT at FROM touchpoints t WHERE t.anchor = a.anchor ORDER BY at DESC LIMIT 1) t
"""
_CONTACTS: Final = """
SELECT a.anchor, t.* FROM unnest($1::bigint[]) AS a(anchor)
CROSS JOIN LATERAL (
  SELECT at, kind, source, channel, summary FROM touchpoints t
  WHERE t.anchor = a.anchor AND t.kind = ANY($2::text[])
  ORDER BY at DESC, event DESC LIMIT $3) t
"""
_SCORES: Final = """
SELECT a.anchor, d.* FROM unnest($1::bigint[]) AS a(anchor)
CROSS JOIN LATERAL (
  SELECT score FROM documents d WHERE d.owner = a.anchor AND d.score IS NOT NULL
  ORDER BY at DESC, doc_key DESC LIMIT $2) d
"""
_OPEN: Final = """
SELECT owner, count(*) AS n FROM documents WHERE owner = ANY($1::bigint[]) AND open GROUP BY owner
"""
_VALUE: Final = """
SELECT t.currency, sum(t.amount) AS amount FROM unnest($1::bigint[]) AS a(anchor)
JOIN touchpoints t ON t.anchor = a.anchor
WHERE t.at > $2 AND t.at <= $3 AND t.currency IS NOT NULL GROUP BY t.currency ORDER BY t.currency
"""
_BY_HASH: Final = """
SELECT i.id, i.customer, f.hash AS founder FROM identifiers i JOIN identifiers f ON f.id = i.customer
WHERE i.hash = $1
"""
# One backward step a identifier and row, merged: never a scan of all that a customer did.
_TIMELINE: Final = """
SELECT page.*, d.score FROM (
  SELECT t.* FROM identifiers i CROSS JOIN LATERAL (
    SELECT at, event, event_id, kind, touchpoint, stage, channel, source, summary, doc_key FROM touchpoints t
    WHERE t.anchor = i.id AND (t.at, t.event) < ($2, $3) ORDER BY t.at DESC, t.event DESC LIMIT $4) t
  WHERE i.customer = $1 ORDER BY t.at DESC, t.event DESC LIMIT $4) page
LEFT JOIN documents d ON page.kind = 'survey_response' AND d.doc_key = page.doc_key
ORDER BY page.at DESC, page.event DESC
"""


@dataclass(frozen=True, slots=True)
class Found:
    """An identifier that a customer id or a search named."""

    identifier: int
    customer: int
    founder: bytes
    """Hash of the customer's founder: what its id is made of."""


@dataclass(slots=True)
class Customer:
    """A customer: the members with the version of each, and all that a card needs."""

    id: int
    founder: bytes
    facts: CustomerFacts
    versions: dict[str, int]
    """Text of each identifier, and the version at which it came to this customer."""


@dataclass(slots=True)
class _Folding:
    members: list[Any] = field(default_factory=list[Any])
    touchpoints: int = 0
    last_at: datetime | None = None
    contacts: list[ContactSummary] = field(default_factory=list[ContactSummary])
    scores: list[ScoreSummary] = field(default_factory=list[ScoreSummary])
    open_tickets: int = 0
    staged: list[StagedAt] = field(default_factory=list[StagedAt])


async def find(connection: Connection, hash_: bytes) -> Found | None:
    """Look an identifier up by its hash, with the customer it belongs to."""
    row = await connection.fetchrow(_BY_HASH, hash_)
    return None if row is None else Found(*row)


async def load(connection: Connection, customers: Collection[int]) -> dict[int, Customer]:
    """Read customers by founder; an id that founds nobody is left out.

    Several statements: the caller holds either the customers' buckets or a snapshot.
    """
    rows = await connection.fetch(_MEMBERS, sorted(customers))
    folding: dict[int, _Folding] = {}
    for row in rows:
        folding.setdefault(row["customer"], _Folding()).members.append(row)
    owner: dict[int, _Folding] = {row["id"]: folding[row["customer"]] for row in rows}
    if not owner:
        return {}
    contested = {row[0] for row in await connection.fetch(_CONTESTED, sorted({row["root"] for row in rows}))}
    await _fold(connection, owner)
    return {id_: _customer(id_, one, contested) for id_, one in folding.items()}


async def _fold(connection: Connection, owner: dict[int, _Folding]) -> None:
    anchors = list(owner)
    for row in await connection.fetch(_COUNTS, anchors):
        owner[row["anchor"]].touchpoints += row["n"]
    for row in await connection.fetch(_STAGED, anchors):
        owner[row["anchor"]].staged.append(StagedAt(row["at"], Stage(row["stage"])))
    for row in await connection.fetch(_LAST_AT, anchors):
        one = owner[row["anchor"]]
        one.last_at = row["at"] if one.last_at is None else max(one.last_at, row["at"])
    kinds = sorted(kind.value for kind in CONTACT_KINDS)
    for row in await connection.fetch(_CONTACTS, anchors, kinds, CONTACTS_ON_A_CARD):
        contact = ContactSummary(
            at=row["at"],
            kind=row["kind"],
            source=row["source"],
            channel=row["channel"],
            summary=row["summary"],
        )
        owner[row["anchor"]].contacts.append(contact)
    for row in await connection.fetch(_SCORES, anchors, SCORES_ON_A_CARD):
        score = decode_score(row["score"])
        summary = {"at": score.at, "metric": score.metric, "value": score.value, "band": score.band}
        owner[row["anchor"]].scores.append(ScoreSummary.model_validate(summary))
    for row in await connection.fetch(_OPEN, anchors):
        owner[row["owner"]].open_tickets += row["n"]


def _customer(id_: int, one: _Folding, contested: set[int]) -> Customer:
    founder = next((row for row in one.members if row["id"] == id_), one.members[0])
    identifiers = [
        KnownIdentifier(f"{row['scheme']}:{row['value']}", row["scheme"], row["hash"], row["first_seen"])
        for row in one.members
    ]
    facts = CustomerFacts(
        identifiers=identifiers,
        shared=founder["shared"],
        contested=founder["root"] in contested,
        touchpoints=one.touchpoints,
        last_at=one.last_at,
        contacts=one.contacts,
        scores=one.scores,
        open_tickets=one.open_tickets,
        staged=one.staged,
    )
    versions = {f"{row['scheme']}:{row['value']}": cast("int", row["version"]) for row in one.members}
    return Customer(id_, founder["hash"], facts, versions)


async def value_between(
    connection: Connection, customer: int, after: datetime, until: datetime
) -> dict[str, Decimal]:
    """Sum what a customer's touchpoints were worth in (after, until], by currency."""
    members = [row["id"] for row in await connection.fetch(_MEMBERS, [customer])]
    return {row["currency"]: row["amount"] for row in await connection.fetch(_VALUE, members, after, until)}


async def timeline(
    connection: Connection, customer: int, *, limit: int, before: tuple[datetime, bytes] | None = None
) -> Sequence[Any]:
    """Read a page of a customer's timeline, newest first, `before` a position (at, event) exclusive."""
    at, event = before or (END_OF_TIME, _LAST_EVENT)
    return await connection.fetch(_TIMELINE, customer, at, event, limit)
