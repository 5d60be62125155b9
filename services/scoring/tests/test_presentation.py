"""Figures are written as what they are: counts whole, probabilities to as many digits as mean something."""

import json
from dataclasses import replace

import pytest

from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.comparing import Difference
from cxloop_scoring.domain.gaming import Reason, Suspicion
from cxloop_scoring.domain.joined.contacts import first_contact_resolution, repeat_contact_rate
from cxloop_scoring.domain.joined.loop import recovery_lift
from cxloop_scoring.domain.joined.tallies import Evaluate, Tally
from cxloop_scoring.domain.statistics import Status
from cxloop_scoring.findings import suspicions_out
from cxloop_scoring.presentation import Value, comparison_fields, probability, value_fields

TALLY = Tally(
    20, 5, {"provisional": 11, "unjudged": 3, "contacted_n": 12, "contacted_hits": 3, "uncontacted_n": 8}
)


@pytest.mark.parametrize(
    ("evaluate", "counts"),
    [
        (first_contact_resolution, {"provisional": "11"}),
        (repeat_contact_rate, {"unjudged": "3"}),
        (recovery_lift, {"contacted_n": "12", "uncontacted_n": "8", "contacted_rate": "25.0"}),
    ],
)
def test_counts_beside_a_value_are_whole_numbers(evaluate: Evaluate, counts: dict[str, str]) -> None:
    shown = Value.model_validate(value_fields(evaluate(TALLY))).model_dump_json()
    found = json.loads(shown, parse_int=str, parse_float=str)
    assert {name: found[name] for name in counts} == counts


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.123456789, 0.123457), (1.23456789e-30, 1.23457e-30), (1.0, 1.0), (0.0, 0.0), (None, None)],
)
def test_a_probability_has_six_significant_digits(p: float | None, shown: float | None) -> None:
    assert probability(p) == shown


def test_p_and_q_are_shown_to_six_significant_digits() -> None:
    other = Answer(1.0, 30, None, Status.OK)
    found = Difference(2.0, 1.0, 3.0, 0.0001234567, significant=True, n=30, n_then=30, status=Status.OK)
    assert comparison_fields("previous", other, found)["p_value"] == 0.000123457
    told = comparison_fields("rest", other, replace(found, q_value=0.0012345678))
    assert (told["p_value"], told["q_value"]) == (0.000123457, 0.00123457)
    one_agent = Suspicion(
        "mia", 40, 90.0, 50.0, 1.23456789e-9, 2.3456789e-8, flagged=True, reason=Reason.AS_OTHERS,
        distribution_p=1 / 3,
    )  # fmt: skip
    (one,) = suspicions_out([one_agent])
    assert (one.p_value, one.q_value, one.distribution_p) == (1.23457e-09, 2.34568e-08, 0.333333)
