"""Three months of a middling support desk: survey responses and tickets, in the order in which they happened.

Values are written without the models, which would take longer than the workers do; that none of them is parked
shows that they are what the models accept.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from bench.workload import AGENTS, CHANNELS, CUSTOMERS, SEGMENTS, SOURCES, TEAMS, TOUCHPOINTS, Encoded
from cxloop_common.events.base import rfc3339
from cxloop_common.topics import SURVEYS, TICKETS, Topic

DAYS = 90
CONTACT_TYPES = ("billing", "delivery", "returns", "login", "other")
SURVEYS_OF_A_YEAR = ("post-ticket", "post-purchase", "relationship")
EVENTS_A_TICKET = 3
COMMENT = "The agent was helpful, but it took long to get there. "
_encode = msgspec.json.Encoder().encode


class _Event(NamedTuple):
    """One event before it is encoded; `document` is its key as well."""

    document: str
    source: str
    at: datetime
    identity: str
    data: dict[str, Any]


def responses(count: int, until: datetime, seed: int = 11) -> Iterator[Encoded]:
    """Make NPS responses, evenly over the `DAYS` before `until`, of 60 agents in 8 teams and 200,000 customers."""
    chance = random.Random(seed)  # noqa: S311 the same history for every run, not a secret
    for number, at in enumerate(_times(count, until)):
        agent = chance.randrange(len(AGENTS))
        source = chance.choice(SOURCES)
        response = f"R_{number:x}{chance.getrandbits(40):010x}"
        event = _Event(
            f"response:{source}:{response}",
            source,
            at,
            f"{chance.getrandbits(128):032x}",
            {
                "identifiers": [f"user:u{chance.randrange(CUSTOMERS)}"],
                "dimensions": {
                    "segment": chance.choice(SEGMENTS),
                    "team": TEAMS[agent % len(TEAMS)],
                    "agent": AGENTS[agent],
                },
                "response_id": response,
                "metric": "nps",
                "score": min(10, int(chance.triangular(0, 11, 9))),
                "scale": {"min": 0, "max": 10, "polarity": "higher_is_better"},
                "survey_id": chance.choice(SURVEYS_OF_A_YEAR),
                "comment": COMMENT,
                "touchpoint": chance.choice(TOUCHPOINTS),
                "channel": chance.choice(CHANNELS),
            },
        )
        yield _record(SURVEYS, "cxloop.survey.responded", event)


def tickets(count: int, until: datetime, seed: int = 12) -> Iterator[Encoded]:
    """Make tickets of the same customers: created, answered and solved, three events each."""
    chance = random.Random(seed)  # noqa: S311 as above
    for number, at in enumerate(_times(count, until)):
        agent = chance.randrange(len(AGENTS))
        source = chance.choice(SOURCES)
        ticket = str(1_000_000 + number)
        key = f"ticket:{source}:{ticket}"
        common: dict[str, Any] = {
            "identifiers": [f"user:u{chance.randrange(CUSTOMERS)}"],
            "dimensions": {"segment": chance.choice(SEGMENTS)},
            "ticket_id": ticket,
        }
        created = {
            "channel": chance.choice(CHANNELS),
            "created_by": "customer",
            "team": TEAMS[agent % len(TEAMS)],
            "agent": AGENTS[agent],
            "contact_type": chance.choice(CONTACT_TYPES),
        }
        replied = {"message_id": f"m{number}", "author": "agent", "public": True}
        for kind, said, later in (
            ("created", created, timedelta()),
            ("replied", replied, timedelta(minutes=chance.expovariate(1 / 90))),
            ("status_changed", {"status": "solved"}, timedelta(hours=chance.expovariate(1 / 12))),
        ):
            identity = f"{chance.getrandbits(128):032x}"
            event = _Event(key, source, at + later, identity, {**common, **said})
            yield _record(TICKETS, f"cxloop.ticket.{kind}", event)


def end() -> datetime:
    """Give the end of a history that begins `DAYS` before it: the last full hour, four days ago.

    A broker refuses records whose time lies ahead of its own, and the last tickets go on for a while.
    """
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=4)


def _times(count: int, until: datetime) -> Iterator[datetime]:
    begin = until - timedelta(days=DAYS)
    for number in range(count):
        yield begin + timedelta(days=DAYS) * (number / count)


def _record(topic: Topic, kind: str, event: _Event) -> Encoded:
    key, source, at, identity, data = event
    subject = key.encode()
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_type", kind.encode()),
        ("ce_source", source.encode()),
        ("ce_time", rfc3339(at).encode()),
        ("content-type", b"application/json"),
        ("ce_subject", subject),
    ]
    return Encoded(topic, subject, _encode(data), headers, int(at.timestamp() * 1000), b"")
