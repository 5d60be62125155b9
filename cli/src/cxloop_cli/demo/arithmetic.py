"""What the services must answer, computed from the stories alone: the definitions of the metrics.

Nothing here is taken from the services; times are compared one by one instead of in buckets.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from cxloop_cli.demo import outcomes
from cxloop_cli.demo.statistics import Figure, durations, judged, mean, net_promoter, percent, share
from cxloop_cli.demo.stories import Assignment, Message, Metric, Person, Stories, Ticket, Turn, Visit

WINDOW: Final = timedelta(days=30)
AFTERWARDS: Final = timedelta(minutes=30)
"""How far the window reaches past the last happening: cases are opened after it, by the clock on the wall."""
FIRST_RESPONSE: Final = timedelta(hours=2)
RESOLUTION: Final = timedelta(hours=8)
"""The targets of the demo's metrics.yaml."""
REPEATED_WITHIN: Final = timedelta(days=7)
POLARITY: Final = {
    "Nobody could tell me why, terrible.": -48,
    "I had to ask three times, very annoying.": -46,
    "Bad, and still not fixed.": -54,
    "Fine, mostly.": 20,
    "It took a while.": 0,
    "Quick and kind.": 53,
    "Exactly what I needed, great.": 62,
    "Would buy again, thanks.": 44,
    "All very kind. It still does not pair.": 57,
}
"""What the lexicon says of the stories' comments, in hundredths, read once and written down."""
_GOOD: Final[dict[Metric, int]] = {"nps": 9, "csat": 4, "ces": 5}


def scorecard(stories: Stories) -> dict[str, Figure]:
    """Work out every figure of the scorecard over the 30 days before the end."""
    return {**_experience(stories), **_service(stories), **_outcome(stories)}


def _inside(stories: Stories, at: datetime) -> bool:
    until = stories.end + AFTERWARDS
    return until - WINDOW <= at < until


def _experience(stories: Stories) -> dict[str, Figure]:
    answers = {
        metric: [a.score for a in stories.answers if a.metric == metric and _inside(stories, a.at)]
        for metric in _GOOD
    }
    easy = percent([score >= _GOOD["ces"] for score in answers["ces"]])
    return {
        "nps": net_promoter(answers["nps"]),
        "csat": share([score >= _GOOD["csat"] for score in answers["csat"]]),
        "ces": mean(answers["ces"], {"top_box": easy}),
        # The demo's senders ask no other questions, and tell of no survey before it is answered.
        "ces_v1": mean([], {"top_box": None}),
        "response_rate": share([]),
        "sentiment": _sentiment(stories),
    }


def _sentiment(stories: Stories) -> Figure:
    found = [POLARITY[a.comment] / 100 for a in stories.answers if a.comment and _inside(stories, a.at)]
    return mean(found, {"negative": percent([value <= -0.05 for value in found])})  # noqa: PLR2004  # hundredths


def _service(stories: Stories) -> dict[str, Figure]:
    tickets = stories.tickets
    created = [ticket for ticket in tickets if _inside(stories, ticket.opened_at)]
    solved = [t for t in tickets if solves(t) and _inside(stories, solves(t)[0])]
    ends = [(at, t) for t in tickets if (at := last_solve(t)) is not None and _inside(stories, at)]
    moves = [handoffs(ticket) for ticket in created]
    waits = [
        [(at, took) for at, took in told(ticket) if _inside(stories, at)]
        for told in (first_responses, next_responses)
        for ticket in tickets
    ]
    first, later = waits[: len(tickets)], waits[len(tickets) :]
    contacts = [(at, ticket) for ticket in tickets if (at := contact(ticket)) is not None]
    return {
        "first_response_time": durations([took for found in first for _, took in found]),
        "next_response_time": durations([took for found in later for _, took in found]),
        "first_resolution_time": durations([_seconds(solves(ticket)[0], ticket) for ticket in solved]),
        "full_resolution_time": durations([_seconds(at, ticket) for at, ticket in ends]),
        "reopen_rate": share([is_reopened(ticket) for ticket in solved]),
        "first_contact_resolution": _first_contact(stories, solved, contacts),
        "repeat_contact_rate": share(
            [is_repeated(at, ticket, contacts) for at, ticket in contacts if _inside(stories, at)]
        ),
        "handoffs": mean(moves, {"two_or_more": percent([count >= 2 for count in moves])}),  # noqa: PLR2004  # as named
        "escalation_rate": share([False for _ in created]),
        "handle_time": durations([]),
        "sla_breach_rate": share([missed for ticket in tickets for missed in targets(ticket, stories)]),
        "ticket_volume": judged(float(len(created)) if created else None, len(created), None),
        "backlog": _backlog(stories),
    }


def _first_contact(stories: Stories, solved: list[Ticket], contacts: list[tuple[datetime, Ticket]]) -> Figure:
    settled = [settles_at_once(ticket, contacts) for ticket in solved]
    fresh = sum(solves(ticket)[0] > stories.end - REPEATED_WITHIN for ticket in solved)
    return share(settled, {"provisional": float(fresh)})


def _backlog(stories: Stories) -> Figure:
    """Count what is open at the end; n is how many tickets there ever were."""
    open_now = [ticket for ticket in stories.tickets if last_solve(ticket) is None]
    return judged(float(len(open_now)), len(stories.tickets), None)


