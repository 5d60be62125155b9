"""Gaming: numbers of single agents that look made rather than earned.

Every test holds one agent against all others together, exactly, and is corrected over the agents. A flag is a
reason to look, not a verdict: nobody is flagged on fewer than 20 observations, and each flag names what was seen.
Where two things must hold at once, p is the greater of both tests' (intersection-union: Berger (1982),
Technometrics 24(4)).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from cxloop_scoring.domain import statistics
from cxloop_scoring.domain.statistics import ALPHA, Alternative, Strata

LEAST_N: Final = 20
"""Observations of an agent below which nothing is said."""


class Reason(StrEnum):
    """What was seen of an agent, or why nothing is said."""

    TOP_SCORES_STAND_OUT = "top_scores_stand_out"
    """More top scores than the others', and too many even for somebody whose customers are that content: as if
    they were asked for."""
    TROUBLED_TICKETS_UNASKED = "troubled_tickets_unasked"
    """Surveys follow clean tickets and spare troubled ones, more so than with the others."""
    REOPENED_MERGED_AWAY = "reopened_merged_away"
    """Reopened tickets leave the numbers by a merge, more often than the others'."""
    AS_OTHERS = "as_others"
    """Nothing that chance would not explain."""
    TOO_FEW = "too_few"
    """Fewer than 20 observations."""
    NOBODY_ELSE = "nobody_else"
    """No other agent to compare with."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One agent in one test; shares in percent, None where they are withheld."""

    agent: str
    n: int
    share: float | None
    expected: float | None
    """The same of all other agents together."""
    p_value: float | None
    q_value: float | None
    flagged: bool
    reason: Reason
    distribution_p: float | None = None
    """For scores: whether the whole distribution differs from the others', by chi-square."""


class Surveyed(NamedTuple):
    """Tickets of an agent and how many of them were surveyed.

    Troubled: reopened, escalated, or handed on at least twice; clean: all others.
    """

    clean: int
    clean_surveyed: int
    troubled: int
    troubled_surveyed: int


class Reopened(NamedTuple):
    """Reopened tickets of an agent, and how many of them were merged into another one."""

    reopened: int
    merged_away: int


def _unsaid(agent: str, n: int, reason: Reason) -> Suspicion:
    return Suspicion(agent, n, None, None, None, None, flagged=False, reason=reason)


def _corrected(found: Mapping[str, Suspicion], flag: Reason) -> tuple[Suspicion, ...]:
    """Add q-values, flag what remains, and put the most suspicious first, ties by agent."""
    tested = {agent: item.p_value for agent, item in found.items() if item.p_value is not None}
    q_values = dict(zip(tested, statistics.q_values(list(tested.values())), strict=True))
    judged = [
        replace(item, q_value=q, flagged=q < ALPHA, reason=flag if q < ALPHA else Reason.AS_OTHERS)
        if (q := q_values.get(agent)) is not None
        else item
        for agent, item in found.items()
    ]
    return tuple(sorted(judged, key=lambda item: (2.0 if item.q_value is None else item.q_value, item.agent)))


def _share(part: int, n: int) -> float | None:
    return statistics.share(part, n)


