"""Tickets to rows, from the definitions of each metric."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from cxloop_common.events import (
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEscalated,
    TicketReplied,
    TicketStatusChanged,
    TicketUpdated,
)
from cxloop_common.identifiers import parse_document_id

from . import rows as r
from .configured import Configured
from .rows import Row
from .standing import Fact, Message, customer_of, survivors

FIELDS = ("channel", "team", "agent", "contact_type", "priority")


def ticket_rows(
    document: str, facts: Sequence[Fact], messages: Sequence[Message], configured: Configured
) -> list[Row]:
    """Give all rows of one ticket; none for one that was deleted, or that nobody created."""
    creations = [fact for fact in facts if isinstance(fact.event, TicketCreated)]
    if not creations or any(isinstance(fact.event, TicketDeleted) for fact in facts):
        return []
    created = creations[0]
    assert isinstance(created.event, TicketCreated)
    ticket = _Ticket(
        document,
        customer_of(facts),
        ticket_dimensions(document, facts),
        configured,
        created.at,
        created.event.created_by == "agent",
    )
    course = walk_statuses(facts)
    if survivors(document, facts):
        merged = next(fact.at for fact in facts if survivors(document, [fact]))
        return [ticket.row(r.MERGED_AWAY, int(bool(course.reopenings)), merged)]
    waits = cycles(messages)
    inbound = [message.at for message in messages if message.by_customer]
    return [
        ticket.row(r.VOLUME, 1, created.at),
        *_of_messages(ticket, waits, inbound),
        *_of_course(ticket, course, len(inbound)),
        *_of_work(ticket, facts, course),
        *_of_targets(ticket, course, waits, inbound),
    ]


def _of_messages(
    ticket: "_Ticket", waits: Sequence[tuple[int, int]], inbound: Sequence[int]
) -> Iterator[Row]:
    for place, (since, answered) in enumerate(waits):
        first = place == 0 and not ticket.by_agent
        yield from ticket.duration(r.FIRST_RESPONSE if first else r.NEXT_RESPONSE, since, answered)
    if inbound:
        yield ticket.row(r.CONTACT, 1, inbound[0])


def _of_course(ticket: "_Ticket", course: "Course", inbound: int) -> Iterator[Row]:
    if course.solves:
        solved = course.solves[0]
        yield from ticket.duration(r.FIRST_RESOLUTION, ticket.created, solved)
        if course.reopenings:
            yield ticket.row(r.REOPENED, 1, solved)
        elif inbound == 1:
            yield ticket.row(r.FIRST_CONTACT, 1, solved)
    if course.solved:
        yield from ticket.duration(r.FULL_RESOLUTION, ticket.created, course.solves[-1])
    yield from (ticket.row(r.BACKLOG, 1, at) for at in course.reopenings)
    yield from (ticket.row(r.BACKLOG, -1, at) for at in course.solved_again)


def _of_work(ticket: "_Ticket", facts: Sequence[Fact], course: "Course") -> Iterator[Row]:
    worked = [ms for fact in facts if (ms := _worked_ms(fact)) is not None]
    if course.solved and worked:
        yield ticket.row(r.HANDLE_TIME, sum(worked), course.solves[-1])
    if count := handoffs(facts):
        yield ticket.row(r.HANDOFFS, count, ticket.created, r.LOW if count == 1 else r.HIGH)
    if any(isinstance(fact.event, TicketEscalated) for fact in facts):
        yield ticket.row(r.ESCALATED, 1, ticket.created)


def _of_targets(
    ticket: "_Ticket", course: "Course", waits: Sequence[tuple[int, int]], inbound: Sequence[int]
) -> Iterator[Row]:
    for target in ticket.configured.targets_of(ticket.dimensions):
        if target.clock == "resolution":
            since, done = ticket.created, course.solves[0] if course.solves else None
        elif inbound and not ticket.by_agent:
            since, done = inbound[0], waits[0][1] if waits else None
        else:
            continue
        due = target.due(since)
        met = done is not None and done <= due
        row = ticket.row(r.SLA_BREACH, 0 if met else 1, done if met and done is not None else due)
        yield row._replace(dimensions=row.dimensions | {("target", target.clock)})


class _Ticket(NamedTuple):
    document: str
    customer: str | None
    dimensions: frozenset[tuple[str, str]]
    configured: Configured
    created: int
    by_agent: bool

    @property
    def team(self) -> str | None:
        return dict(self.dimensions).get("team")

    def row(self, metric: int, value: int, at: int, band: int | None = None) -> Row:
        return Row(self.document, metric, value, band, at, self.customer, self.dimensions)

    def duration(self, metric: int, since: int, until: int) -> list[Row]:
        """Book calendar time, and business time where a calendar applies; at the end of it."""
        found = [self.row(metric, max(0, until - since) // 1000, until)]
        calendar = self.configured.calendar_of(self.team)
        if calendar is not None:
            found.append(self.row(r.BUSINESS_TWINS[metric], calendar.open_us(since, until) // 1000, until))
        return found


def ticket_dimensions(document: str, facts: Iterable[Fact]) -> frozenset[tuple[str, str]]:
    """Give what was said last of each dimension, by any event of the ticket."""
    said: dict[str, str | None] = {"source": parse_document_id(document).source}
    tags: tuple[str, ...] = ()
    for _, _, event in facts:
        said.update(event.dimensions)
        if isinstance(event, TicketCreated | TicketUpdated):
            said.update({name: text for name in FIELDS if (text := getattr(event, name)) is not None})
            tags = tags if event.tags is None else event.tags
        if isinstance(event, TicketAssigned):
            said |= {"team": event.team, "agent": event.agent}
    return r.filed(said, tags)


def cycles(messages: Iterable[Message]) -> list[tuple[int, int]]:
    """Pair each wait with its answer: (since, answered). An answer that nobody waits for means nothing."""
    found: list[tuple[int, int]] = []
    waiting: int | None = None
    for at, _, by_customer in messages:
        if by_customer:
            waiting = at if waiting is None else waiting
        elif waiting is not None:
            found.append((waiting, at))
            waiting = None
    return found


class Course(NamedTuple):
    """How a ticket went: times of all solves, of reopenings, and of the solves that ended one."""

    solves: Sequence[int]
    reopenings: Sequence[int]
    solved_again: Sequence[int]
    solved: bool
    """Whether it is solved now."""


def walk_statuses(facts: Iterable[Fact]) -> Course:
    """Walk a ticket's statuses.

    `solved` is a solve whenever it is said; `closed` only where the ticket was not solved already. Leaving both
    for any other status is a reopening.
    """
    solves: list[int] = []
    reopenings: list[int] = []
    again: list[int] = []
    solved = False
    for at, _, event in facts:
        if not isinstance(event, TicketStatusChanged):
            continue
        if event.status == "solved" or (event.status == "closed" and not solved):
            if reopenings and not solved:
                again.append(at)
            solves.append(at)
            solved = True
        elif event.status != "closed":
            if solved:
                reopenings.append(at)
            solved = False
    return Course(solves, reopenings, again, solved)


def handoffs(facts: Iterable[Fact]) -> int:
    """Count the events after which the last known team, or the last known agent, is another known one."""
    known: list[tuple[str | None, str | None]] = [(None, None)]
    for _, _, event in facts:
        if isinstance(event, TicketCreated | TicketUpdated | TicketAssigned):
            team, agent = known[-1]
            known.append((event.team or team, event.agent or agent))
    return sum(
        any(before is not None and before != after for before, after in zip(one, two, strict=True))
        for one, two in pairwise(known)
    )


def _worked_ms(fact: Fact) -> int | None:
    event = fact.event
    if not isinstance(event, TicketCreated | TicketUpdated | TicketReplied):
        return None
    worked: float | None = getattr(event, "worked_s", None)
    return None if worked is None else int(worked * 1000)
