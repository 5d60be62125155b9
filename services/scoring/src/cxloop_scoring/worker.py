"""The worker: records to facts, facts to documents, and what that changes to ledger, buckets and scores."""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from cxloop_common.database import Database
from cxloop_common.kafka.records import Message
from cxloop_common.processor import Batch, PoisonError, PoisonReason, Transaction
from cxloop_common.topics import SCORES, SCORING_LINKS, TopicNames
from cxloop_scoring.domain.buckets import BucketRows, Changes, Entry
from cxloop_scoring.domain.cases import CASE, CaseLink, case_links
from cxloop_scoring.domain.documents import (
    RESPONSE,
    Folded,
    anomalies,
    fold,
    observations,
    source_of,
    survivors,
    times_of_their_own,
)
from cxloop_scoring.domain.facts import Fact, Facts, add_fact, encode_facts
from cxloop_scoring.domain.observations import Observation, differences
from cxloop_scoring.domain.reading import SaysNothingError, UnreadableError, read
from cxloop_scoring.domain.responses import Response
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.scores import Encoded, link_of, score_of
from cxloop_scoring.domain.tickets import Ticket
from cxloop_scoring.recent import Recent, Standing
from cxloop_scoring.store.booked import booked_before
from cxloop_scoring.store.case_links import forget_case_links, remember_case_links
from cxloop_scoring.store.scales import Scales, SurveyScale, scale_of
from cxloop_scoring.store.vocabulary import Vocabulary
from cxloop_scoring.store.writing import (
    BUCKET_TABLES,
    ChangedDocument,
    StoredDocument,
    add_to_buckets,
    append_ledger,
    merge_buckets,
    merge_documents,
    read_documents,
    stage_buckets,
    stage_documents,
)

T = TypeVar("T")


class Counter(Protocol):
    """A count that goes up, as the telemetry's counters do."""

    def inc(self, amount: float = 1) -> None:
        """Add to the count."""
        ...


class LabelledCounter(Protocol):
    """A family of counters, as the telemetry has them."""

    def labels(self, *values: str) -> Counter:
        """Give the counter of these label values."""
        ...


class Counters(NamedTuple):
    """What the worker counts beside the processor."""

    conflicting: Counter
    """Contents that lost against another one under the same event id."""
    anomalies: LabelledCounter
    """Documents whose times contradict themselves, by reason, each when that is first seen."""
    values: LabelledCounter
    """Dimension values that were never seen before, by dimension."""


class InForce(Protocol):
    """Knows the rules by which documents are booked."""

    async def at_least(self, generation: int) -> Rules:
        """Give the rules in force where documents of this generation are met, newer ones if need be."""
        ...


class _Arrivals(msgspec.Struct, frozen=True, gc=False):
    """What one batch brought for one document."""

    shard: int
    facts: list[tuple[str, Fact]]


_Booking = tuple[str, int, int, Observation]
"""Document, shard, sign and observation on their way into ledger and buckets: a bare tuple, for there are many."""


