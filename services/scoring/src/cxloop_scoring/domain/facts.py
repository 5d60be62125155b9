"""Facts: what an event says, in as few bytes as a fold needs, and how facts of one event id are settled.

A document is a grow-only map from event id to fact. Nothing is ever taken out of it, so the order of arrival
and repetition leave no trace.
"""

from typing import Final, TypeAlias
from urllib.parse import quote

import msgspec

NOBODY, CUSTOMER, AGENT, BOT = 0, 1, 2, 3
"""Who did it."""
AUTHORS: Final = {"customer": CUSTOMER, "agent": AGENT, "bot": BOT}

OPEN, SOLVED, CLOSED = 0, 1, 2
"""What a status means to a clock; new, pending and on hold are open."""
STATUSES: Final = {"solved": SOLVED, "closed": CLOSED}


class FactBase(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What every fact has: when it happened, and which content said so.

    at: microseconds since 1970, UTC. digest: the first 8 bytes of the content hash. Facts are stored as arrays:
    a field is only ever added at the end, with a default, so that what was stored before can still be read.
    `worked`, where a fact has it, is the reported work in milliseconds.
    """

    at: int
    digest: bytes


class Tombstone(FactBase, tag=0, frozen=True, gc=False):
    """Content that lost against another of the same event id: it is counted, and says nothing."""


class Created(FactBase, tag=1, frozen=True, gc=False):
    """A ticket was created; `said` holds dimensions, `identifiers` the customer's."""

    by: int
    said: dict[str, str | None]
    tags: tuple[str, ...] | None
    identifiers: tuple[str, ...]
    worked: int | None = None


class Updated(FactBase, tag=2, frozen=True, gc=False):
    """Some fields of a ticket changed, or its assignment did (None in `said` takes a value away)."""

    said: dict[str, str | None]
    tags: tuple[str, ...] | None
    identifiers: tuple[str, ...]
    worked: int | None = None


class Replied(FactBase, tag=3, frozen=True, gc=False):
    """Someone wrote on a ticket."""

    author: int
    public: bool
    said: dict[str, str | None]
    worked: int | None = None
    identifiers: tuple[str, ...] = ()


class StatusChanged(FactBase, tag=4, frozen=True, gc=False):
    """A ticket's status changed."""

    status: int
    said: dict[str, str | None]
    identifiers: tuple[str, ...] = ()


class Escalated(FactBase, tag=5, frozen=True, gc=False):
    """A ticket went up a support level."""

    level: str | None
    said: dict[str, str | None]
    identifiers: tuple[str, ...] = ()


class Merged(FactBase, tag=6, frozen=True, gc=False):
    """A ticket was merged away into `into`, a document id."""

    into: str
    said: dict[str, str | None] = {}
    identifiers: tuple[str, ...] = ()


class Deleted(FactBase, tag=7, frozen=True, gc=False):
    """A ticket was deleted."""


class Linked(FactBase, tag=8, frozen=True, gc=False):
    """A fact of a ticket that was merged into this one.

    author: who sent the customer-facing message it stands for; nobody where it stands for none.
    """

    author: int


class Responded(FactBase, tag=9, frozen=True, gc=False):
    """A customer answered a survey; `ticket` is a document id.

    Of a comment only its polarity is kept, in hundredths of -1..1; None where there is none to tell.
    """

    metric: str
    score: float
    least: float
    most: float
    lower_is_better: bool
    good: tuple[float, ...] | None
    said: dict[str, str | None]
    identifiers: tuple[str, ...]
    wants_contact: bool | None
    ticket: str | None
    polarity: int | None = None


class Sent(FactBase, tag=10, frozen=True, gc=False):
    """A survey went out; `ticket` is the document id of the ticket it asks about."""

    survey: str
    said: dict[str, str | None]
    identifiers: tuple[str, ...]
    ticket: str | None = None


class Touched(FactBase, tag=11, frozen=True, gc=False):
    """Something else happened between a customer and the company, such as a purchase or a cancellation.

    amount: hundredths of `currency`, None where the event has no value. source: which the document's id does
    not name, for it is the customer's.
    """

    touchpoint: str
    source: str
    said: dict[str, str | None]
    identifiers: tuple[str, ...]
    amount: int | None
    currency: str | None


class CaseChanged(FactBase, tag=12, frozen=True, gc=False):
    """One version of a case.

    at: when the case changed. closed: whether its status means that nobody works on it any more. due_at:
    microseconds since 1970. triggers: the score documents behind it. superseded: case documents it stands for.
    """

    version: int
    closed: bool
    contacted: bool
    due_at: int | None
    triggers: tuple[str, ...]
    superseded: tuple[str, ...]
    said: dict[str, str | None]


Fact: TypeAlias = (
    Tombstone
    | Created
    | Updated
    | Replied
    | StatusChanged
    | Escalated
    | Merged
    | Deleted
    | Linked
    | Responded
    | Sent
    | Touched
    | CaseChanged
)
Facts: TypeAlias = dict[str, Fact]
"""A document: event id to fact. A tombstone's key is the event id, NUL, and what tells the content apart.

An event id is unique within its source. Touchpoints of several sources meet in one document, so theirs are keyed by
event id, U+0001 and the source.
"""

encode_fact = msgspec.msgpack.Encoder().encode
encode_facts = msgspec.msgpack.Encoder().encode
decode_facts = msgspec.msgpack.Decoder(Facts).decode


def fact_key(event_id: str, fact: Fact) -> str:
    """Give the key of an event's fact in its document."""
    # NUL parts an event id from its content in the keys of tombstones.
    key = event_id.replace("\x00", "\ufffd")
    return f"{key}\x01{quote(fact.source, safe='')}" if type(fact) is Touched else key


def _rank(fact: Fact) -> tuple[int, bytes, bytes]:
    return fact.at, fact.digest, encode_fact(fact)


def _tombstone_key(event_id: str, fact: Fact) -> str:
    return f"{event_id}\x00{fact.at}.{fact.digest.hex()}"


def add_fact(facts: Facts, event_id: str, fact: Fact) -> bool:
    """Add a fact to a document; tell whether that changed the document.

    Of two contents under one event id the least (time, content hash) stays; each other one leaves a
    tombstone, so that the number of facts grows with everything that was ever said, whatever came first. A
    linked copy of a fact that the document has itself is no other content.
    """
    known = facts.get(event_id)
    if known is None:
        facts[event_id] = fact
        return True
    if known.at == fact.at and known.digest == fact.digest:
        if type(known) is type(fact) or isinstance(fact, Linked):
            return False
        if isinstance(known, Linked):
            facts[event_id] = fact
            return True
    winner, loser = (known, fact) if _rank(known) <= _rank(fact) else (fact, known)
    key = _tombstone_key(event_id, loser)
    if winner is known and key in facts:
        return False
    facts[event_id] = winner
    facts[key] = Tombstone(loser.at, loser.digest)
    return True


def event_ids(facts: Facts) -> tuple[str, ...]:
    """Give the ids of the events behind a document, sorted, each once."""
    return tuple(
        sorted(
            {
                key.rpartition("\x01")[0] if type(fact) is Touched else key
                for key, fact in facts.items()
                if "\x00" not in key
            }
        )
    )


def conflicts(facts: Facts) -> int:
    """Count the contents that lost against another under the same event id."""
    return sum(isinstance(fact, Tombstone) for fact in facts.values())
