"""What the load generator writes: made-up tickets and responses as bytes on the wire, and records that are no events.

Written by hand from the format, not with the services' models.
"""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults.wire import Outgoing

TICKETS, SURVEYS = "cxloop.tickets.v1", "cxloop.surveys.v1"
SOURCE = "helpdesk-north"
TEAMS = ("billing", "delivery", "returns", "north sea", "b\x00side")
CHANNELS = ("email", "chat", "phone")
START = datetime(2026, 3, 2, 8, tzinfo=UTC)
SPAN_S = 12 * 24 * 3600
Story = list[Outgoing]


class Author:
    """Makes up stories from a seed: each is the life of one ticket or response."""

    def __init__(self, rng: random.Random, prefix: str) -> None:
        self._rng = rng
        self._prefix = prefix
        self._numbers = 0
        self._survivors: list[str] = []

    def stories(self) -> Iterator[Story]:
        """Make up stories without end."""
        while True:
            yield self._ticket() if self._rng.random() < 0.45 else self._response()  # share of tickets

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _time(self) -> datetime:
        return START + timedelta(milliseconds=self._rng.randrange(SPAN_S * 1000))

    def _ticket(self) -> Story:
        rng = self._rng
        ticket = f"T{self._number()}"
        at = self._time()

        def later() -> datetime:
            nonlocal at
            at += timedelta(milliseconds=rng.randrange(1, 20 * 3600 * 1000))
            return at

        def event(kind: str, when: datetime, **data: Any) -> Outgoing:
            return self._event(
                TICKETS, f"ticket.{kind}", f"ticket:{SOURCE}:{ticket}", when, ticket_id=ticket, **data
            )

        author = "agent" if rng.random() < 0.1 else "customer"  # a share, as below
        story = [
            event(
                "created",
                at,
                channel=rng.choice(CHANNELS),
                created_by=author,
                team=rng.choice(TEAMS),
                tags=rng.sample(["vip", "legal", "late"], rng.randrange(3)),
                identifiers=[f"email:{ticket.lower()}@example.com"],
            )
        ]
        for _ in range(rng.randrange(4)):
            writer = rng.choice(("agent", "agent", "customer", "bot"))
            public = rng.random() < 0.8
            story.append(
                event("replied", later(), message_id=f"M{self._number()}", author=writer, public=public)
            )
        if rng.random() < 0.3:
            story.append(event("assigned", later(), team=rng.choice((*TEAMS, None)), agent="kim"))
        story += self._solves(event, later)
        story += self._end(ticket, event, later)
        return story

    def _solves(self, event: Callable[..., Outgoing], later: Callable[[], datetime]) -> Story:
        rng = self._rng
        found: Story = []
        if rng.random() < 0.5:
            found.append(event("status_changed", later(), status="solved"))
            if rng.random() < 0.3:
                found.append(event("status_changed", later(), status=rng.choice(("open", "pending"))))
                if rng.random() < 0.6:
                    found.append(event("status_changed", later(), status="solved"))
        return found

    def _end(self, ticket: str, event: Callable[..., Outgoing], later: Callable[[], datetime]) -> Story:
        fate = self._rng.random()
        if fate < 0.04 and self._survivors:
            # Survivors are never merged away themselves, so a merge never forms a chain.
            return [event("merged", later(), into_ticket_id=self._rng.choice(self._survivors))]
        if fate < 0.06:
            return [event("deleted", later())]
        if fate > 0.9:
            self._survivors = [*self._survivors[-20:], ticket]
        return []

    def _response(self) -> Story:
        rng = self._rng
        response = f"R{self._number()}"
        key = f"response:{SOURCE}:{response}"
        at = self._time()
        story: Story = []
        if rng.random() < 0.3:
            story.append(
                self._event(
                    SURVEYS,
                    "survey.sent",
                    key,
                    at,
                    send_id=f"S{response}",
                    survey_id="post",
                    response_id=response,
                )
            )
        metric, least, most = rng.choice((("nps", 0, 10), ("csat", 1, 5), ("ces", 1, 7)))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at += timedelta(milliseconds=rng.randrange(1, 3600 * 1000))
            team = {"team": rng.choice(TEAMS)} if rng.random() < 0.9 else {}
            answer: dict[str, Any] = {
                "response_id": response,
                "metric": metric,
                "score": rng.randint(least, most),
                "scale": {"min": least, "max": most, "polarity": "higher_is_better"},
                "dimensions": team,
                "comment": "The wait was terrible",
                "identifiers": [f"email:{response.lower()}@example.com"],
            }
            story.append(self._event(SURVEYS, "survey.responded", key, at, **answer))
            if rng.random() < 0.01:
                # The same event id with other content and a later time: the earlier one stands.
                twin = {**answer, "score": most}
                told = dict(story[-1].headers)["ce_id"].decode()
                story.append(
                    self._event(
                        SURVEYS, "survey.responded", key, at + timedelta(hours=1), event_id=told, **twin
                    )
                )
        return story

    def _event(
        self, topic: str, kind: str, key: str, at: datetime, event_id: str | None = None, **data: Any
    ) -> Outgoing:
        event_id = event_id or f"{self._rng.getrandbits(128):032x}"
        headers = {
            "ce_specversion": "1.0",
            "ce_id": event_id,
            "ce_type": f"cxloop.{kind}",
            "ce_source": SOURCE,
            "ce_time": at.isoformat().replace("+00:00", "Z"),
            "content-type": "application/json",
            "ce_subject": key,
        }
        return Outgoing(
            self._prefix + topic,
            key.encode(),
            json.dumps({name: value for name, value in data.items() if value is not None}).encode(),
            tuple((name, value.encode()) for name, value in headers.items()),
        )