class ScoringHandler:
    """Folds tickets, responses, linked facts, touchpoints and cases.

    A batch becomes the difference between what its documents contributed and what they contribute now; a batch
    of duplicates changes and publishes nothing.
    """

    def __init__(
        self,
        database: Database,
        names: TopicNames,
        now: Callable[[], datetime],
        rules: InForce,
        counters: Counters,
    ) -> None:
        self._vocabulary = Vocabulary(database, self._count_values)
        self._scales = Scales(database)
        self._scores = names.name(SCORES)
        self._links = names.name(SCORING_LINKS)
        self._now = now
        self._rules = rules
        self._counters = counters
        self._recent = Recent()

    async def handle(self, batch: Batch, transaction: Transaction) -> None:
        """Fold a batch in its transaction.

        PostgreSQL works on each statement while the next one, or what is published, is being prepared here.
        """
        connection = transaction.connection
        arrivals = _arrivals(batch)
        stored = await read_documents(connection, list(arrivals)) if arrivals else {}
        changed, folded = self._fold(arrivals, stored)
        if not changed:
            return
        rules = await self._rules.at_least(max((one.generation for one in stored.values()), default=0))
        await self._scales.learn(_scales(arrivals))
        outdated = {
            document.id: stored[document.id]
            for document in changed
            if document.version is not None and stored[document.id].generation != rules.generation
        }
        booked = await booked_before(connection, outdated, rules) if outdated else {}
        now = {id_: _standing(one, rules) for id_, one in folded.items()}
        if rules.sla:
            changed = [
                msgspec.structs.replace(
                    document, booked_at=times_of_their_own(document.facts, now[document.id].observations)
                )
                for document in changed
            ]
        staged = await stage_documents(connection, changed, rules.generation)
        bookings, surprises = await _meanwhile(
            merge_documents(connection, staged),
            lambda: self._bookings(changed, now, stored, booked, rules),
        )
        for id_, encoded in staged.facts.items():
            self._recent.keep(id_, encoded, rules.generation, now[id_])
        for reason, times in surprises.items():
            self._counters.anomalies.labels(reason).inc(times)
        links, gone = _case_links(changed, stored)
        await remember_case_links(connection, links, self._now())
        await forget_case_links(connection, gone, self._now())

        def announce() -> None:
            transaction.publish(self._messages(changed, folded, stored, rules.generation))

        if not bookings:
            announce()
            return
        entries = await self._entries(bookings)
        changes, by_hour = await _meanwhile(
            append_ledger(connection, entries, [booking[0] for booking in bookings], self._now()),
            lambda: _hours(entries),
        )
        hours, days = BUCKET_TABLES
        staged_hours = await stage_buckets(connection, hours, by_hour)
        # Acknowledgements have the time that the days take to arrive in.
        by_day, _ = await _meanwhile(
            merge_buckets(connection, staged_hours), lambda: (changes.days(), announce())
        )
        await add_to_buckets(connection, days, by_day)

    async def _entries(self, bookings: Iterable[_Booking]) -> list[Entry]:
        """Resolve the dimensions of bookings; those of one document mostly share theirs, which saves look-ups."""
        filed = {id(dimensions := booking[3].dimensions): dimensions for booking in bookings}
        numbers = await self._vocabulary.resolve(filed.values())
        resolved = {identity: numbers[dimensions] for identity, dimensions in filed.items()}
        return [
            Entry(sign, observation, shard, resolved[id(observation.dimensions)])
            for _, shard, sign, observation in bookings
        ]

    def _bookings(
        self,
        changed: Iterable[ChangedDocument],
        standing: Mapping[str, Standing],
        stored: Mapping[str, StoredDocument],
        booked: Mapping[str, list[Observation]],
        rules: Rules,
    ) -> tuple[list[_Booking], Tally[str]]:
        """Give what has to be booked, and which documents' times now contradict themselves, by reason."""
        bookings: list[_Booking] = []
        surprises: Tally[str] = Tally()
        for one in changed:
            document, shard = one.id, one.shard
            now, odd = standing[document].observations, standing[document].anomalies
            if one.version is None:
                if odd:
                    surprises.update(odd)
                bookings += [(document, shard, 1, observation) for observation in now]
                continue
            before = booked.get(document)
            if before is None or odd:
                was = self._before(document, stored[document], rules)
                if odd:
                    surprises.update(set(odd).difference(was.anomalies))
                if before is None:
                    before = was.observations
            if before != now:
                bookings += [
                    (document, shard, sign, observation) for sign, observation in differences(before, now)
                ]
        return bookings, surprises

    def _before(self, document: str, stored: StoredDocument, rules: Rules) -> Standing:
        """Give what a document contributed, by today's rules."""
        known = self._recent.find(document, stored.encoded, rules.generation)
        return known or _standing(fold(document, stored.facts), rules)

    def _count_values(self, new: Mapping[str, int]) -> None:
        for dimension, values in new.items():
            self._counters.values.labels(dimension).inc(values)

    def _fold(
        self, arrivals: Mapping[str, _Arrivals], stored: Mapping[str, StoredDocument]
    ) -> tuple[list[ChangedDocument], dict[str, Folded | None]]:
        """Add what arrived to the documents; give those that changed, and each of these folded.

        Folded and encoded one by one, for a whole batch of facts has left the processor's cache at its end.
        """
        changed: list[ChangedDocument] = []
        folded: dict[str, Folded | None] = {}
        for document, arrived in arrivals.items():
            known = stored.get(document)
            facts: Facts = {} if known is None else dict(known.facts)
            news = lost = 0
            for event_id, fact in arrived.facts:
                size, contested = len(facts), event_id in facts
                news += add_fact(facts, event_id, fact)
                # Nothing but a tombstone makes a document longer by an event id that it has.
                lost += contested and len(facts) > size
            if lost:
                self._counters.conflicting.inc(lost)
            if news:
                version = None if known is None else known.version
                encoded = encode_facts(facts)
                changed.append(ChangedDocument(document, arrived.shard, facts, version, (), encoded))
                folded[document] = fold(document, facts)
        return changed, folded

    def _messages(
        self,
        changed: Iterable[ChangedDocument],
        folded: Mapping[str, Folded | None],
        stored: Mapping[str, StoredDocument],
        generation: int,
    ) -> list[Message]:
        messages: list[Message] = []
        for document in changed:
            standing = folded[document.id]
            if isinstance(standing, Response):
                score = score_of(document.id, document.facts, standing, generation)
                messages.append(_message(self._scores, score))
            elif standing is None or (isinstance(standing, Ticket) and standing.merged_at is not None):
                known = stored.get(document.id)
                messages += self._links_of(document.id, document.facts, {} if known is None else known.facts)
        return messages

    def _links_of(self, document: str, facts: Facts, before: Facts) -> list[Message]:
        """Pass the facts of a merged ticket on: new ones to survivors that know it, all to others."""
        told = survivors(document, before)
        return [
            _message(self._links, link_of(document, target, key, fact))
            for target in sorted(survivors(document, facts))
            for key, fact in facts.items()
            if target not in told or before.get(key) is not fact
        ]


