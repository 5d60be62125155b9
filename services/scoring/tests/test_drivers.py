"""Drivers: effects that add up exactly, with intervals that hold what they promise."""

import importlib
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxloop_scoring.domain.answers import Sums
from cxloop_scoring.domain.dimensions import OTHER
from cxloop_scoring.domain.drivers import Driver, Effect, OverlapError, Window, drivers, effects, part
from cxloop_scoring.domain.histogram import duration_bin
from cxloop_scoring.domain.metrics import CATALOGUE

numpy: Any = importlib.import_module("numpy")
CSAT = CATALOGUE["csat"]


def answers(good: int, n: int) -> Sums:
    return Sums(n=n, high=good, low=n - good)


def together(*parts: Sums) -> Sums:
    whole = Sums()
    for item in parts:
        whole.add(item)
    return whole


counts = st.integers(0, 400)
groups = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(counts, counts, counts), max_size=8)


@given(groups, groups, st.sampled_from(["nps", "csat", "reopen_rate", "ces", "handoffs"]))
def test_mix_and_rate_effects_add_up_to_the_change_exactly(
    now: dict[str, tuple[int, int, int]], then: dict[str, tuple[int, int, int]], name: str
) -> None:
    metric = CATALOGUE[name]
    windows = [
        {
            key: Sums(n=h + m + d, sum=h, squares=h, high=h, middle=m, low=d)
            for key, (h, m, d) in window.items()
        }
        for window in (now, then)
    ]
    wholes = [part(metric, together(*window.values())) for window in windows]
    if not wholes[0].n or not wholes[1].n:
        return
    total = Fraction(0)
    for key in now.keys() | then.keys():
        ours, theirs = (part(metric, window.get(key, Sums())) for window in windows)
        total += sum(effects(Window(wholes[0], ours), Window(wholes[1], theirs)))
    assert total == wholes[0].mean - wholes[1].mean


def test_a_shift_of_mail_between_equally_good_channels_is_neither_mix_nor_rate() -> None:
    now = {"email": answers(90, 100), "chat": answers(270, 300)}
    then = {"email": answers(270, 300), "chat": answers(90, 100)}
    found = drivers(CSAT, (together(*now.values()), together(*then.values())), now, then)
    assert found is not None
    assert found.change.value == 0
    assert [(driver.mix, driver.total.value) for driver in found.values] == [
        (driver.mix, 0) for driver in found.values
    ]
    assert not any(driver.significant for driver in found.values)


def _by_key(found: tuple[Driver, ...]) -> dict[str | None, Driver]:
    return {driver.key: driver for driver in found}


def _value(effect: Effect | None) -> float:
    assert effect is not None
    return effect.value


def test_growth_of_a_bad_value_is_its_mix_effect_and_a_worse_value_its_rate_effect() -> None:
    now = {"chat": answers(160, 200), "email": answers(100, 200)}
    then = {"chat": answers(240, 300), "email": answers(80, 100)}
    found = drivers(CSAT, (together(*now.values()), together(*then.values())), now, then)
    assert found is not None
    assert found.change.value == pytest.approx(-15)
    by_key = _by_key(found.values)
    # Email: 25 % -> 50 % of the answers, 80 % -> 50 % good; M is 72.5 in the middle of both windows.
    assert _value(by_key["email"].rate) == pytest.approx(0.375 * -30)
    assert _value(by_key["email"].mix) == pytest.approx((65 - 72.5) * 0.25)
    assert _value(by_key["chat"].rate) == 0
    assert _value(by_key["chat"].mix) == pytest.approx((80 - 72.5) * -0.25)
    assert found.values[0].key == "email"
    assert found.values[0].significant
    assert found.unattributed is None


def test_observations_without_a_value_are_unattributed_and_complete_the_sum() -> None:
    now, then = {"a": answers(50, 100)}, {"a": answers(60, 100)}
    totals = together(now["a"], answers(10, 50)), together(then["a"], answers(30, 40))
    found = drivers(CSAT, totals, now, then)
    assert found is not None
    assert found.unattributed is not None
    assert (found.unattributed.n, found.unattributed.n_then) == (50, 40)
    assert found.values[0].total.value + found.unattributed.total.value == pytest.approx(found.change.value)


def test_a_value_that_one_window_lacks_came_or_went_as_it_was() -> None:
    now, then = {"a": answers(80, 100), "new": answers(10, 100)}, {"a": answers(80, 100)}
    found = drivers(CSAT, (together(*now.values()), then["a"]), now, then)
    assert found is not None
    new = _by_key(found.values)["new"]
    assert _value(new.rate) == 0
    assert new.value_then is None
    assert new.significant
    assert sum(driver.total.value for driver in found.values) == pytest.approx(found.change.value)


