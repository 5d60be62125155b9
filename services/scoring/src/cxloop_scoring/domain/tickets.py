"""Tickets: clocks and observations, folded from facts in whatever order they came."""

from dataclasses import dataclass

from cxloop_scoring.domain.dimensions import Dimensions, filed_under
from cxloop_scoring.domain.facts import (
    AGENT,
    CLOSED,
    CUSTOMER,
    OPEN,
    SOLVED,
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
from cxloop_scoring.domain.observations import Customer, Observation, customer_of

_VOLUME = int(MetricNumber.TICKET_VOLUME)
_FIRST_RESPONSE = int(MetricNumber.FIRST_RESPONSE_TIME)
_FIRST_RESOLUTION = int(MetricNumber.FIRST_RESOLUTION_TIME)
_FULL_RESOLUTION = int(MetricNumber.FULL_RESOLUTION_TIME)
_REOPEN = int(MetricNumber.REOPEN_RATE)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A folded ticket; times are microseconds since 1970, None where the clock has not got there."""

    created_at: int
    created_by: int
    waiting_since: int | None
    """First customer-facing message; None where an agent created the ticket or no customer has written."""
    first_reply_at: int | None
    first_solved_at: int | None
    last_solved_at: int | None
    """Time of the latest solve; None while the ticket is not solved."""
    reopened: bool
    dimensions: Dimensions
    customer: Customer


def fold_ticket(source: str, document: str, facts: Facts) -> Ticket | None:  # noqa: C901, PLR0912, PLR0915 - one pass over the facts; split, each part would walk them again
    """Fold a ticket; None until its creation is known, and once it has left the numbers.

    Equal times are settled by event id. Private notes and bots start and stop nothing, and a ticket that an
    agent created has no first response. A reply before the customer's first message answers nothing.
    """
    created: Created | None = None
    said: dict[str, str | None] = {}
    tags: tuple[str, ...] | None = None
    identifiers: tuple[str, ...] = ()
    waiting: int | None = None
    replies: list[int] = []
    first_solved = last_solved = None
    state = OPEN
    reopened = False
    ordered = sorted([(fact.at, key, fact) for key, fact in facts.items()])
    for at, _, fact in ordered:
        if isinstance(fact, Replied):
            if fact.public:
                if fact.author == AGENT:
                    replies.append(at)
                elif fact.author == CUSTOMER and waiting is None:
                    waiting = at
            if fact.said:
                said.update(fact.said)
        elif isinstance(fact, StatusChanged):
            status = fact.status
            if status == OPEN:
                reopened = reopened or state != OPEN
                state = OPEN
            elif status == SOLVED or state == OPEN:
                if first_solved is None:
                    first_solved = at
                last_solved = at
                state = status
            if fact.said:
                said.update(fact.said)
        elif isinstance(fact, Created):
            if created is None:
                created = fact
            if fact.by == CUSTOMER and waiting is None:
                waiting = at
            said.update(fact.said)
            tags = fact.tags if fact.tags is not None else tags
            identifiers = fact.identifiers or identifiers
        elif isinstance(fact, Updated):
            said.update(fact.said)
            tags = fact.tags if fact.tags is not None else tags
            identifiers = fact.identifiers or identifiers
        elif isinstance(fact, Linked):
            if fact.author == AGENT:
                replies.append(at)
            elif fact.author == CUSTOMER and waiting is None:
                waiting = at
        elif isinstance(fact, Escalated):
            said.update(fact.said)
        elif isinstance(fact, Deleted) or (isinstance(fact, Merged) and fact.into != document):
            return None
    if created is None:
        return None
    if created.by == AGENT:
        waiting = None
    first_reply = None
    if waiting is not None:
        first_reply = next((at for at in replies if at >= waiting), None)
    return Ticket(
        created_at=created.at,
        created_by=created.by,
        waiting_since=waiting,
        first_reply_at=first_reply,
        first_solved_at=first_solved,
        last_solved_at=last_solved if state in (SOLVED, CLOSED) else None,
        reopened=reopened,
        dimensions=filed_under(source, said, tags or ()),
        customer=customer_of(identifiers),
    )


def ticket_observations(ticket: Ticket) -> list[Observation]:
    """Give what a ticket adds to the metrics.

    A sender's clock that runs backwards (solved before created) gives 0, never a negative duration.
    """
    customer, filed = ticket.customer.hash, ticket.dimensions
    created = ticket.created_at
    found = [Observation(_VOLUME, 1, None, created, customer, filed)]
    reply, waiting = ticket.first_reply_at, ticket.waiting_since
    if reply is not None and waiting is not None:
        took = (reply - waiting) // 1000
        found.append(Observation(_FIRST_RESPONSE, took, None, reply, customer, filed))
    first = ticket.first_solved_at
    if first is not None:
        took = max(0, first - created) // 1000
        found.append(Observation(_FIRST_RESOLUTION, took, None, first, customer, filed))
        found.append(Observation(_REOPEN, int(ticket.reopened), None, first, customer, filed))
        last = ticket.last_solved_at
        if last is not None:
            took = max(0, last - created) // 1000
            found.append(Observation(_FULL_RESOLUTION, took, None, last, customer, filed))
    return found
