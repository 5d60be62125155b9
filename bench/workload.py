"""Synthetic tickets and survey responses, the same for every run of one seed, in our wire format.

The shape: 60 % ticket and 40 % survey events, of 5 tickets' events in a ticket's life and 1.25 of a response's
(a quarter are edited once), 5 % of all events arrive twice, out of order by some seconds. Values are about 500 bytes.
"""

import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cxloop_common.events import (
    CanonicalEventBase,
    Scale,
    SurveyResponded,
    TicketAssigned,
    TicketCreated,
    TicketReplied,
    TicketStatusChanged,
    encode_event,
)
from cxloop_common.topics import NORMALISED, Topic

SOURCES = ("zendesk", "intercom", "freshdesk")
CHANNELS = ("email", "chat", "phone", "web", "social")
TEAMS = tuple(f"team-{number}" for number in range(8))
AGENTS = tuple(f"agent-{number}" for number in range(60))
TOUCHPOINTS = tuple(f"touchpoint-{number}" for number in range(10))
SEGMENTS = ("smb", "mid", "enterprise", "free")
SCALES = {"nps": Scale(min=0, max=10), "csat": Scale(min=1, max=5), "ces": Scale(min=1, max=7)}
CUSTOMERS = 200_000
VALUE_BYTES = 488
TICKET_SHARE = 0.6
DUPLICATE_SHARE = 0.05
EVENTS_A_TICKET = 5.12
EVENTS_A_RESPONSE = 1.25
EDITED_SHARE = 0.25
REOPENED_SHARE = 0.06
SECONDS_OUT_OF_ORDER = 5.0
LONGEST_STEP_S = 14_400.0


class Encoded(NamedTuple):
    """One record, ready for any producer."""

    topic: Topic
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    time_ms: int
    group: bytes
    """One of 24: team and source; the key that the peer counts by."""


@dataclass(frozen=True)
class Workload:
    """Records in arrival order, and what they amount to."""

    records: list[Encoded]
    documents: int = 0
    """How many documents all the records make; 0 where that is not known."""

    @property
    def mean_bytes(self) -> float:
        """Mean size of a value."""
        return sum(len(record.value) for record in self.records) / len(self.records)


def make(events: int, *, span: timedelta, until: datetime | None = None, seed: int = 7) -> Workload:
    """Make about `events` records of documents that begin in the `span` before `until`.

    Without it that is four days ago, to the hour: a broker refuses records whose time lies ahead of its own, and
    the last documents go on for a while.
    """
    chance = random.Random(seed)  # noqa: S311 the same workload for every run, not a secret
    end = until or datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=4)
    made = list(_events(chance, events, end - span, span))
    arrivals = [(_later(chance, event.time, 0), event) for event in made]
    twice = chance.sample(made, int(len(made) * DUPLICATE_SHARE / (1 - DUPLICATE_SHARE)))
    arrivals += [(_later(chance, event.time, 30), event) for event in twice]
    arrivals.sort(key=lambda arrival: (arrival[0], arrival[1].id))
    encoded: dict[str, Encoded] = {}
    records = [encoded.get(event.id) or encoded.setdefault(event.id, _encode(event)) for _, event in arrivals]
    return Workload(records, len({event.subject for event in made}))


def _later(chance: random.Random, at: datetime, mean_delay_s: float) -> datetime:
    delay = chance.expovariate(1 / mean_delay_s) if mean_delay_s else 0.0
    return at + timedelta(seconds=delay + chance.gauss(0, SECONDS_OUT_OF_ORDER))


def _encode(event: CanonicalEventBase) -> Encoded:
    key, value, headers = encode_event(event)
    if len(value) < VALUE_BYTES:
        # A field that readers do not know makes up the size, as a newer writer's would.
        data = json.loads(value)
        words = f"the agent was helpful but it took long {zlib.crc32(value)} "
        data["note"] = words.ljust(VALUE_BYTES - len(value) - len(',"note":""'), "x")
        value = json.dumps(data, separators=(",", ":")).encode()
    group = f"{TEAMS[zlib.crc32(key) % len(TEAMS)]}|{event.source}".encode()
    at = int(event.time.timestamp() * 1000)
    return Encoded(NORMALISED[event.TYPE], key, value, headers, at, group)