def top_scores(scores: Mapping[str, Mapping[int, int]], top: int) -> tuple[Suspicion, ...]:
    """Look for begged top scores: by agent, how often each score was given; `top` is the best of the scale.

    Both must exceed the others': the share of top scores among all, and among the two best. Good work raises
    both of those two; begging turns the second best into the best. One-sided Fisher tests.
    """
    all_: dict[int, int] = {}
    for counts in scores.values():
        for score, count in counts.items():
            all_[score] = all_.get(score, 0) + count
    everything = sum(all_.values())
    found: dict[str, Suspicion] = {}
    for agent, counts in scores.items():
        n = sum(counts.values())
        others = everything - n
        if n < LEAST_N or not others:
            found[agent] = _unsaid(agent, n, Reason.TOO_FEW if n < LEAST_N else Reason.NOBODY_ELSE)
            continue
        tens, second = counts.get(top, 0), counts.get(top - 1, 0)
        other_tens, other_second = all_.get(top, 0) - tens, all_.get(top - 1, 0) - second
        more = statistics.fisher(tens, n, other_tens, others, Alternative.GREATER)
        spiked = statistics.fisher(
            tens, tens + second, other_tens, other_tens + other_second, Alternative.GREATER
        )
        order = sorted(all_)
        own = [counts.get(score, 0) for score in order]
        distribution = statistics.homogeneity(
            own, [all_[score] - ours for score, ours in zip(order, own, strict=True)]
        )
        found[agent] = Suspicion(
            agent,
            n,
            _share(tens, n),
            _share(other_tens, others),
            max(more, spiked),
            None,
            flagged=False,
            reason=Reason.AS_OTHERS,
            distribution_p=distribution,
        )
    return _corrected(found, Reason.TOP_SCORES_STAND_OUT)


def _gap(tickets: Surveyed) -> float | None:
    """Give the share surveyed of clean tickets less that of troubled ones, in percentage points."""
    clean = _share(tickets.clean_surveyed, tickets.clean)
    troubled = _share(tickets.troubled_surveyed, tickets.troubled)
    return None if clean is None or troubled is None else clean - troubled


def picked_surveys(tickets: Mapping[str, Surveyed]) -> tuple[Suspicion, ...]:
    """Look for picked surveys; n counts tickets, share and expected are gaps in percentage points.

    Both must hold: the agent's clean tickets are surveyed more often than the agent's troubled ones (one-sided
    Fisher), and the odds ratio between them is greater than with the others (Zelen), for a survey tool may
    itself leave out reopened tickets, with everybody.
    """
    all_ = Surveyed(*(sum(column) for column in zip(*tickets.values(), strict=True))) if tickets else None
    found: dict[str, Suspicion] = {}
    for agent, own in tickets.items():
        if all_ is None:
            break
        n = own.clean + own.troubled
        others = Surveyed(*(whole - part for whole, part in zip(all_, own, strict=True)))
        if n < LEAST_N or not others.clean + others.troubled:
            found[agent] = _unsaid(agent, n, Reason.TOO_FEW if n < LEAST_N else Reason.NOBODY_ELSE)
            continue
        first = Strata(own.clean_surveyed, own.clean, own.troubled_surveyed, own.troubled)
        second = Strata(others.clean_surveyed, others.clean, others.troubled_surveyed, others.troubled)
        p = max(statistics.fisher(*first, Alternative.GREATER), statistics.odds_ratio_greater(first, second))
        found[agent] = Suspicion(
            agent, n, _gap(own), _gap(others), p, None, flagged=False, reason=Reason.AS_OTHERS
        )
    return _corrected(found, Reason.TROUBLED_TICKETS_UNASKED)


def merged_away(tickets: Mapping[str, Reopened]) -> tuple[Suspicion, ...]:
    """Look for reopened tickets that were merged into others; n counts reopened tickets. One-sided Fisher."""
    reopened = sum(item.reopened for item in tickets.values())
    merged = sum(item.merged_away for item in tickets.values())
    found: dict[str, Suspicion] = {}
    for agent, own in tickets.items():
        n, others = own.reopened, reopened - own.reopened
        if n < LEAST_N or not others:
            found[agent] = _unsaid(agent, n, Reason.TOO_FEW if n < LEAST_N else Reason.NOBODY_ELSE)
            continue
        other_merged = merged - own.merged_away
        p = statistics.fisher(own.merged_away, n, other_merged, others, Alternative.GREATER)
        found[agent] = Suspicion(
            agent,
            n,
            _share(own.merged_away, n),
            _share(other_merged, others),
            p,
            None,
            flagged=False,
            reason=Reason.AS_OTHERS,
        )
    return _corrected(found, Reason.REOPENED_MERGED_AWAY)
