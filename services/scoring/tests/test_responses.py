"""What responses and sends add to the metrics, without a database."""

from typing import Any

import pytest

from cxloop_scoring.domain.clocks import ClockAnomaly
from cxloop_scoring.domain.documents import anomalies, contributions, fold
from cxloop_scoring.domain.facts import Fact, Facts, Responded, Sent
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band, Observation, customer_of
from cxloop_scoring.domain.responses import band, metric_of, normalised
from cxloop_scoring.domain.rules import DEFAULT_RULES

RESPONSE, SEND = "response:survey:r1", "send:survey:s1"
ANA, BO = ("email:ana@example.com",), ("email:bo@example.com",)


def score(metric: str, raw: float, least: float, most: float, at: int = 0, **more: Any) -> Responded:
    lower = more.pop("lower_is_better", False)
    good, said, people = more.pop("good", None), more.pop("said", {}), more.pop("identifiers", ())
    ticket = more.pop("ticket", None)
    return Responded(at, b"", metric, raw, least, most, lower, good, said, people, None, ticket, **more)


def sent(at: int, survey: str = "spring", **more: Any) -> Sent:
    return Sent(at, b"", survey, more.pop("said", {}), more.pop("identifiers", ()), more.pop("ticket", None))


@pytest.mark.parametrize(
    ("answer", "where", "share", "counts"),
    [
        (score("nps", 6, 0, 10), Band.LOW, 6000, "NPS"),
        (score("nps", 7, 0, 10), Band.MIDDLE, 7000, "NPS"),
        (score("nps", 9, 0, 10), Band.HIGH, 9000, "NPS"),
        (score("nps", 4, 1, 5), Band.HIGH, 7500, None),
        (score("csat", 2, 1, 5), Band.LOW, 2500, "CSAT"),
        (score("csat", 3, 1, 5), Band.MIDDLE, 5000, "CSAT"),
        (score("csat", 4, 1, 5), Band.HIGH, 7500, "CSAT"),
        (score("csat", 2, 1, 2), Band.HIGH, 10000, "CSAT"),
        (score("csat", 1, 1, 2), Band.LOW, 0, "CSAT"),
        (score("csat", 2, 1, 3), Band.MIDDLE, 5000, "CSAT"),
        (score("csat", 3, 1, 4), Band.HIGH, 6667, "CSAT"),
        (score("csat", 2, 1, 5, lower_is_better=True), Band.HIGH, 7500, "CSAT"),
        (score("csat", 2, 1, 5, good=(1.0, 2.0)), Band.HIGH, 2500, "CSAT"),
        (score("ces", 3, 1, 7), Band.LOW, 3333, "CES"),
        (score("ces", 4, 1, 7), Band.MIDDLE, 5000, "CES"),
        (score("ces", 5, 1, 7), Band.HIGH, 6667, "CES"),
        (score("ces", 5, 1, 5), Band.HIGH, 10000, "CES_V1"),
        (score("ces", 5, 1, 9), Band.MIDDLE, 5000, None),
        (score("other", 100, 0, 100), Band.HIGH, 10000, None),
    ],
)
def test_a_score_has_its_band_and_its_metric(
    answer: Responded, where: Band, share: int, counts: str | None
) -> None:
    assert normalised(answer) == share
    assert band(answer, share) is where
    number = metric_of(answer)
    assert (None if number is None else number.name) == counts


@pytest.mark.parametrize(
    ("raw", "lower_is_better", "effort", "where"),
    [
        (1, True, 100, Band.HIGH),
        (2, True, 200, Band.HIGH),
        (2.5, True, 250, Band.MIDDLE),
        (3, True, 300, Band.MIDDLE),
        (3.5, True, 350, Band.MIDDLE),
        (4, True, 400, Band.LOW),
        (5, True, 500, Band.LOW),
        (5, False, 100, Band.HIGH),
        (4, False, 200, Band.HIGH),
        (3, False, 300, Band.MIDDLE),
        (1, False, 500, Band.LOW),
    ],
)
def test_version_1_of_the_effort_score_is_effort_whichever_way_it_was_asked(
    raw: float, effort: int, where: Band, *, lower_is_better: bool
) -> None:
    answer = score("ces", raw, 1, 5, lower_is_better=lower_is_better, good=(3.0,))
    (found,) = contributions(RESPONSE, {"a": answer}, DEFAULT_RULES)
    assert (found.metric, found.value, found.band) == (MetricNumber.CES_V1, effort, where)


def rows(document: str, facts: Facts, *numbers: MetricNumber) -> list[Observation]:
    return [one for one in contributions(document, facts, DEFAULT_RULES) if one.metric in numbers]


@pytest.mark.parametrize(
    ("facts", "value"),
    [
        ([sent(10)], 0),
        ([sent(10), sent(30)], 0),
        ([sent(10), score("nps", 9, 0, 10, at=20)], 1),
        ([sent(30), sent(10), score("other", 9, 0, 10, at=20)], 1),
    ],
)
def test_a_survey_whose_response_is_known_counts_when_it_was_first_sent(
    facts: list[Fact], value: int
) -> None:
    named = {f"e{place}": fact for place, fact in enumerate(facts)}
    (found,) = rows(RESPONSE, named, MetricNumber.RESPONSE_RATE, MetricNumber.SEND_UNLINKED)
    assert (found.metric, found.value, found.at) == (MetricNumber.RESPONSE_RATE, value, 10)


