"""Comparisons by family, and what remains significant of many."""

import pytest

from cxloop_scoring.domain.answers import Sums, answer, worst_first
from cxloop_scoring.domain.comparing import compare, compare_many
from cxloop_scoring.domain.histogram import duration_bin
from cxloop_scoring.domain.metrics import CATALOGUE
from cxloop_scoring.domain.statistics import Status


def scores(high: int, middle: int, low: int) -> Sums:
    return Sums(n=high + middle + low, high=high, middle=middle, low=low)


def share(good: int, n: int) -> Sums:
    return Sums(n=n, sum=good, squares=good)


def values(*given: int) -> Sums:
    return Sums(n=len(given), sum=sum(given), squares=sum(v * v for v in given))


def durations(*seconds: float) -> Sums:
    histogram: dict[int, int] = {}
    for value in seconds:
        number = duration_bin(round(value * 1000))
        histogram[number] = histogram.get(number, 0) + 1
    return Sums(n=len(seconds), sum=round(1000 * sum(seconds)), histogram=histogram)


@pytest.mark.parametrize(
    ("name", "now", "then", "expected"),
    [
        ("nps", scores(50, 30, 20), scores(30, 30, 40), 40.0),
        ("csat", scores(70, 10, 20), scores(60, 10, 30), 10.0),
        ("reopen_rate", share(12, 48), share(10, 50), 5.0),
        ("ces", values(*[500, 600] * 20), values(*[400, 500] * 20), 1.0),
        ("handoffs", values(*[0, 1, 2] * 10), values(*[0, 0, 1] * 10), 2 / 3),
        ("first_response_time", durations(*range(60, 160)), durations(*range(30, 130)), 30.0),
    ],
)
def test_a_difference_is_that_of_the_values_in_the_unit_of_the_metric(
    name: str, now: Sums, then: Sums, expected: float
) -> None:
    metric = CATALOGUE[name]
    found = compare(metric, now, then)
    assert found is not None
    assert found.difference == pytest.approx(expected, rel=0.02)
    ours, theirs = answer(metric, now).value, answer(metric, then).value
    assert ours is not None
    assert theirs is not None
    assert found.difference == pytest.approx(ours - theirs)
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert found.ci_low < expected < found.ci_high
    assert (found.n, found.n_then, found.status) == (now.n, then.n, Status.OK)
    turned = compare(metric, then, now)
    assert turned is not None
    assert (turned.ci_low, turned.ci_high) == (pytest.approx(-found.ci_high), pytest.approx(-found.ci_low))
    assert turned.p_value == pytest.approx(found.p_value)


def test_volumes_have_a_plain_difference_for_nothing_is_sampled() -> None:
    found = compare(CATALOGUE["ticket_volume"], Sums(n=0), Sums(n=40))
    assert found is not None
    assert (found.difference, found.ci_low, found.p_value, found.significant) == (-40.0, None, None, False)


def test_an_empty_window_cannot_be_compared() -> None:
    assert compare(CATALOGUE["nps"], Sums(), scores(50, 30, 20)) is None


@pytest.mark.parametrize("name", ["recovery_lift", "revenue_at_risk"])
def test_what_is_not_made_of_sums_is_not_compared_by_sums(name: str) -> None:
    assert compare(CATALOGUE[name], share(3, 40), share(3, 40)) is None


def test_a_backlog_has_a_plain_difference() -> None:
    found = compare(CATALOGUE["backlog"], Sums(n=90, sum=12), Sums(n=50, sum=20))
    assert found is not None
    assert (found.difference, found.p_value) == (-8.0, None)


def test_a_difference_from_fewer_than_five_is_withheld() -> None:
    metric = CATALOGUE["nps"]
    found = compare(metric, scores(4, 0, 0), scores(50, 30, 20))
    assert found is not None
    assert (found.difference, found.ci_low, found.p_value, found.n) == (None, None, None, 4)
    assert found.status is Status.SUPPRESSED
    shown = compare(metric, scores(4, 0, 0), scores(50, 30, 20), unsuppress=True)
    assert shown is not None
    assert shown.difference == 70


def test_the_status_of_a_difference_is_that_of_the_lesser_window() -> None:
    found = compare(CATALOGUE["csat"], scores(100, 0, 100), scores(5, 0, 24))
    assert found is not None
    assert found.status is Status.LOW_CONFIDENCE


def test_a_difference_that_nothing_varies_around_is_told_without_an_interval() -> None:
    found = compare(CATALOGUE["ces"], values(*[600] * 40), values(*[500] * 40))
    assert found is not None
    assert (found.difference, found.ci_low, found.p_value, found.significant) == (1.0, None, None, False)


def test_one_conspicuous_group_among_many_is_no_longer_significant() -> None:
    metric = CATALOGUE["csat"]
    same = scores(50, 0, 50), scores(50, 0, 50)
    odd = scores(64, 0, 36), scores(50, 0, 50)
    alone = compare_many(metric, {"odd": odd})["odd"]
    assert alone.p_value is not None
    assert 0.04 < alone.p_value < 0.05
    assert alone.significant
    assert alone.q_value == alone.p_value
    among = compare_many(metric, {"odd": odd, **{f"team-{number}": same for number in range(20)}})
    assert among["odd"].p_value == alone.p_value
    assert among["odd"].q_value == pytest.approx(min(1.0, 21 * alone.p_value))
    assert not among["odd"].significant


def test_withheld_and_empty_groups_take_no_part_in_the_correction() -> None:
    metric = CATALOGUE["csat"]
    odd = scores(64, 0, 36), scores(50, 0, 50)
    few = {f"few-{number}": (scores(2, 0, 2), scores(50, 0, 50)) for number in range(20)}
    found = compare_many(metric, {"odd": odd, "empty": (Sums(), scores(1, 1, 1)), **few})
    assert found["odd"].q_value == found["odd"].p_value
    assert "empty" not in found
    assert found["few-3"].q_value is None


@pytest.mark.parametrize(
    ("now", "then", "p_below", "excludes"),
    [(share(4, 20), share(0, 20), True, False), (share(9, 20), share(5, 27), False, True)],
)
def test_a_difference_is_significant_only_where_test_and_interval_agree(
    now: Sums, then: Sums, *, p_below: bool, excludes: bool
) -> None:
    metric = CATALOGUE["reopen_rate"]
    found = compare(metric, now, then)
    assert found is not None
    assert found.p_value is not None
    assert (found.p_value < 0.05, found.excludes_zero) == (p_below, excludes)
    assert not found.significant
    assert not compare_many(metric, {"a": (now, then)})["a"].significant


def test_groups_stand_worst_first_and_what_was_left_over_last() -> None:
    metric = CATALOGUE["csat"]
    parts = {"a": scores(9, 0, 1), "__other__": scores(1, 0, 9), "b": scores(2, 0, 8), "c": scores(1, 0, 1)}
    answers = {key: answer(metric, sums) for key, sums in parts.items()}
    assert [key for key, _ in worst_first(metric, answers)] == ["b", "a", "c", "__other__"]
