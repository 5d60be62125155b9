"""What the services must answer, computed from the stories alone.

Nothing here is taken from the services: definitions come from the metric formulas, statistics are worked out
again (Student's t by integrating its density), and times are compared one by one instead of in buckets.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from cxloop_cli.demo.stories import Answer, Message, Metric, Person, Stories, Ticket, Turn

WINDOW: Final = timedelta(days=30)
OPENS_WITHIN: Final = timedelta(days=7)
HISTOGRAM_ERROR: Final = 1 / 128
"""Durations are kept in bins whose middle lies within 1/128 of every value in them."""
ROUNDING: Final = 1e-5
_SUPPRESSED: Final = 5
_LOW_CONFIDENCE: Final = 30
_Z: Final = 1.959963984540054
_RULES: Final[dict[Metric, str]] = {"nps": "unhappy-customer", "csat": "bad-contact", "ces": "hard-checkout"}
_LOW: Final[dict[Metric, int]] = {"nps": 6, "csat": 2, "ces": 3}
_GOOD: Final[dict[Metric, int]] = {"nps": 9, "csat": 4, "ces": 5}


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric over the window, with how far an answer may be off (a share of the figure)."""

    value: float | None
    n: int
    ci_low: float | None
    ci_high: float | None
    status: str
    p90: float | None = None
    """Of times alone, in seconds."""
    top_box: float | None = None
    """Of means alone, in percent."""
    tolerance: float = ROUNDING


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


# Metrics


def scorecard(stories: Stories) -> dict[str, Figure]:
    """Work out every figure of the scorecard over the 30 days before the end."""
    since, until = stories.end - WINDOW, stories.end

    def inside(at: datetime) -> bool:
        return since <= at < until

    answers = {
        metric: [a.score for a in stories.answers if a.metric == metric and inside(a.at)] for metric in _GOOD
    }
    first_solves = [(solved[0], ticket) for ticket in stories.tickets if (solved := solves(ticket))]
    first_solves = [(at, ticket) for at, ticket in first_solves if inside(at)]
    replies = [reply for ticket in stories.tickets if (reply := first_response(ticket)) is not None]
    ends = [
        (at, ticket) for ticket in stories.tickets if (at := last_solve(ticket)) is not None and inside(at)
    ]
    created = sum(inside(ticket.opened_at) for ticket in stories.tickets)
    return {
        "nps": net_promoter(answers["nps"]),
        "csat": share([score >= _GOOD["csat"] for score in answers["csat"]]),
        "ces": mean(answers["ces"]),
        "first_response_time": durations([took for at, took in replies if inside(at)]),
        "first_resolution_time": durations([_seconds(at, ticket) for at, ticket in first_solves]),
        "full_resolution_time": durations([_seconds(at, ticket) for at, ticket in ends]),
        "reopen_rate": share([is_reopened(ticket) for _, ticket in first_solves]),
        "ticket_volume": _judged(float(created) if created else None, created, None),
    }


def nps_by_segment(stories: Stories) -> dict[str, Figure]:
    """NPS for each segment."""
    found: dict[str, list[int]] = {}
    for answer in stories.answers:
        if answer.metric == "nps" and stories.end - WINDOW <= answer.at < stories.end:
            found.setdefault(answer.person.segment, []).append(answer.score)
    return {segment: net_promoter(scores) for segment, scores in found.items()}


def first_response_by_team(stories: Stories) -> dict[str, Figure]:
    """First response time for each team."""
    found: dict[str, list[float]] = {}
    for ticket in stories.tickets:
        reply = first_response(ticket)
        if reply is not None and stories.end - WINDOW <= reply[0] < stories.end:
            found.setdefault(ticket.team, []).append(reply[1])
    return {team: durations(taken) for team, taken in found.items()}


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


def first_response(ticket: Ticket) -> tuple[datetime, float] | None:
    """When a person first answered in public, and after how many seconds; None where nobody asked or answered."""
    if ticket.opened_by == "agent":
        return None
    for step in ticket.steps:
        if isinstance(step, Message) and step.author == "agent" and step.public:
            return step.at, (step.at - ticket.opened_at).total_seconds()
    return None


def _seconds(at: datetime, ticket: Ticket) -> float:
    return (at - ticket.opened_at).total_seconds()


# Statistics