def test_an_answer_without_a_known_send_is_in_no_response_rate() -> None:
    (found,) = contributions(RESPONSE, {"a": score("nps", 9, 0, 10)}, DEFAULT_RULES)
    assert found.metric == MetricNumber.NPS


def test_a_survey_whose_response_is_unknown_waits_for_its_customers_answer() -> None:
    facts: Facts = {"a": sent(10, said={"team": "billing"}, identifiers=ANA, ticket="ticket:desk:7")}
    (found,) = contributions(SEND, facts, DEFAULT_RULES)
    assert (found.metric, found.value, found.at) == (MetricNumber.SEND_UNLINKED, 0, 10)
    assert (found.customer, found.ticket) == (customer_of(ANA).hash, "ticket:desk:7")
    assert found.dimensions.named() == {"source": "survey", "team": "billing", "survey": "spring"}


def test_a_send_is_filed_under_its_own_dimensions_and_the_answer_under_the_answers() -> None:
    facts: Facts = {
        "a": sent(10, survey="spring", said={"team": "billing"}),
        "b": score("nps", 9, 0, 10, at=20, said={"team": "returns", "survey": "summer"}),
    }
    found = {one.metric: one.dimensions for one in contributions(RESPONSE, facts, DEFAULT_RULES)}
    assert (found[MetricNumber.RESPONSE_RATE].team, found[MetricNumber.RESPONSE_RATE].survey) == (
        "billing",
        "spring",
    )
    assert (found[MetricNumber.NPS].team, found[MetricNumber.NPS].survey) == ("returns", "summer")


def test_an_edit_keeps_what_only_an_earlier_answer_said() -> None:
    facts: Facts = {
        "b": score("nps", 2, 0, 10, at=20, said={"channel": "sms"}),
        "a": score(
            "nps", 9, 0, 10, at=10, said={"channel": "email", "touchpoint": "checkout"}, identifiers=ANA
        ),
    }
    (found,) = contributions(RESPONSE, facts, DEFAULT_RULES)
    assert (found.value, found.at, found.customer) == (200, 20, customer_of(ANA).hash)
    assert (found.dimensions.channel, found.dimensions.touchpoint) == ("sms", "checkout")


def test_the_customer_may_be_known_from_the_send_alone() -> None:
    facts: Facts = {
        "a": sent(10, identifiers=BO, ticket="ticket:desk:7"),
        "b": score("nps", 9, 0, 10, at=20),
    }
    assert {(one.customer, one.ticket) for one in contributions(RESPONSE, facts, DEFAULT_RULES)} == {
        (customer_of(BO).hash, "ticket:desk:7")
    }


def test_the_customer_is_that_of_the_latest_event_that_names_one() -> None:
    facts: Facts = {
        "c": score("nps", 9, 0, 10, at=10, identifiers=ANA),
        "a": score("nps", 9, 0, 10, at=20, identifiers=BO),
        "b": score("nps", 9, 0, 10, at=30),
        "d": sent(5, identifiers=ANA),
    }
    assert {one.customer for one in contributions(RESPONSE, facts, DEFAULT_RULES)} == {customer_of(BO).hash}


@pytest.mark.parametrize(
    ("polarity", "where"),
    [(-100, Band.LOW), (-5, Band.LOW), (-4, Band.MIDDLE), (0, Band.MIDDLE), (4, Band.MIDDLE), (5, Band.HIGH)],
)
def test_a_comments_polarity_counts_at_the_answer(polarity: int, where: Band) -> None:
    facts: Facts = {"a": score("other", 3, 1, 5, at=20, polarity=polarity, said={"team": "billing"})}
    (found,) = contributions(RESPONSE, facts, DEFAULT_RULES)
    assert (found.metric, found.value, found.band, found.at, found.dimensions.team) == (
        *(MetricNumber.SENTIMENT, polarity, where, 20),
        "billing",
    )


def test_a_comment_of_unknown_polarity_is_not_taken_for_neutral() -> None:
    assert not rows(RESPONSE, {"a": score("nps", 9, 0, 10, polarity=None)}, MetricNumber.SENTIMENT)


@pytest.mark.parametrize(
    ("sent_at", "reasons"), [(10, ()), (20, ()), (30, (ClockAnomaly.ANSWERED_BEFORE_SENT,))]
)
def test_an_answer_before_its_send_counts_and_is_named(
    sent_at: int, reasons: tuple[ClockAnomaly, ...]
) -> None:
    facts: Facts = {"a": sent(sent_at), "b": score("nps", 9, 0, 10, at=20)}
    assert anomalies(fold(RESPONSE, facts)) == reasons
    assert len(contributions(RESPONSE, facts, DEFAULT_RULES)) == 2