def test_values_of_a_few_persons_are_told_together() -> None:
    now = {"a": answers(50, 100), "b": answers(1, 4), "c": answers(4, 4)}
    then = {"a": answers(50, 100), "b": answers(2, 3)}
    totals = together(*now.values()), together(*then.values())
    found = drivers(CSAT, totals, now, then)
    assert found is not None
    assert {driver.key for driver in found.values} == {"a", OTHER}
    assert _by_key(found.values)[OTHER].n == 8
    shown = drivers(CSAT, totals, now, then, unsuppress=True)
    assert shown is not None
    assert {driver.key for driver in shown.values} == {"a", "b", "c"}


def test_durations_decompose_their_mean_and_say_so() -> None:
    def times(*seconds: int) -> Sums:
        histogram: dict[int, int] = {}
        for value in seconds:
            number = duration_bin(value * 1000)
            histogram[number] = histogram.get(number, 0) + 1
        return Sums(n=len(seconds), sum=1000 * sum(seconds), histogram=histogram)

    now, then = {"a": times(*range(10, 60)), "b": times(*range(500, 520))}, {"a": times(*range(10, 60))}
    found = drivers(CATALOGUE["first_response_time"], (together(*now.values()), then["a"]), now, then)
    assert found is not None
    assert found.of == "mean"
    assert found.value == pytest.approx((sum(range(10, 60)) + sum(range(500, 520))) / 70)
    assert found.change.ci_low is not None
    assert found.change.ci_low > 0
    assert sum(driver.total.value for driver in found.values) == pytest.approx(found.change.value)


def test_volumes_have_plain_differences_that_add_up() -> None:
    now, then = {"a": Sums(n=40), "b": Sums(n=7)}, {"a": Sums(n=10), "c": Sums(n=9)}
    found = drivers(CATALOGUE["ticket_volume"], (Sums(n=50), Sums(n=20)), now, then)
    assert found is not None
    assert (found.of, found.change) == ("value", Effect(30.0))
    assert {driver.key: driver.total.value for driver in found.values} == {"a": 30, "c": -9, "b": 7}
    assert found.unattributed is not None
    assert found.unattributed.total.value == 2


def test_values_that_overlap_are_refused() -> None:
    now = {"vip": answers(50, 60), "urgent": answers(50, 60)}
    for metric in (CSAT, CATALOGUE["ticket_volume"]):
        with pytest.raises(OverlapError, match="overlap"):
            drivers(metric, (answers(80, 100), answers(80, 100)), now, {})


def test_an_empty_window_has_no_drivers() -> None:
    assert drivers(CSAT, (answers(1, 2), Sums()), {"a": answers(1, 2)}, {}) is None


def test_the_intervals_hold_what_they_promise() -> None:
    """A world with known effects, sampled 3,000 times: each interval encloses its truth in 93 to 96 % of them."""
    chance: Any = numpy.random.default_rng(7)
    keys = "abc"
    world = [((0.7, 0.2, 0.1), (0.95, 0.5, 0.1)), ((0.2, 0.35, 0.45), (0.85, 0.7, 0.2))]

    def exact(window: tuple[tuple[float, ...], tuple[float, ...]]) -> dict[str, Sums]:
        return {
            key: answers(round(10_000 * w * m), round(10_000 * w))
            for key, w, m in zip(keys, *window, strict=True)
        }

    def sample(window: tuple[tuple[float, ...], tuple[float, ...]], n: int) -> dict[str, Sums]:
        sizes = [int(size) for size in chance.multinomial(n, window[0])]
        goods = [int(good) for good in chance.binomial(sizes, window[1])]
        return {key: answers(good, size) for key, good, size in zip(keys, goods, sizes, strict=True)}

    def found(now: dict[str, Sums], then: dict[str, Sums]) -> dict[tuple[str | None, str], Effect]:
        result = drivers(CSAT, (together(*now.values()), together(*then.values())), now, then)
        assert result is not None
        named: dict[tuple[str | None, str], Effect] = {(None, "change"): result.change}
        for driver in result.values:
            for name, effect in (("mix", driver.mix), ("rate", driver.rate), ("total", driver.total)):
                assert effect is not None
                named[driver.key, name] = effect
        return named

    truth = found(*(exact(window) for window in world))
    rounds = 3000
    held = dict.fromkeys(truth, 0)
    for _ in range(rounds):
        for name, effect in found(sample(world[0], 1000), sample(world[1], 1400)).items():
            assert effect.ci_low is not None
            assert effect.ci_high is not None
            held[name] += effect.ci_low <= truth[name].value <= effect.ci_high
    shares = {name: times / rounds for name, times in held.items()}
    assert all(0.93 <= share <= 0.96 for share in shares.values()), shares


def test_a_level_adds_up_though_a_ticket_was_solved_before_it_was_created() -> None:
    metric = CATALOGUE["backlog"]
    then = {"a": Sums(n=2, sum=2), "b": Sums(n=0, sum=-1)}
    now = {"a": Sums(n=3, sum=3), "b": Sums(n=1, sum=0)}
    found = drivers(metric, (Sums(n=4, sum=3), Sums(n=2, sum=1)), now, then, unsuppress=True)
    assert found is not None
    assert found.change.value == 2
    assert {one.key: one.total.value for one in found.values} == {"a": 1, "b": 1}
