"""The context card: what an agent or an alert must know of a customer, without a word of theirs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

from cxloop_common.events.outcomes import ContactSummary, ContextCard, ScoreSummary
from cxloop_common.identifiers import mask
from cxloop_journey.domain.identity import rank
from cxloop_journey.domain.stages import ORDER, Stage, StageAnswer, StageFacts, stage_at

CONTACTS_ON_A_CARD: Final = 5
SCORES_ON_A_CARD: Final = 5
IDENTIFIERS_ON_A_CARD: Final = 24
"""With contacts and scores bounded too, a card stays far below 8 KiB."""

Identity = Literal["sole", "merged", "contested", "split", "shared"]


class KnownIdentifier(NamedTuple):
    """An identifier of a customer."""

    text: str
    scheme: str
    hash: bytes
    first_seen: datetime


class StagedAt(NamedTuple):
    """The latest touchpoint of a customer's with one stage."""

    at: datetime
    stage: Stage


@dataclass(frozen=True, slots=True)
class CustomerFacts:
    """All that is folded for one customer; each list may be longer than a card and in any order."""

    identifiers: Sequence[KnownIdentifier]
    shared: bool
    contested: bool
    touchpoints: int
    last_at: datetime | None
    """Time of the latest timeline entry; None where there is none."""
    contacts: Sequence[ContactSummary]
    scores: Sequence[ScoreSummary]
    open_tickets: int
    staged: Sequence[StagedAt]

    @property
    def first_seen(self) -> datetime:
        """When any of the identifiers was first seen."""
        return min(identifier.first_seen for identifier in self.identifiers)

    @property
    def last_seen(self) -> datetime:
        """When anything last happened; the first sighting where no entry is left."""
        return self.last_at or max(identifier.first_seen for identifier in self.identifiers)

    def by_trust(self) -> list[KnownIdentifier]:
        """Sort the identifiers: best-ranked first, then by text."""
        return sorted(self.identifiers, key=lambda one: (rank(one.scheme), one.text))


def stage_facts(open_tickets: int, staged: Iterable[StagedAt]) -> StageFacts:
    """Fold staged touchpoints: the last contact, and the latest of any other stage by (time, stage order)."""
    contact: datetime | None = None
    latest: StagedAt | None = None
    for one in staged:
        if one.stage is Stage.SERVICE:
            contact = one.at if contact is None else max(contact, one.at)
        elif latest is None or (one.at, ORDER[one.stage]) > (latest.at, ORDER[latest.stage]):
            latest = one
    return StageFacts(open_tickets, contact, latest.stage if latest else None)


def stage_of(facts: CustomerFacts, now: datetime) -> StageAnswer:
    """Place the customer at a time."""
    return stage_at(stage_facts(facts.open_tickets, facts.staged), now)


def identity_of(facts: CustomerFacts) -> Identity:
    """Say how the customer came to be one."""
    if facts.shared:
        return "shared"
    if facts.contested:
        return "contested"
    return "merged" if len(facts.identifiers) > 1 else "sole"


def card_of(facts: CustomerFacts, now: datetime) -> ContextCard:
    """Write the card. A shared mailbox belongs to nobody: its card tells nothing of those who wrote from it."""
    contacts = sorted(facts.contacts, key=lambda one: (one.at, one.kind, one.summary), reverse=True)
    scores = sorted(facts.scores, key=lambda one: (one.at, one.metric, one.value), reverse=True)
    told = not facts.shared
    return ContextCard(
        stage=stage_of(facts, now).stage if told else Stage.UNKNOWN,
        first_seen=facts.first_seen,
        last_seen=facts.last_seen,
        touchpoints=facts.touchpoints,
        last_contacts=tuple(contacts[:CONTACTS_ON_A_CARD]) if told else (),
        last_scores=tuple(scores[:SCORES_ON_A_CARD]) if told else (),
        open_tickets=facts.open_tickets if told else 0,
        identity=identity_of(facts),
        masked_identifiers=tuple(mask(one.text) for one in facts.by_trust()[:IDENTIFIERS_ON_A_CARD]),
    )