def _outcome(stories: Stories) -> dict[str, Figure]:
    until = stories.end + AFTERWARDS
    since = until - WINDOW
    cohort = [person for person in stories.people if is_active(person, stories, since)]
    kept = [is_active(person, stories, until) for person in cohort]
    cases = outcomes.cases(stories)
    low = [a for a in stories.answers if a.score <= outcomes.LOW[a.metric] and _inside(stories, a.at)]
    owned = percent([outcomes.opens_a_case(answer, stories) for answer in low])
    worried = {case.person.email for case in cases}
    spent = sum(v.amount or 0.0 for v in stories.visits if v.person.email in worried)
    return {
        "retention": share(kept),
        "churn": share([not stays for stays in kept]),
        # Nobody has worked on the cases when they are compared, so nothing is closed and nobody won back.
        "closed_loop_rate": share([False for _ in cases], {"coverage": owned, "on_time": None}),
        "recovery_rate": share([]),
        "recovery_lift": share([]),
        "revenue_at_risk": judged(spent, len(worried), None),
    }


def nps_by_segment(stories: Stories) -> dict[str, Figure]:
    """NPS for each segment."""
    found: dict[str, list[int]] = {}
    for answer in stories.answers:
        if answer.metric == "nps" and _inside(stories, answer.at):
            found.setdefault(answer.person.segment, []).append(answer.score)
    return {segment: net_promoter(scores) for segment, scores in found.items()}


def first_response_by_team(stories: Stories) -> dict[str, Figure]:
    """First response time for each team."""
    found: dict[str, list[float]] = {}
    for ticket in stories.tickets:
        for at, took in first_responses(ticket):
            if _inside(stories, at):
                found.setdefault(ticket.team, []).append(took)
    return {team: durations(taken) for team, taken in found.items()}


# One ticket


def solves(ticket: Ticket) -> list[datetime]:
    """When a ticket was solved, each time."""
    return [step.at for step in ticket.steps if isinstance(step, Turn) and step.status == "solved"]


def last_solve(ticket: Ticket) -> datetime | None:
    """When a ticket was solved for good; None while it is not."""
    turns = [step for step in ticket.steps if isinstance(step, Turn)]
    return turns[-1].at if turns and turns[-1].status == "solved" else None


def is_reopened(ticket: Ticket) -> bool:
    """Whether a ticket was opened again after it had been solved."""
    turns = [step.status for step in ticket.steps if isinstance(step, Turn)]
    return any(before == "solved" and after == "open" for before, after in pairwise(turns))


def waits(ticket: Ticket) -> Iterator[tuple[datetime, float]]:
    """When a person answered the customer in public, and after how many seconds, each time."""
    waiting = ticket.opened_at if ticket.opened_by == "customer" else None
    for step in ticket.steps:
        if not isinstance(step, Message) or not step.public:
            continue
        if step.author == "customer" and waiting is None:
            waiting = step.at
        elif step.author == "agent" and waiting is not None:
            yield step.at, (step.at - waiting).total_seconds()
            waiting = None


def first_responses(ticket: Ticket) -> list[tuple[datetime, float]]:
    """Give the first answer; none where nobody asked or answered, or where an agent began."""
    return [] if ticket.opened_by == "agent" else list(waits(ticket))[:1]


def next_responses(ticket: Ticket) -> list[tuple[datetime, float]]:
    """Give the answers after the first."""
    return list(waits(ticket))[len(first_responses(ticket)) :]


def inbound(ticket: Ticket) -> list[datetime]:
    """When the customer wrote, each time."""
    written = [s.at for s in ticket.steps if isinstance(s, Message) and s.author == "customer" and s.public]
    return [ticket.opened_at, *written] if ticket.opened_by == "customer" else written


def contact(ticket: Ticket) -> datetime | None:
    """When the customer wrote first; None where they never did."""
    return min(inbound(ticket), default=None)


def targets(ticket: Ticket, stories: Stories) -> list[bool]:
    """Tell of each target that was met or missed within the window whether it was missed."""
    first, solved = first_responses(ticket), solves(ticket)
    clocks = [(ticket.opened_at + RESOLUTION, solved[0] if solved else None)]
    if ticket.opened_by == "customer":
        clocks.append((ticket.opened_at + FIRST_RESPONSE, first[0][0] if first else None))
    judged_at = [
        (due if done is None or done > due else done, done is None or done > due) for due, done in clocks
    ]
    return [missed for at, missed in judged_at if _inside(stories, at) and at < stories.end]


def handoffs(ticket: Ticket) -> int:
    """How often a ticket went from one agent to another."""
    agents = [step.agent for step in ticket.steps if isinstance(step, Assignment)]
    return sum(before != after for before, after in pairwise(agents))


def _seconds(at: datetime, ticket: Ticket) -> float:
    return (at - ticket.opened_at).total_seconds()


# One customer; every ticket of the demo has the same contact type


def is_repeated(at: datetime, ticket: Ticket, contacts: list[tuple[datetime, Ticket]]) -> bool:
    """Whether the customer had another ticket in the seven days before."""
    return any(
        other.person == ticket.person and other.id != ticket.id and at - REPEATED_WITHIN <= earlier < at
        for earlier, other in contacts
    )


def settles_at_once(ticket: Ticket, contacts: list[tuple[datetime, Ticket]]) -> bool:
    """Whether one message was enough: nothing reopened, and no other ticket in the seven days after."""
    solved = solves(ticket)[0]
    again = any(
        other.person == ticket.person and other.id != ticket.id and solved < later <= solved + REPEATED_WITHIN
        for later, other in contacts
    )
    return len(inbound(ticket)) == 1 and not is_reopened(ticket) and not again


def is_active(person: Person, stories: Stories, at: datetime) -> bool:
    """Whether somebody was a customer just before a time: the last thing they did was not to leave."""
    mine: list[Visit] = [visit for visit in stories.visits if visit.person == person and visit.at < at]
    return bool(mine) and max(mine, key=lambda visit: visit.at).touchpoint != "cancellation"
