"""The service beside a database that a test fills: its API asked over HTTP, its workers fed by hand."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cxloop_common.events import CloudEvent, JourneyChanged, encode_event
from cxloop_common.kafka.records import Message
from cxloop_common.processor import Batch
from cxloop_common.topics import JOURNEYS, SCORING_LINKS
from cxloop_scoring.generations import rules_of
from cxloop_scoring.identities import IdentityHandler

from .drawing import NOW
from .installation import RULES

_TABLES = "documents, ledger, bucket_hour, bucket_day, case_links, customers, customer_history"


@dataclass
class World:
    """Two workers and an API on one schema. Words for dimensions stay when it is emptied."""

    worker: Any
    """The Worker of the tests beside."""
    client: Any
    asked: int = field(default=0)
    """How many answers were asked for."""
    told: int = field(default=0)
    """How many histories were delivered."""

    async def empty(self) -> None:
        """Forget everything."""
        await self.worker.connection.execute(f"TRUNCATE {_TABLES}")
        self.worker.published.clear()
        self.worker.parked.clear()
        self.worker.rules = replace(RULES, generation=rules_of(None).generation)
        self.worker.restart()

    async def deliver(self, records: Iterable[CloudEvent], at: datetime, seed: int, largest: int) -> None:
        """Process records at a moment, and the links that follow: shuffled, some doubled, in batches of any cut."""
        self.worker.now = at
        chance = random.Random(seed)  # noqa: S311 - shuffles, reproducible by their seed
        given = list(records)
        journeys = [record for record in given if isinstance(record, JourneyChanged)]
        waiting = self.worker.records(record for record in given if not isinstance(record, JourneyChanged))
        waiting += [self._journey(record) for record in journeys]
        waiting += [chance.choice(waiting) for _ in range(len(waiting) // 3)]
        while waiting:
            chance.shuffle(waiting)
            size = chance.randint(1, largest)
            part, waiting = waiting[:size], waiting[size:]
            await self._identify([record for record in part if record.topic == JOURNEYS.name])
            for message in await self.worker.batch([one for one in part if one.topic != JOURNEYS.name]):
                if message.topic == SCORING_LINKS.name:
                    waiting += [self.worker.record(message)] * chance.randint(1, 2)
        assert not self.worker.parked

    def _journey(self, record: JourneyChanged) -> Any:
        key, value, headers = encode_event(record)
        return self.worker.record(Message(JOURNEYS.name, key, value, tuple(headers)))

    async def _identify(self, records: Sequence[Any]) -> None:
        handler = IdentityHandler(lambda: self.worker.now)
        async with self.worker.connection.transaction():
            await handler.handle(Batch(records, {}), _Transaction(self.worker.connection))

    async def get(self, path: str, **parameters: Any) -> Mapping[str, Any]:
        """Ask; values of few observations are not withheld."""
        self.asked += 1
        answer = await self.client.get(path, params={"unsuppress": "true", **parameters})
        assert answer.status_code == 200, (path, parameters, answer.text)
        return answer.json()


class _Transaction:
    """A transaction on a real connection, for a handler that announces nothing."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def publish(self, messages: Sequence[Message]) -> None:
        raise AssertionError(f"identities announce nothing, yet sent {len(messages)}")

    enqueue = publish


def clock() -> datetime:
    """Give the time that the API believes it is."""
    return NOW
