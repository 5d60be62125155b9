"""Tickets: folded from facts in whatever order they came, and what they add to the metrics."""

from typing import Final

import msgspec

from cxloop_common.business_time import Calendar
from cxloop_scoring.domain.clocks import ClockAnomaly
from cxloop_scoring.domain.conversations import (
    NEVER_SOLVED,
    NO_MESSAGES,
    Messages,
    Solves,
    converse,
    count_handoffs,
    solve,
)
from cxloop_scoring.domain.dimensions import Dimensions, filed_under
from cxloop_scoring.domain.facts import (
    AGENT,
    CUSTOMER,
    Created,
    Deleted,
    Escalated,
    Facts,
    Linked,
    Merged,
    Replied,
    StatusChanged,
    Updated,
)
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band, Customer, Observation, customer_of
from cxloop_scoring.domain.rules import Clock, Rules

TARGET: Final = "target"
"""The dimension that tells service level targets apart."""

_VOLUME = int(MetricNumber.TICKET_VOLUME)
_FIRST_RESPONSE = int(MetricNumber.FIRST_RESPONSE_TIME)
_NEXT_RESPONSE = int(MetricNumber.NEXT_RESPONSE_TIME)
_FIRST_RESOLUTION = int(MetricNumber.FIRST_RESOLUTION_TIME)
_FULL_RESOLUTION = int(MetricNumber.FULL_RESOLUTION_TIME)
_REOPEN = int(MetricNumber.REOPEN_RATE)
_FIRST_CONTACT = int(MetricNumber.FIRST_CONTACT_RESOLUTION)
_CONTACT = int(MetricNumber.REPEAT_CONTACT_RATE)
_HANDOFFS = int(MetricNumber.HANDOFFS)
_ESCALATION = int(MetricNumber.ESCALATION_RATE)
_HANDLE_TIME = int(MetricNumber.HANDLE_TIME)
_SLA_BREACH = int(MetricNumber.SLA_BREACH_RATE)
_BACKLOG = int(MetricNumber.BACKLOG)
_MERGED_AWAY = int(MetricNumber.MERGED_AWAY)
_FIRST_RESPONSE_BUSINESS = int(MetricNumber.FIRST_RESPONSE_BUSINESS)
_NEXT_RESPONSE_BUSINESS = int(MetricNumber.NEXT_RESPONSE_BUSINESS)
_FIRST_RESOLUTION_BUSINESS = int(MetricNumber.FIRST_RESOLUTION_BUSINESS)
_FULL_RESOLUTION_BUSINESS = int(MetricNumber.FULL_RESOLUTION_BUSINESS)
_LOW, _HIGH = int(Band.LOW), int(Band.HIGH)


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A folded ticket; times are microseconds since 1970, None where the clock has not got there."""

    created_at: int
    created_by: int
    messages: Messages
    solves: Solves
    handoffs: int
    escalated: bool
    worked: int | None
    """Reported work in milliseconds; None where no event reports any."""
    merged_at: int | None
    """When it was merged into another: it counts for nothing but that."""
    anomalies: tuple[ClockAnomaly, ...]
    dimensions: Dimensions
    customer: Customer

    @property
    def waiting_since(self) -> int | None:
        """First customer-facing message; None where an agent created the ticket or no customer has written."""
        return None if self.created_by == AGENT else self.messages.first_inbound

    @property
    def first_reply_at(self) -> int | None:
        """Answer to the first wait; None where there is none, and where an agent created the ticket."""
        cycles = self.messages.cycles
        return None if self.created_by == AGENT or not cycles else cycles[0].answered

    @property
    def first_solved_at(self) -> int | None:
        """First solve."""
        return self.solves.first

    @property
    def last_solved_at(self) -> int | None:
        """Latest solve; None while the ticket is not solved."""
        return self.solves.last

    @property
    def reopened(self) -> bool:
        """Whether it ever left the solved state."""
        return bool(self.solves.reopenings)


def fold_ticket(source: str, document: str, facts: Facts) -> Ticket | None:  # noqa: C901, PLR0912, PLR0915 - one pass over the facts; split, each part would walk them again
    """Fold a ticket; None until its creation is known, and for good once it was deleted.

    Equal times are settled by event id. Private notes and bots start and stop nothing.
    """
    created: Created | None = None
    earliest: int | None = None
    said: dict[str, str | None] = {}
    tags: tuple[str, ...] | None = None
    identifiers: tuple[str, ...] = ()
    messages: list[tuple[int, bool]] = []
    statuses: list[tuple[int, int]] = []
    assignments: list[tuple[str | None, str | None]] = []
    escalated = False
    worked: int | None = None
    merged_at: int | None = None
    for at, _, fact in sorted([(fact.at, key, fact) for key, fact in facts.items()]):
        # A hot path: the most frequent ones first, and by type, for facts have no subclasses and isinstance takes
        # three times as long to say no.
        if type(fact) is Replied:
            if fact.public:
                if fact.author == AGENT:
                    messages.append((at, False))
                elif fact.author == CUSTOMER:
                    messages.append((at, True))
            if fact.worked is not None:
                worked = fact.worked + (worked or 0)
        elif type(fact) is StatusChanged:
            statuses.append((at, fact.status))
        elif type(fact) is Created or type(fact) is Updated:
            if type(fact) is Created:
                if created is None:
                    created = fact
                if fact.by == CUSTOMER:
                    messages.append((at, True))
            if "team" in fact.said or "agent" in fact.said:
                assignments.append((fact.said.get("team"), fact.said.get("agent")))
            if fact.tags is not None:
                tags = fact.tags
            if fact.worked is not None:
                worked = fact.worked + (worked or 0)
        elif type(fact) is Escalated:
            escalated = True
        elif type(fact) is Merged:
            if fact.into != document and merged_at is None:
                merged_at = at
        elif type(fact) is Linked:
            if fact.author in (CUSTOMER, AGENT):
                messages.append((at, fact.author == CUSTOMER))
            continue
        elif type(fact) is Deleted:
            return None
        else:
            continue
        if earliest is None:
            earliest = at
        if fact.said:
            said.update(fact.said)
        if fact.identifiers:
            identifiers = fact.identifiers
    if created is None:
        return None
    solves = solve(statuses) if statuses else NEVER_SOLVED
    return Ticket(
        created.at,
        created.by,
        converse(messages) if messages else NO_MESSAGES,
        solves,
        count_handoffs(assignments) if len(assignments) > 1 else 0,
        escalated,
        worked,
        merged_at,
        () if earliest == created.at else _anomalies(created.at, solves),
        filed_under(source, said, tags or ()),
        customer_of(identifiers),
    )


def _anomalies(created_at: int, solves: Solves) -> tuple[ClockAnomaly, ...]:
    """Name what is wrong with a ticket of which something is dated before its creation."""
    if solves.first is not None and solves.first < created_at:
        return (ClockAnomaly.EVENT_BEFORE_CREATION, ClockAnomaly.SOLVED_BEFORE_CREATED)
    return (ClockAnomaly.EVENT_BEFORE_CREATION,)


def ticket_observations(ticket: Ticket, rules: Rules) -> list[Observation]:
    """Give what a ticket adds to the metrics; what is a share of tickets is booked where there is something.

    A sender's clock that runs backwards (solved before created) gives 0, never a negative duration.
    """
    customer, filed = ticket.customer.hash, ticket.dimensions
    if ticket.merged_at is not None:
        return [Observation(_MERGED_AWAY, int(ticket.reopened), None, ticket.merged_at, customer, filed)]
    created = ticket.created_at
    found = [Observation(_VOLUME, 1, None, created, customer, filed)]
    first_inbound = ticket.messages.first_inbound
    if first_inbound is not None:
        found.append(Observation(_CONTACT, 1, None, first_inbound, customer, filed))
    metric = _NEXT_RESPONSE if ticket.created_by == AGENT else _FIRST_RESPONSE
    for cycle in ticket.messages.cycles:
        took = (cycle.answered - cycle.since) // 1000
        found.append(Observation(metric, took, None, cycle.answered, customer, filed))
        metric = _NEXT_RESPONSE
    if ticket.solves.first is not None:
        found += _resolution(ticket, ticket.solves.first)
    if ticket.handoffs:
        passed = _LOW if ticket.handoffs == 1 else _HIGH
        found.append(Observation(_HANDOFFS, ticket.handoffs, passed, created, customer, filed))
    if ticket.escalated:
        found.append(Observation(_ESCALATION, 1, None, created, customer, filed))
    calendar = rules.calendar_for(filed.team)
    if calendar is not None:
        found += _in_business_time(ticket, calendar)
    if rules.sla:
        found += _targets(ticket, rules, calendar)
    return found


def _resolution(ticket: Ticket, first: int) -> list[Observation]:
    """Give what the solves of a ticket add; the backlog's rows are what moves it beside the first solve."""
    customer, filed, created = ticket.customer.hash, ticket.dimensions, ticket.created_at
    solves = ticket.solves
    last = solves.last
    took = max(0, first - created) // 1000
    found = [Observation(_FIRST_RESOLUTION, took, None, first, customer, filed)]
    if solves.reopenings:
        found.append(Observation(_REOPEN, 1, None, first, customer, filed))
        found += [Observation(_BACKLOG, 1, None, at, customer, filed) for at in solves.reopenings]
        found += [Observation(_BACKLOG, -1, None, at, customer, filed) for at in solves.again]
    elif ticket.messages.inbound == 1:
        found.append(Observation(_FIRST_CONTACT, 1, None, first, customer, filed))
    if last is not None:
        took = max(0, last - created) // 1000
        found.append(Observation(_FULL_RESOLUTION, took, None, last, customer, filed))
        if ticket.worked is not None:
            found.append(Observation(_HANDLE_TIME, ticket.worked, None, last, customer, filed))
    return found