def _events(
    chance: random.Random, events: int, begin: datetime, span: timedelta
) -> Iterator[CanonicalEventBase]:
    single = events * (1 - DUPLICATE_SHARE)
    for number in range(int(single * TICKET_SHARE / EVENTS_A_TICKET)):
        yield from _ticket(chance, str(1_000_000 + number), begin, span)
    for number in range(int(single * (1 - TICKET_SHARE) / EVENTS_A_RESPONSE)):
        yield from _response(chance, f"R_{number:x}{chance.getrandbits(40):010x}", begin, span)


class _Clock:
    """The time of one document's events, which goes forward by random steps."""

    def __init__(self, chance: random.Random, begin: datetime, span: timedelta) -> None:
        self.now = begin + span * chance.random()
        self._chance = chance
        # A ticket takes most of a day, unless the whole log is shorter.
        self._mean_s = LONGEST_STEP_S if span >= timedelta(days=1) else span.total_seconds() / 20

    def step(self, share: float = 1.0) -> datetime:
        self.now += timedelta(seconds=self._chance.expovariate(1 / self._mean_s) * share)
        return self.now


def _ticket(
    chance: random.Random, number: str, begin: datetime, span: timedelta
) -> Iterator[CanonicalEventBase]:
    clock = _Clock(chance, begin, span)
    agent = chance.randrange(len(AGENTS))
    source = chance.choice(SOURCES)
    common = {
        "source": source,
        "ticket_id": number,
        "identifiers": (f"{source}.requester:{chance.randrange(CUSTOMERS)}",),
        "dimensions": {"segment": chance.choice(SEGMENTS)},
    }

    def identity() -> str:
        return f"{chance.getrandbits(128):032x}"

    yield TicketCreated.model_validate(
        {
            **common,
            "id": identity(),
            "time": clock.now,
            "channel": chance.choice(CHANNELS),
            "created_by": "customer",
        }
    )
    yield TicketAssigned.model_validate(
        {
            **common,
            "id": identity(),
            "time": clock.step(0.2),
            "team": TEAMS[agent % len(TEAMS)],
            "agent": AGENTS[agent],
        }
    )
    yield TicketReplied.model_validate(
        {
            **common,
            "id": identity(),
            "time": clock.step(),
            "message_id": identity(),
            "author": "agent",
            "public": True,
        }
    )
    statuses = [(chance.choice(("pending", "open")), 1.0), ("solved", 2.0)]
    if chance.random() < REOPENED_SHARE:
        statuses += [("open", 1.0), ("solved", 1.0)]
    for status, share in statuses:
        yield TicketStatusChanged.model_validate(
            {**common, "id": identity(), "time": clock.step(share), "status": status}
        )


def _response(
    chance: random.Random, number: str, begin: datetime, span: timedelta
) -> Iterator[CanonicalEventBase]:
    clock = _Clock(chance, begin, span)
    agent = chance.randrange(len(AGENTS))
    metric = chance.choice(("nps", "nps", "csat", "ces"))
    scale = SCALES[metric]
    low, high = int(scale.min), int(scale.max)
    score = min(high, max(low, int(chance.triangular(low, high + 1, high * 0.9))))
    common = {
        "source": chance.choice(SOURCES),
        "response_id": number,
        "identifiers": (f"user:u{chance.randrange(CUSTOMERS)}",),
        "metric": metric,
        "scale": scale,
        "channel": chance.choice(CHANNELS),
        "touchpoint": chance.choice(TOUCHPOINTS),
        "dimensions": {
            "segment": chance.choice(SEGMENTS),
            "team": TEAMS[agent % len(TEAMS)],
            "agent": AGENTS[agent],
        },
    }
    yield SurveyResponded.model_validate(
        {**common, "id": f"{chance.getrandbits(128):032x}", "time": clock.now, "score": score}
    )
    if chance.random() < EDITED_SHARE:
        score = min(high, max(low, score + chance.choice((-1, 1))))
        yield SurveyResponded.model_validate(
            {**common, "id": f"{chance.getrandbits(128):032x}", "time": clock.step(), "score": score}
        )
