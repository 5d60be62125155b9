"""The course of a ticket: waits and their answers, solves and reopenings, the hands it goes through.

Each function walks one kind of fact, in order of time and event id; times are microseconds since 1970.
"""

from collections.abc import Iterable

import msgspec

from cxloop_scoring.domain.facts import OPEN, SOLVED


class Cycle(msgspec.Struct, frozen=True, gc=False):
    """A customer's wait, from the oldest message that nobody had answered to the answer."""

    since: int
    answered: int


class Messages(msgspec.Struct, frozen=True, gc=False):
    """What customer and agents said to each other."""

    inbound: int
    first_inbound: int | None
    cycles: tuple[Cycle, ...]
    waiting_since: int | None
    """Since when the customer waits now; None where nobody does."""


NO_MESSAGES = Messages(0, None, (), None)


def converse(messages: Iterable[tuple[int, bool]]) -> Messages:
    """Walk messages: pairs of time, and whether the customer wrote it.

    A customer's message starts a wait if nobody waits; an agent's ends it. An answer that nobody waits for
    means nothing.
    """
    inbound = 0
    first: int | None = None
    waiting: int | None = None
    cycles: list[Cycle] = []
    for at, by_customer in messages:
        if by_customer:
            inbound += 1
            if first is None:
                first = at
            if waiting is None:
                waiting = at
        elif waiting is not None:
            cycles.append(Cycle(waiting, at))
            waiting = None
    return Messages(inbound, first, tuple(cycles), waiting)


class Solves(msgspec.Struct, frozen=True, gc=False):
    """When a ticket was solved and reopened."""

    first: int | None
    last: int | None
    """The latest solve; None while the ticket is not solved."""
    reopenings: tuple[int, ...]
    again: tuple[int, ...]
    """Solves that ended a reopening."""


NEVER_SOLVED = Solves(None, None, (), ())


def solve(statuses: Iterable[tuple[int, int]]) -> Solves:
    """Walk statuses: pairs of time and `OPEN`, `SOLVED` or `CLOSED`.

    Closing what is open is a solve, closing what is solved is none; every `SOLVED` is one. Leaving both for
    anything else is a reopening.
    """
    state = OPEN
    first: int | None = None
    last: int | None = None
    reopenings: list[int] = []
    again: list[int] = []
    for at, status in statuses:
        if status == OPEN:
            if state != OPEN:
                reopenings.append(at)
                state = OPEN
        elif status == SOLVED or state == OPEN:
            if first is None:
                first = at
            elif state == OPEN:
                again.append(at)
            last = at
            state = status
    return Solves(first, None if state == OPEN else last, tuple(reopenings), tuple(again))


def count_handoffs(assignments: Iterable[tuple[str | None, str | None]]) -> int:
    """Count the assignments (team and agent, None where not said) that pass a ticket on.

    A handoff leaves another known team or another known agent behind, both at once being one. Taking an
    assignment away is none, and neither is giving it back to whom it was taken from.
    """
    known_team: str | None = None
    known_agent: str | None = None
    handoffs = 0
    for team, agent in assignments:
        passed_on = False
        if team and team != known_team:
            passed_on = known_team is not None
            known_team = team
        if agent and agent != known_agent:
            passed_on = passed_on or known_agent is not None
            known_agent = agent
        handoffs += passed_on
    return handoffs
