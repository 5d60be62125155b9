"""Numbers that look made rather than earned, and what must not look so."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxloop_scoring.domain.gaming import (
    Reason,
    Reopened,
    Surveyed,
    Suspicion,
    merged_away,
    picked_surveys,
    top_scores,
)
from cxloop_scoring.domain.statistics import Strata, fisher, odds_ratio_greater
from cxloop_scoring.domain.statistics.exact import Alternative

HONEST = {10: 30, 9: 25, 8: 20, 6: 15, 3: 10}


def by_agent(found: tuple[Suspicion, ...]) -> dict[str, Suspicion]:
    return {item.agent: item for item in found}


def team(**special: dict[int, int]) -> dict[str, dict[int, int]]:
    return {f"agent-{number}": HONEST for number in range(10)} | special


def test_an_agent_whose_nines_became_tens_is_flagged() -> None:
    found = top_scores(team(mia={10: 68, 9: 2, 8: 10, 6: 10, 3: 10}), top=10)
    assert found[0].agent == "mia"
    assert (found[0].flagged, found[0].reason, found[0].n) == (True, Reason.TOP_SCORES_STAND_OUT, 100)
    assert (found[0].share, found[0].expected) == (68, 30)
    assert found[0].distribution_p is not None
    assert found[0].distribution_p < 0.001
    assert sum(item.flagged for item in found) == 1


def test_an_agent_who_is_better_altogether_is_not_flagged() -> None:
    mia = by_agent(top_scores(team(mia={10: 50, 9: 42, 8: 8}), top=10))["mia"]
    assert mia.share == 50
    assert mia.reason is Reason.AS_OTHERS
    assert not mia.flagged


def test_nothing_is_said_of_an_agent_with_fewer_than_twenty() -> None:
    mia = by_agent(top_scores(team(mia={10: 19}), top=10))["mia"]
    assert (mia.n, mia.share, mia.expected, mia.p_value, mia.q_value) == (19, None, None, None, None)
    assert (mia.flagged, mia.reason) == (False, Reason.TOO_FEW)
    assert by_agent(top_scores(team(mia={10: 20}), top=10))["mia"].flagged


def test_an_agent_alone_has_nobody_to_be_compared_with() -> None:
    assert top_scores({"mia": HONEST}, top=10)[0].reason is Reason.NOBODY_ELSE
    assert merged_away({"mia": Reopened(40, 40)})[0].reason is Reason.NOBODY_ELSE
    assert picked_surveys({"mia": Surveyed(40, 40, 20, 0)})[0].reason is Reason.NOBODY_ELSE
    assert top_scores({}, top=10) == merged_away({}) == picked_surveys({}) == ()


def test_an_agent_who_spares_troubled_tickets_the_survey_is_flagged() -> None:
    tickets = {f"agent-{number}": Surveyed(80, 40, 20, 10) for number in range(10)}
    found = picked_surveys(tickets | {"mia": Surveyed(80, 64, 20, 2)})
    assert (found[0].agent, found[0].flagged, found[0].n) == ("mia", True, 100)
    assert found[0].reason is Reason.TROUBLED_TICKETS_UNASKED
    assert (found[0].share, found[0].expected) == (70, 0)
    assert sum(item.flagged for item in found) == 1


def test_a_survey_tool_that_spares_reopened_tickets_with_everybody_flags_nobody() -> None:
    tickets = {f"agent-{number}": Surveyed(80, 64, 20, 2) for number in range(10)}
    assert not any(item.flagged for item in picked_surveys(tickets))


def test_an_agent_who_surveys_troubled_tickets_more_often_is_not_flagged() -> None:
    tickets = {f"agent-{number}": Surveyed(80, 40, 20, 18) for number in range(10)}
    found = by_agent(picked_surveys(tickets | {"mia": Surveyed(80, 40, 20, 10)}))
    assert not found["mia"].flagged


def test_an_agent_whose_reopened_tickets_vanish_by_merges_is_flagged() -> None:
    tickets = {f"agent-{number}": Reopened(40, 3) for number in range(10)}
    found = merged_away(tickets | {"mia": Reopened(40, 25), "new": Reopened(19, 19)})
    assert (found[0].agent, found[0].flagged) == ("mia", True)
    assert (found[0].share, found[0].n, found[0].reason) == (62.5, 40, Reason.REOPENED_MERGED_AWAY)
    assert by_agent(found)["new"].reason is Reason.TOO_FEW
    assert sum(item.flagged for item in found) == 1


def test_p_is_that_of_fisher_against_all_others_together() -> None:
    tickets = {"a": Reopened(40, 9), "b": Reopened(60, 6), "c": Reopened(30, 1)}
    assert by_agent(merged_away(tickets))["a"].p_value == fisher(9, 40, 7, 90, Alternative.GREATER)


def test_honest_teams_are_seldom_flagged() -> None:
    """300 honest teams of ten: chance flags somebody in at most 5 % of them, for each of the tests."""
    chance = random.Random(11)  # noqa: S311 - a simulation, reproducible by its seed

    def some(n: int, p: float) -> int:
        return sum(chance.random() < p for _ in range(n))

    flagged = [0, 0, 0]
    for _ in range(300):
        scores: dict[str, dict[int, int]] = {}
        for agent in "abcdefghij":
            drawn = chance.choices(list(HONEST), list(HONEST.values()), k=40)
            scores[agent] = {score: drawn.count(score) for score in HONEST}
        tickets = {agent: Surveyed(40, some(40, 0.5), 15, some(15, 0.3)) for agent in scores}
        reopened = {agent: Reopened(25, some(25, 0.2)) for agent in scores}
        for place, found in enumerate(
            (top_scores(scores, top=10), picked_surveys(tickets), merged_away(reopened))
        ):
            flagged[place] += any(item.flagged for item in found)
    assert all(times <= 15 for times in flagged), flagged


small = st.integers(0, 9)


@given(st.tuples(*[small] * 4), st.tuples(*[small] * 4))
def test_zelens_test_is_the_ratio_of_the_tables_that_count(
    first: tuple[int, int, int, int], second: tuple[int, int, int, int]
) -> None:
    tables = [Strata(a, a + b, c, c + d) for a, b, c, d in (first, second)]
    together = first[0] + second[0]

    def ways(table: Strata, k: int) -> int:
        good = table.good + table.other_good
        return math.comb(table.n, k) * math.comb(table.other_n, good - k) if 0 <= k <= good else 0

    weights = {k: ways(tables[0], k) * ways(tables[1], together - k) for k in range(together + 1)}
    tail = sum(weight for k, weight in weights.items() if k >= first[0])
    assert odds_ratio_greater(*tables) == pytest.approx(tail / sum(weights.values()), rel=1e-9)


def test_zelens_test_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="nor more"):
        odds_ratio_greater(Strata(3, 2, 0, 0), Strata(0, 0, 0, 0))
