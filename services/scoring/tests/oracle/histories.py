"""Histories that Hypothesis draws and shrinks: few objects, few times, so that everything meets.

A history knows its own sources, customers and cases by its name, so that several can share one database and still
be told apart by the dimension `history`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from cxloop_common.events import (
    AlertRecord,
    CanonicalEventBase,
    CloudEvent,
    SurveyResponded,
    TicketAssigned,
    TicketCreated,
    TicketEvent,
    TicketReplied,
    TicketStatusChanged,
    TouchpointRecorded,
)
from cxloop_common.events.cloudevents import event_data

from .drawing import START, TICKETS, Draw, Names, creations, surveys, ticket_events, touchpoints
from .drawing_outcomes import alerts, journeys


def examples(usual: int, histories_each: int = 1) -> int:
    """Give how many examples to run: the usual number, or as many as `CXLOOP_HISTORIES` histories need."""
    wanted = int(os.environ.get("CXLOOP_HISTORIES", "0"))
    return -(-wanted // histories_each) if wanted else usual


@dataclass(frozen=True, repr=False)
class History:
    """Everything that was reported of one small world, in no particular order."""

    name: str
    records: tuple[CloudEvent, ...]

    def __repr__(self) -> str:
        lines = [
            f"{one.id} {one.TYPE.removeprefix('cxloop.')} of {one.source} at {one.time:%m-%d %H:%M:%S.%f}: "
            f"{event_data(one).decode()}"
            for one in self.records
        ]
        return f"{self.name}:\n" + "\n".join(lines) if lines else f"{self.name}: nothing"

    @property
    def events(self) -> list[CanonicalEventBase]:
        """What senders reported."""
        return [record for record in self.records if isinstance(record, CanonicalEventBase)]


@st.composite
def histories(draw: Draw, name: str) -> History:
    """Draw a history: some 20 events of tickets and surveys, a few touchpoints, journey and alert records."""
    names = Names(name)
    events: list[CanonicalEventBase] = []
    # Several short lists: longer ones would have to be forced, and what is forced does not shrink.
    for ticket in TICKETS:
        events += draw(st.lists(ticket_events(names, ticket), max_size=10))
    for _ in range(2):
        events += draw(st.lists(surveys(names), max_size=10))
    touched = {(e.source, e.ticket_id) for e in events if isinstance(e, TicketCreated)}
    for event in list(events):
        # Most tickets that are spoken of were created: a history of orphans would show nothing.
        if isinstance(event, TicketEvent):
            ticket = (event.source, event.ticket_id)
            if ticket not in touched and draw(st.integers(0, 4)):
                touched.add(ticket)
                events.append(draw(creations(names, *ticket)))
    events += draw(st.lists(touchpoints(names), max_size=10))
    named = _named(names, events)
    named += _contradictions(
        named, draw(st.lists(st.tuples(st.integers(0, 40), st.integers(-2, 2)), max_size=4))
    )
    return History(name, (*named, *draw(journeys(names)), *draw(alerts(names))))


def everything_once() -> list[CloudEvent]:
    """Give records that name every dimension, for a database that is asked before it holds anything else."""
    base: dict[str, Any] = {"source": "zd", "time": START, "identifiers": ("user:1",)}
    said = {"history": "none", "segment": "smb", "plan": "gold"}
    value: Any = {"amount": 1.0, "currency": "EUR"}
    owner: Any = {"kind": "team", "id": "billing", "name": "billing"}
    return [
        TicketCreated(
            **base,
            id="1",
            ticket_id="1",
            channel="email",
            created_by="agent",
            priority="high",
            dimensions=said,
        ),
        TouchpointRecorded(**base, id="2", touchpoint="visit", value=value),
        AlertRecord(
            id="3",
            source="cxloop-alerting",
            time=START,
            case_id="k",
            version=1,
            change="opened",
            at=START,
            status="open",
            severity="low",
            rule="low-score",
            route="none",
            owner=owner,
            reason="a low score",
        ),
    ]


def _named(names: Names, events: Sequence[CanonicalEventBase]) -> list[CanonicalEventBase]:
    """Give ids that sort otherwise than the events stand."""
    return [
        event.model_copy(update={"id": f"{(number * 7919) % 1000:03}-{number}-{names.name}"})
        for number, event in enumerate(events)
    ]


def _contradictions(
    events: Sequence[CanonicalEventBase], chosen: Sequence[tuple[int, int]]
) -> list[CanonicalEventBase]:
    """Say something else of the same object under the same event id.

    A merge keeps its survivor: two survivors under one id is the one contradiction that arrival decides.
    """
    found: list[CanonicalEventBase] = []
    for place, minutes in chosen if events else ():
        event = events[place % len(events)]
        changed: dict[str, Any] = {"time": event.time + timedelta(minutes=minutes)}
        if isinstance(event, TicketStatusChanged):
            changed["status"] = "open" if event.status == "solved" else "solved"
        if isinstance(event, TicketReplied):
            changed["public"] = not event.public
        if isinstance(event, TicketAssigned):
            changed["team"] = "returns"
        if isinstance(event, SurveyResponded):
            changed["score"] = event.scale.max + event.scale.min - event.score
        found.append(event.model_copy(update=changed))
    return found
