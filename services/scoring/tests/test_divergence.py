"""Segments whose service is good while their experience falls."""

from cxloop_scoring.domain.answers import Sums
from cxloop_scoring.domain.divergence import Finding, Measured, divergence
from cxloop_scoring.domain.metrics import CATALOGUE

CSAT, NPS, CHURN = CATALOGUE["csat"], CATALOGUE["nps"], CATALOGUE["churn"]
REOPENED = CATALOGUE["reopen_rate"]


def served(good: int, n: int) -> Sums:
    return Sums(n=n, high=good, low=n - good)


def scored(promoters: int, detractors: int, n: int = 200) -> Sums:
    return Sums(n=n, high=promoters, low=detractors, middle=n - promoters - detractors)


def share(part: int, n: int) -> Sums:
    return Sums(n=n, sum=part, squares=part)


def test_each_segment_has_a_named_reason_and_those_that_diverge_come_first() -> None:
    service = {
        "gold": served(95, 100),
        "silver": served(90, 100),
        "bronze": served(40, 100),
        "steady": served(95, 100),
        "small": served(4, 4),
        "unasked": served(90, 100),
    }
    now = {
        "gold": scored(40, 80),
        "silver": scored(20, 120),
        "bronze": scored(40, 80),
        "steady": scored(99, 41),
        "small": scored(40, 80),
    }
    then = dict.fromkeys(service, scored(100, 40))
    found = divergence(CSAT, service, served(600, 800), Measured(NPS, now, then))
    assert [(segment.key, segment.finding) for segment in found[:2]] == [
        ("silver", Finding.GOOD_SERVICE_WORSE_EXPERIENCE),
        ("gold", Finding.GOOD_SERVICE_WORSE_EXPERIENCE),
    ]
    assert {segment.key: segment.finding for segment in found[2:]} == {
        "bronze": Finding.SERVICE_NOT_GOOD,
        "steady": Finding.EXPERIENCE_HOLDS,
        "small": Finding.TOO_FEW,
        "unasked": Finding.TOO_FEW,
    }
    assert found[0].good_from == 75


def test_a_threshold_replaces_the_comparison_with_the_whole() -> None:
    fallen = Measured(NPS, {"a": scored(40, 80)}, {"a": scored(100, 40)})
    for threshold, finding in (
        (90, Finding.GOOD_SERVICE_WORSE_EXPERIENCE),
        (91, Finding.SERVICE_NOT_GOOD),
    ):
        [segment] = divergence(CSAT, {"a": served(90, 100)}, served(0, 0), fallen, threshold)
        assert segment.finding is finding


def test_directions_are_those_of_the_metrics() -> None:
    """A low reopen rate is good service; a rising churn is a worse outcome, a falling one is not."""
    for now, finding in (
        (share(60, 200), Finding.GOOD_SERVICE_WORSE_EXPERIENCE),
        (share(2, 200), Finding.EXPERIENCE_HOLDS),
    ):
        moved = Measured(CHURN, {"a": now}, {"a": share(20, 200)})
        [segment] = divergence(REOPENED, {"a": share(2, 100)}, share(10, 100), moved)
        assert segment.finding is finding


def test_a_fall_that_many_segments_explain_by_chance_is_none() -> None:
    service = {f"s{number}": served(90, 100) for number in range(30)}
    now, then = dict.fromkeys(service, scored(80, 60)), dict.fromkeys(service, scored(80, 60))
    now["s3"] = scored(60, 78)
    found = {
        segment.key: segment
        for segment in divergence(CSAT, service, served(800, 1000), Measured(NPS, now, then))
    }
    assert found["s3"].experience is not None
    assert found["s3"].experience.p_value is not None
    assert found["s3"].experience.p_value < 0.05
    assert found["s3"].finding is Finding.EXPERIENCE_HOLDS
