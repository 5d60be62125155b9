"""Records to events to the store, one batch at a time."""

from collections.abc import Callable
from typing import Final, TypeVar

from pydantic import TypeAdapter

from cxloop_common.events import (
    CANONICAL_EVENT,
    CloudEvent,
    EventDecodeError,
    content_hash,
    decode_event,
)
from cxloop_common.kafka.records import Record
from cxloop_common.processor import Batch, PoisonError, PoisonReason, Transaction
from cxloop_common.topics import SCORE_EVENT, SCORES, SURVEYS, TICKETS, TOUCHPOINTS, Topic, TopicNames
from cxloop_journey.store.batch import Arrival, ScoreArrival, apply_batch
from cxloop_journey.store.identity_key import DeploymentKey

TOPICS: Final[tuple[Topic, ...]] = (TICKETS, SURVEYS, TOUCHPOINTS, SCORES)
EventT = TypeVar("EventT", bound=CloudEvent)
Count = Callable[[str, str, int], None]
"""Takes a stage, a reason and a number."""


class JourneyHandler:
    """Folds canonical events and scores into customers and their timelines."""

    def __init__(self, names: TopicNames, key: DeploymentKey, count: Count) -> None:
        self._scores = names.name(SCORES)
        self._key = key
        self._count = count

    async def handle(self, batch: Batch, transaction: Transaction) -> None:
        """Apply a batch in its transaction; what does not decode is parked."""
        key = await self._key.get()
        arrivals: list[Arrival] = []
        scores: list[ScoreArrival] = []
        for record in batch:
            try:
                if record.topic == self._scores:
                    score = _decode(SCORE_EVENT, record)
                    scores.append(ScoreArrival(score, content_hash(record.value or b"")))
                else:
                    event = _decode(CANONICAL_EVENT, record)
                    arrivals.append(Arrival(event, content_hash(record.value or b"")))
            except PoisonError as error:
                batch.park(record, error)
        done = await apply_batch(transaction.connection, arrivals, scores, key)
        self._count("timeline", "written", done.rows)
        self._count("timeline", "anonymous", done.anonymous)
        self._count("identity", "moved", done.links.moved)
        self._count("identity", "turned_shared", done.links.shared)
        self._count("identity", "lock_restarted", done.links.restarts)


def _decode(adapter: TypeAdapter[EventT], record: Record) -> EventT:
    try:
        return decode_event(adapter, record.headers, record.value)
    except EventDecodeError as error:
        raise PoisonError(PoisonReason.UNREADABLE, str(error), record) from error
