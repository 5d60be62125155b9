"""Tickets and responses as documents: a grow-only map of facts, folded without regard to order."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cxloop_journey.domain.timeline import Fact, Kind, Score

TICKET_PREFIX: Final = "ticket:"
Facts = Mapping[bytes, Fact]
"""Facts of one document by event key."""


def is_ticket(document: str) -> bool:
    """Tell tickets from responses by their document id."""
    return document.startswith(TICKET_PREFIX)


def with_fact(facts: Facts, key: bytes, fact: Fact) -> Facts:
    """Add a fact. Of two contents under one event id the least (time, content hash) stays."""
    known = facts.get(key)
    if known is not None and known.precedence <= fact.precedence:
        return facts
    return {**facts, key: fact}


def with_score(known: Score | None, score: Score) -> Score:
    """Keep the score of the highest revision."""
    return score if known is None or score.precedence > known.precedence else known


def _latest(facts: Facts, *, of: str) -> Fact | None:
    """Give the latest fact, by (time, event key), that says something under the name `of`."""
    saying = [(fact.at, key) for key, fact in facts.items() if getattr(fact, of) not in (None, ())]
    return facts[max(saying)[1]] if saying else None


def owners(facts: Facts) -> tuple[int, ...]:
    """Give the identifiers of the document's owner: those of the latest event that names any."""
    naming = _latest(facts, of="who")
    return naming.who if naming else ()


def linked_ticket(facts: Facts) -> str | None:
    """Give the ticket that a response belongs to, as its latest event that names one says."""
    naming = _latest(facts, of="link")
    return naming.link if naming else None


def is_open(facts: Facts) -> bool:
    """Tell whether a ticket is open: the latest event that tells decides; deleted and merged ones stay shut."""
    if any(fact.kind in {Kind.TICKET_DELETED, Kind.TICKET_MERGED} for fact in facts.values()):
        return False
    telling = _latest(facts, of="open")
    return telling is not None and telling.open is True


def last_at(facts: Facts, score: Score | None = None) -> datetime | None:
    """Give the time of the latest fact, or of the score where there is nothing else."""
    if facts:
        return max(fact.at for fact in facts.values())
    return score.at if score else None


def shown(facts: Facts) -> Facts:
    """Choose the facts that stand on the timeline.

    A response stands there once, as last edited. Of a deleted ticket only its deletion is left.
    """
    deletions = {key: fact for key, fact in facts.items() if fact.kind is Kind.TICKET_DELETED}
    if deletions:
        return deletions
    answers = [(fact.at, key) for key, fact in facts.items() if fact.kind is Kind.SURVEY_RESPONSE]
    if len(answers) <= 1:
        return facts
    last = max(answers)[1]
    return {key: fact for key, fact in facts.items() if key == last or fact.kind is not Kind.SURVEY_RESPONSE}


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows of a timeline stand: the anchor, and the other identifiers it was chosen from."""

    anchor: int
    others: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a timeline."""

    place: Place
    key: bytes
    fact: Fact
    document: str | None

    @property
    def row(self) -> tuple[int, datetime, bytes]:
        """The key of the row."""
        return self.place.anchor, self.fact.at, self.key


def entries(document: str, facts: Facts, place: Place | None) -> dict[bytes, Entry]:
    """Lay a document out as rows by event key; a document without an owner has none."""
    if place is None:
        return {}
    return {key: Entry(place, key, fact, document) for key, fact in shown(facts).items()}


def difference(old: Mapping[bytes, Entry], new: Mapping[bytes, Entry]) -> tuple[list[Entry], list[Entry]]:
    """Give the rows to take away and the rows to add."""
    gone = [entry for key, entry in old.items() if new.get(key) != entry]
    added = [entry for key, entry in new.items() if old.get(key) != entry]
    return gone, added