def _judged(
    value: float | None,
    n: int,
    interval: tuple[float, float] | None,
    *,
    p90: float | None = None,
    top_box: float | None = None,
    tolerance: float = ROUNDING,
) -> Figure:
    if n < _SUPPRESSED:
        return Figure(None, n, None, None, "suppressed", None, None, tolerance)
    status = "low_confidence" if n < _LOW_CONFIDENCE else "ok"
    low, high = interval if interval is not None else (None, None)
    return Figure(value, n, low, high, status, p90, top_box, tolerance)


def net_promoter(scores: Sequence[int]) -> Figure:
    """Promoters (9-10) minus detractors (0-6) in points, with the adjusted Wald interval."""
    n = len(scores)
    promoters, detractors = (
        sum(score >= _GOOD["nps"] for score in scores),
        sum(score <= _LOW["nps"] for score in scores),
    )
    if n == 0:
        return _judged(None, 0, None)
    p, d = (promoters + 0.75) / (n + 3), (detractors + 0.75) / (n + 3)
    half = _Z * math.sqrt((p + d - (p - d) * (p - d)) / (n + 3))
    interval = (max(-100.0, (p - d - half) * 100), min(100.0, (p - d + half) * 100))
    return _judged((promoters - detractors) / n * 100, n, interval)


def share(outcomes: Sequence[bool]) -> Figure:
    """Share of yes in percent, with the Wilson interval as the roots of its quadratic."""
    n, yes = len(outcomes), sum(outcomes)
    if n == 0:
        return _judged(None, 0, None)
    # (p - x)^2 = z^2 x (1 - x) / n, solved for x.
    a, b, c = 1 + _Z * _Z / n, -(2 * yes / n + _Z * _Z / n), (yes / n) ** 2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return _judged(100 * yes / n, n, (100 * (-b - root) / (2 * a), 100 * (-b + root) / (2 * a)))


def mean(scores: Sequence[int]) -> Figure:
    """Mean with Student's interval, and the share of 5-7 in percent."""
    n = len(scores)
    if n < 2:  # noqa: PLR2004  # a spread needs two
        return _judged(float(scores[0]) if scores else None, n, None)
    middle = math.fsum(scores) / n
    spread = math.sqrt(math.fsum((score - middle) ** 2 for score in scores) / (n - 1))
    half = student_t(n - 1) * spread / math.sqrt(n)
    top = 100 * sum(score >= _GOOD["ces"] for score in scores) / n
    return _judged(middle, n, (middle - half, middle + half), top_box=top)


def durations(seconds: Iterable[float]) -> Figure:
    """Median and 90th percentile in seconds, with the interval of the median by order statistics."""
    ordered = sorted(seconds)
    n = len(ordered)
    if n == 0:
        return _judged(None, 0, None)
    rank = median_rank(n)
    interval = (ordered[rank - 1], ordered[n - rank]) if rank else None
    return _judged(quantile(ordered, 0.5), n, interval, p90=quantile(ordered, 0.9), tolerance=HISTOGRAM_ERROR)


def quantile(ordered: Sequence[float], q: float) -> float:
    """Give the quantile of sorted values, linear between neighbours."""
    position = q * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return low + (high - low) * (position - math.floor(position))


def median_rank(n: int) -> int:
    """Give the greatest rank whose order statistic lies below the median with at least 97.5 %; 0 where none does."""
    below, rank = 0.0, 0
    while (below := below + math.comb(n, rank) / 2**n) <= 0.025:  # noqa: PLR2004  # half of 5 %
        rank += 1
    return rank


def student_t(degrees: int) -> float:
    """Give the 97.5 % point of Student's t: Simpson's rule over its density, and bisection."""
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)

    def density(x: float) -> float:
        return scale * (1 + x * x / degrees) ** (-(degrees + 1) / 2)

    def half_below(x: float, steps: int = 4000) -> float:
        width = x / steps
        inner = math.fsum((4 if i % 2 else 2) * density(i * width) for i in range(1, steps))
        return (density(0) + inner + density(x)) * width / 3

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if half_below(middle) < 0.475 else (low, middle)  # noqa: PLR2004  # half of 95 %
    return (low + high) / 2


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
        if answer.score <= _LOW[answer.metric] and stories.end - answer.at < OPENS_WITHIN:
            low.setdefault((answer.person.email, _RULES[answer.metric]), []).append(answer)
    return [
        _case(rule, sorted(answers, key=lambda answer: answer.at))
        for (_, rule), answers in sorted(low.items())
    ]


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
