"""Which customers, timelines and cases the services must show, worked out from the stories alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cxloop_cli.demo.stories import Answer, Message, Metric, Person, Stories, Turn

OPENS_WITHIN: Final = timedelta(days=7)
LOW: Final[dict[Metric, int]] = {"nps": 6, "csat": 2, "ces": 3}
"""The highest score of the low band."""
_RULES: Final[dict[Metric, str]] = {"nps": "unhappy-customer", "csat": "bad-contact", "ces": "hard-checkout"}


@dataclass(frozen=True, slots=True)
class ExpectedCase:
    """A case that must be there. Who of a team gets it is the service's choice, so owners are several."""

    person: Person
    rule: str
    severity: str
    route: str
    owners: frozenset[str]
    metric: Metric
    value: int
    """The latest of its scores."""
    acknowledge_within_s: float


# Customers


def identifiers(person: Person, stories: Stories) -> set[str]:
    """Give every identifier that some sender told of a customer, as the services write it."""
    known = {f"email:{person.email}", f"user:{person.user}", f"zendesk.requester:{person.requester}"}
    if any(answer.person == person and answer.metric != "ces" for answer in stories.answers):
        known.add(f"delighted.person:{person.respondent}")
    return known


def timeline(person: Person, stories: Stories) -> list[tuple[datetime, str]]:
    """When what happened to a customer, newest first; equal times by kind."""
    found: list[tuple[datetime, str]] = []
    for ticket in stories.tickets:
        if ticket.person == person:
            found.append((ticket.opened_at, "ticket_created"))
            found += [(step.at, _kind(step)) for step in ticket.steps]
    # An answer that was changed is one answer, at the time of the change.
    found += [(answer.at, "survey_response") for answer in stories.answers if answer.person == person]
    found += [(visit.at, "touchpoint") for visit in stories.visits if visit.person == person]
    return sorted(found, reverse=True)


def _kind(step: object) -> str:
    if isinstance(step, Turn):
        return f"ticket_{step.status}"
    if isinstance(step, Message):
        return "ticket_replied" if step.public else "ticket_note"
    return "ticket_assigned"


# Cases


def cases(stories: Stories) -> list[ExpectedCase]:
    """Give the cases that the demo's rules and routes must have opened, one a customer and rule."""
    low: dict[tuple[str, str], list[Answer]] = {}
    for answer in stories.answers:
        if opens_a_case(answer, stories):
            low.setdefault((answer.person.email, _RULES[answer.metric]), []).append(answer)
    return [
        _case(rule, sorted(answers, key=lambda answer: answer.at))
        for (_, rule), answers in sorted(low.items())
    ]


def opens_a_case(answer: Answer, stories: Stories) -> bool:
    """Whether an answer is low, and fresh enough for somebody to call."""
    return answer.score <= LOW[answer.metric] and stories.end - answer.at < OPENS_WITHIN


def _case(rule: str, answers: Sequence[Answer]) -> ExpectedCase:
    latest = answers[-1]
    business = latest.person.segment == "business"
    severity = {"nps": "urgent" if business else "high", "csat": "medium", "ces": "low"}[latest.metric]
    if latest.metric == "ces" and any(answer.wants_contact for answer in answers):
        severity = "medium"
    route, owners, hours = "care", frozenset({"Ben Okafor", "Lea Novak"}), 4
    if business:
        route, owners, hours = "key-accounts", frozenset({"Mia Berg"}), 1
    elif latest.metric == "ces":
        route, owners = "checkout", frozenset({"Lea Novak"})
    return ExpectedCase(
        latest.person, rule, severity, route, owners, latest.metric, latest.score, hours * 3600.0
    )