def traffic(rng: random.Random, prefix: str, count: int, *, poison: float = 0.0) -> list[Outgoing]:
    """Make `count` records: stories that overlap, every tenth record twice or three times, some far too late."""
    author = Author(rng, prefix)
    placed: list[tuple[float, int, Outgoing]] = []
    for start, story in enumerate(author.stories()):
        for step, event in enumerate(story):
            spot = start + rng.expovariate(1 / 20) + step * 2.0
            if rng.random() < 0.05:
                spot += rng.uniform(0, count / 2)  # late
            placed.append((spot, len(placed), event))
            if rng.random() < 0.1:
                for _ in range(rng.choice((1, 1, 2))):
                    placed.append((spot + rng.expovariate(1 / 30), len(placed), event))
            if rng.random() < poison:
                placed.append((spot, len(placed), spoilt(rng, event)))
        if len(placed) >= count:
            break
    return [event for _, _, event in sorted(placed[:count], key=lambda item: item[:2])]


def only_poison(rng: random.Random, prefix: str, count: int) -> list[Outgoing]:
    """Make a topic as a bad deploy of its writer would leave it."""
    events = [event for event in traffic(rng, prefix, 4 * count) if event.topic.endswith(TICKETS)]
    return [spoilt(rng, rng.choice(events)) for _ in range(count)]


def spoilt(rng: random.Random, event: Outgoing) -> Outgoing:
    """Turn an event into something that no reader can take for one. Its own id keeps each apart."""
    headers = {**dict(event.headers), "ce_id": f"bad-{rng.getrandbits(64):016x}".encode()}
    value = event.value
    match rng.randrange(8):
        case 0:
            value = value[:-1]
        case 1:
            value = value + b" and more"
        case 2:
            value = b'{"deep": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
        case 3:
            value = b'{"\xff\xfe": "no UTF-8", "ticket_id": "\xc3\x28"}'
        case 4:
            value = b'{"response_id": "R", "metric": "nps", "score": ' + b"9" * 400 + b"}"
            headers["ce_type"] = b"cxloop.survey.responded"
        case 5:
            headers["ce_type"] = b"cxloop.ticket.exploded"
        case 6:
            del headers["ce_time"]
        case _:
            value = b""
    return Outgoing(event.topic, event.key, value, tuple(headers.items()), poison=True)
