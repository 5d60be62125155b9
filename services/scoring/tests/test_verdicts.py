"""What one row adds to an answer in which documents meet: the edges of each definition."""

from collections.abc import Sequence
from typing import Any

import pytest

from cxloop_scoring.domain.joined.verdicts import (
    Arm,
    Met,
    MetRow,
    Reason,
    Role,
    Verdict,
    answered_send,
    by_matter,
    first_contact,
    kept_customer,
    latest_score,
    lifted_score,
    next_score,
    recovered_case,
    repeated_contact,
    stay,
)
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band
from cxloop_scoring.domain.windows import DAY, Span

ANA, BEN = 1, 2
BILL, LOGIN = 7, 8
CANDIDATE, SOLVED = MetricNumber.FIRST_CONTACT_RESOLUTION, MetricNumber.FIRST_RESOLUTION_TIME


def row(document: str, at: int, metric: int = MetricNumber.REPEAT_CONTACT_RATE, **more: Any) -> MetRow:
    fields: dict[str, Any] = {"value": 1, "band": None, "owner": ANA, "matter": BILL, **more}
    return MetRow(at, document, int(metric), **fields)


def score(document: str, at: int, band: Band, metric: int = MetricNumber.NPS) -> MetRow:
    return row(document, at, metric, band=band, matter=None)


def counted(verdict: Verdict) -> tuple[int, int, Reason, tuple[str, ...]]:
    return verdict.n, verdict.hits, verdict.reason, tuple(one.document for one in verdict.by)


@pytest.mark.parametrize(
    ("contact", "says"),
    [
        (row("b", 1), (Reason.CAME_BACK, ("b",))),
        (row("b", 7 * DAY), (Reason.CAME_BACK, ("b",))),
        (row("b", 7 * DAY + 1), (Reason.ONE_CONTACT, ())),
        (row("b", 0), (Reason.ONE_CONTACT, ())),
        (row("a", 1), (Reason.ONE_CONTACT, ())),
        (row("b", 1, owner=BEN), (Reason.ONE_CONTACT, ())),
        (row("b", 1, matter=LOGIN), (Reason.ONE_CONTACT, ())),
    ],
)
def test_a_first_contact_is_refuted_by_a_later_one_within_a_week(contact: MetRow, says: object) -> None:
    verdict = first_contact(row("a", 0, CANDIDATE), by_matter([contact]))
    assert (verdict.reason, tuple(one.document for one in verdict.by)) == says
    assert (verdict.n, verdict.hits) == (0, int(verdict.reason is Reason.ONE_CONTACT))


def test_a_first_solve_is_counted_once_whether_or_not_it_took_one_contact() -> None:
    assert counted(first_contact(row("a", 0, SOLVED), {})) == (1, 0, Reason.SOLVED, ())


@pytest.mark.parametrize(
    ("contact", "reason"),
    [
        (row("a", 0), Reason.REPEATED),
        (row("a", -1), Reason.NOT_REPEATED),
        (row("a", 7 * DAY), Reason.REPEATED),
        (row("c", 7 * DAY), Reason.NOT_REPEATED),
        (row("a", 1, matter=LOGIN), Reason.NOT_REPEATED),
    ],
)
def test_a_contact_is_repeated_by_one_of_the_week_before(contact: MetRow, reason: Reason) -> None:
    verdict = repeated_contact(row("b", 7 * DAY), by_matter([contact, row("b", 7 * DAY)]))
    assert (verdict.n, verdict.hits, verdict.reason) == (1, int(reason is Reason.REPEATED), reason)


@pytest.mark.parametrize("missing", ["owner", "matter"])
def test_a_contact_of_nobody_or_about_nothing_is_not_judged(missing: str) -> None:
    contact = row("a", 0)._replace(**{missing: None})
    assert counted(repeated_contact(contact, {})) == (0, 0, Reason.UNJUDGED, ())


@pytest.mark.parametrize(("at", "survey", "hits"), [(0, 3, 1), (90 * DAY, 3, 0), (-1, 3, 0), (1, 4, 0)])
def test_a_send_without_a_response_is_answered_by_its_customer_within_90_days(
    at: int, survey: int, hits: int
) -> None:
    send = row("send", 0, MetricNumber.SEND_UNLINKED, value=0, survey=3, source=5)
    answer = row("response", at, MetricNumber.CSAT, survey=survey, source=5)
    assert answered_send(send, [answer]).hits == hits


