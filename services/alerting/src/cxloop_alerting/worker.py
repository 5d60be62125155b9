"""Scores and journeys in, cases and alert records out, one batch a transaction."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cxloop_alerting.casework import Casework
from cxloop_alerting.domain.configuration import Configurations
from cxloop_alerting.domain.facts import ScoreFact, score_fact, triggered_rules
from cxloop_alerting.store import cases as case_store
from cxloop_alerting.store import facts as fact_store
from cxloop_alerting.store import log as log_store
from cxloop_alerting.store.facts import MovedIdentity
from cxloop_common.events import CloudEvent, EventDecodeError, JourneyChanged, ScoreRecorded, decode_event
from cxloop_common.kafka.records import Record
from cxloop_common.processor import Batch, PoisonError, PoisonReason, Transaction
from cxloop_common.topics import JOURNEY_EVENT, JOURNEYS, SCORE_EVENT, SCORES, TopicNames

TOPICS = (SCORES, JOURNEYS)


@dataclass
class Arrived:
    """A batch's records, each document, identifier and customer in its newest revision."""

    facts: dict[str, ScoreFact] = field(default_factory=dict[str, ScoreFact])
    identities: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    cards: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])

    def take(self, event: CloudEvent) -> None:
        """Take one event in. Raises ValueError for a document id that is none."""
        if isinstance(event, ScoreRecorded):
            fact = score_fact(event)
            held = self.facts.get(fact.document)
            if held is None or fact.supersedes(held):
                self.facts[fact.document] = fact
        elif isinstance(event, JourneyChanged):
            customer = event.merged_into or event.customer_id
            for identifier in event.identifiers:
                known = self.identities.get(identifier.id)
                # Of two customers under one version the lesser counts, here as in the database.
                if (
                    known is None
                    or identifier.version > known[0]
                    or (identifier.version == known[0] and customer < known[1])
                ):
                    self.identities[identifier.id] = (identifier.version, customer)
            if event.card is not None:
                card = self.cards.get(customer)
                if card is None or event.version > card[0]:
                    self.cards[customer] = (event.version, event.card.model_dump_json().encode())


@dataclass
class Touched:
    """Subjects whose cases may change, and the documents they were found by."""

    subjects: set[str] = field(default_factory=set[str])
    documents: set[str] = field(default_factory=set[str])


class CaseHandler:
    """Folds batches of scores and journeys into cases."""

    def __init__(self, casework: Casework, names: TopicNames, now: Callable[[], datetime]) -> None:
        self._casework = casework
        self._journeys = names.name(JOURNEYS)
        self._now = now

    async def handle(self, batch: Batch, transaction: Transaction) -> None:
        """Write facts, identities and cards; fold the subjects they concern."""
        arrived = self._read(batch)
        connection = transaction.connection
        changed = (
            await fact_store.upsert_facts(connection, list(arrived.facts.values())) if arrived.facts else {}
        )
        moved = (
            await fact_store.upsert_identities(connection, arrived.identities) if arrived.identities else []
        )
        carded = await fact_store.upsert_cards(connection, arrived.cards) if arrived.cards else []
        now = self._now()
        configurations = await self._casework.configurations(connection, now)
        touched = Touched()
        if changed:
            facts = [arrived.facts[document] for document in changed]
            await self._touch_facts(connection, facts, changed, configurations, touched)
        if moved:
            await self._touch_moved(connection, moved, touched)
        if carded:
            touched.subjects |= await case_store.waiting_for_context(connection, carded)
        if not touched.subjects:
            return
        held = await self._casework.hold(connection, touched.subjects, touched.documents)
        outcome = await self._casework.refold(connection, held, now, recheck=True)
        transaction.enqueue(outcome.messages)

    def _read(self, batch: Batch) -> Arrived:
        arrived = Arrived()
        for record in batch:
            try:
                arrived.take(self._decode(record))
            except EventDecodeError as error:
                batch.park(record, PoisonError(PoisonReason.UNREADABLE, str(error), record))
            except ValueError as error:
                batch.park(record, PoisonError(PoisonReason.CONTRADICTION, str(error), record))
        return arrived

    def _decode(self, record: Record) -> CloudEvent:
        if record.topic == self._journeys:
            return decode_event(JOURNEY_EVENT, record.headers, record.value)
        return decode_event(SCORE_EVENT, record.headers, record.value)

    async def _touch_facts(
        self,
        connection: object,
        facts: list[ScoreFact],
        before: dict[str, str | None],
        configurations: Configurations,
        touched: Touched,
    ) -> None:
        """Find the subjects of facts that trigger, that ever did, or that belong to somebody with cases."""
        hints = {fact.hint for fact in facts} | {hint for hint in before.values() if hint is not None}
        known = await fact_store.customers_of(connection, hints)
        subject_of = {hint: known.get(hint, hint) for hint in hints}
        watched = await case_store.watched(connection, set(subject_of.values()))
        logged = await log_store.logged_documents(connection, [fact.document for fact in facts])
        for fact in facts:
            own = {fact.hint, before[fact.document] or fact.hint}
            names = {subject_of[hint] for hint in own}
            if names & watched or fact.document in logged or triggered_rules(fact, configurations):
                touched.subjects |= names
                touched.documents.add(fact.document)

    async def _touch_moved(self, connection: object, moved: list[MovedIdentity], touched: Touched) -> None:
        """Find the subjects that win or lose a hint, where either has cases."""
        watched = await case_store.watched(connection, {name for m in moved for name in (m.before, m.after)})
        for move in moved:
            if move.before in watched or move.after in watched:
                touched.subjects |= {move.before, move.after}