def _in_business_time(ticket: Ticket, calendar: Calendar) -> list[Observation]:
    """Give the durations of a ticket once more, in the business time of its team."""
    spans: list[tuple[int, int, int]] = []
    metric = _NEXT_RESPONSE_BUSINESS if ticket.created_by == AGENT else _FIRST_RESPONSE_BUSINESS
    for cycle in ticket.messages.cycles:
        spans.append((metric, cycle.since, cycle.answered))
        metric = _NEXT_RESPONSE_BUSINESS
    if ticket.solves.first is not None:
        spans.append((_FIRST_RESOLUTION_BUSINESS, ticket.created_at, ticket.solves.first))
    if ticket.solves.last is not None:
        spans.append((_FULL_RESOLUTION_BUSINESS, ticket.created_at, ticket.solves.last))
    customer, filed = ticket.customer.hash, ticket.dimensions
    return [
        Observation(metric, calendar.between(since, until) // 1000, None, until, customer, filed)
        for metric, since, until in spans
    ]


def _targets(ticket: Ticket, rules: Rules, calendar: Calendar | None) -> list[Observation]:
    """Give the targets of a ticket: met when they were met, else breached when they are due.

    A breach is booked although it may lie in the future: it is withdrawn if the target is met after all, and
    questions do not look past now.
    """
    filed = ticket.dimensions
    found: list[Observation] = []
    for target in rules.sla_targets(filed.named()):
        if target.clock is Clock.FIRST_RESPONSE:
            start, done = ticket.waiting_since, ticket.first_reply_at
        else:
            start, done = ticket.created_at, ticket.solves.first
        if start is None:
            continue
        due = target.due(start, calendar)
        met = done is not None and done <= due
        at = done if met and done is not None else due
        under = filed.with_declared(TARGET, target.clock.value)
        found.append(Observation(_SLA_BREACH, int(not met), None, at, ticket.customer.hash, under))
    return found