ACTIVE, LEFT = 1, 0


@pytest.mark.parametrize(
    ("told", "judged", "reason", "hits"),
    [
        ([(-2, ACTIVE)], 0, Reason.STAYED, 1),
        ([(-2, ACTIVE), (3, LEFT)], 0, Reason.LEFT, 0),
        ([(-2, ACTIVE), (10, LEFT)], 0, Reason.STAYED, 1),
        ([(-2, ACTIVE), (3, LEFT)], 1, Reason.ANOTHER_CHANGE_DECIDES, 0),
        ([(-3, ACTIVE), (-2, ACTIVE)], 1, Reason.ANOTHER_CHANGE_DECIDES, 0),
        ([(0, ACTIVE)], 0, Reason.NOT_ACTIVE_AT_START, 0),
        ([(-2, ACTIVE), (-1, LEFT)], 0, Reason.NOT_ACTIVE_AT_START, 0),
    ],
)
def test_the_change_that_holds_at_the_start_stands_for_the_customer(
    told: Sequence[tuple[int, int]], judged: int, reason: Reason, hits: int
) -> None:
    walked = [row(f"l{n}", at, MetricNumber.LIFECYCLE, value=state) for n, (at, state) in enumerate(told)]
    found = stay(walked, Span(0, 10))
    kept = kept_customer(walked[judged], found, leaving=False)
    lost = kept_customer(walked[judged], found, leaving=True)
    assert (kept.reason, kept.hits) == (reason, hits)
    assert kept.n == lost.n == kept.hits + lost.hits


@pytest.mark.parametrize(
    ("scores", "following"),
    [
        ([score("a", 5, Band.HIGH)], None),
        ([score("a", 6, Band.HIGH)], "a"),
        ([score("a", 6, Band.HIGH, MetricNumber.CSAT), score("b", 7, Band.LOW)], "b"),
    ],
)
def test_a_closed_case_is_judged_by_the_first_score_of_its_metric_after_it_was_closed(
    scores: Sequence[MetRow], following: str | None
) -> None:
    found = next_score(scores, MetricNumber.NPS, 5)
    assert (None if found is None else found.document) == following
    verdict = recovered_case(row("case", 0, MetricNumber.CASE_CLOSED), 5, found)
    above = following == "a"
    reason = Reason.RECOVERED if above else Reason.NOT_RECOVERED if following else Reason.NO_NEXT_SCORE
    assert (verdict.n, verdict.hits, verdict.reason) == (int(following is not None), int(above), reason)
    assert verdict.by[0] == Met(Role.CASE_CLOSED, "case", 5)


@pytest.mark.parametrize(
    ("contacted", "arm"), [(6, Arm.CONTACTED), (7, Arm.UNCONTACTED), (None, Arm.UNCONTACTED)]
)
def test_a_contact_counts_for_lift_where_it_is_not_later_than_the_next_score(
    contacted: int | None, arm: Arm
) -> None:
    low, following = score("a", 0, Band.LOW), score("b", 6, Band.MIDDLE)
    contact = None if contacted is None else Met(Role.CASE_CONTACTED, "case", contacted)
    verdict = lifted_score(low, low, following, contact)
    assert (verdict.n, verdict.hits, verdict.arm) == (1, 1, arm)
    assert counted(lifted_score(low, low, None, None)) == (0, 0, Reason.NO_NEXT_SCORE, ())
    earlier = score("c", -1, Band.LOW)
    assert counted(lifted_score(earlier, low, following, contact)) == (0, 0, Reason.LATER_LOW_SCORE, ("a",))


@pytest.mark.parametrize(("band", "hits"), [(Band.LOW, -1), (Band.MIDDLE, 0), (Band.HIGH, 1)])
def test_a_latest_response_adds_what_it_is_to_nps_and_names_the_one_it_replaced(
    band: Band, hits: int
) -> None:
    verdict = latest_score(score("b", 1, band), score("a", 0, Band.LOW))
    assert counted(verdict) == (1, hits, Reason.LATEST, ("a",))