def _standing(folded: Folded | None, rules: Rules) -> Standing:
    return Standing(observations(folded, rules), anomalies(folded))


def _hours(entries: Iterable[Entry]) -> tuple[Changes, BucketRows]:
    changes = Changes(entries)
    return changes, changes.hours()


async def _meanwhile(writing: Coroutine[Any, Any, None], prepare: Callable[[], T]) -> T:
    """Start writing, prepare what comes next while PostgreSQL works, and wait until it is written.

    What is written by one statement is on its way once its task has run up to its first wait.
    """
    task = asyncio.create_task(writing)
    await asyncio.sleep(0)
    try:
        return prepare()
    finally:
        await task


def _message(topic: str, encoded: Encoded) -> Message:
    return Message(topic, encoded.key, encoded.value, encoded.headers)


def _scales(arrivals: Mapping[str, _Arrivals]) -> set[SurveyScale]:
    """Give the scales of all answers that came, those included that lose against another of their event id."""
    found: set[SurveyScale] = set()
    for document, arrived in arrivals.items():
        if document.startswith(RESPONSE):
            source = source_of(document)
            found.update(scale for _, fact in arrived.facts if (scale := scale_of(source, fact)) is not None)
    return found


def _case_links(
    changed: Iterable[ChangedDocument], stored: Mapping[str, StoredDocument]
) -> tuple[list[CaseLink], list[CaseLink]]:
    """Give the links of cases as they stand, and those that only contents have named that lost since."""
    links: list[CaseLink] = []
    gone: set[CaseLink] = set()
    for document in changed:
        if document.id.startswith(CASE):
            found = case_links(document.id, document.facts)
            links += found
            if document.version is not None:
                gone.update(set(case_links(document.id, stored[document.id].facts)).difference(found))
    return links, sorted(gone)


def _arrivals(batch: Batch) -> dict[str, _Arrivals]:
    arrivals: dict[str, _Arrivals] = {}
    for record in batch:
        try:
            document, event_id, fact = read(record.headers, record.value)
        except UnreadableError as error:
            batch.park(record, PoisonError(PoisonReason.UNREADABLE, str(error), record))
            continue
        except SaysNothingError:
            continue
        found = arrivals.get(document)
        if found is None:
            arrivals[document] = _Arrivals(batch.shard(record), [(event_id, fact)])
        else:
            found.facts.append((event_id, fact))
    return arrivals
