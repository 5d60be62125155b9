"""Stages follow from facts and a time; nothing else moves a customer."""

from datetime import UTC, datetime, timedelta

import pytest

from cxloop_journey.domain.card import StagedAt, stage_facts
from cxloop_journey.domain.stages import (
    Stage,
    StageFacts,
    StageReason,
    declared_stage,
    stage_at,
    touchpoint_stage,
)

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("facts", "after", "stage", "reason"),
    [
        (StageFacts(), 0 * DAY, Stage.UNKNOWN, StageReason.NOTHING_KNOWN),
        (StageFacts(latest=Stage.USE), 0 * DAY, Stage.USE, StageReason.LATEST_TOUCHPOINT),
        (StageFacts(1, None, Stage.USE), 400 * DAY, Stage.SERVICE, StageReason.OPEN_TICKET),
        (StageFacts(0, AT, Stage.USE), 13 * DAY, Stage.SERVICE, StageReason.RECENT_CONTACT),
        (StageFacts(0, AT, Stage.USE), 14 * DAY, Stage.USE, StageReason.LATEST_TOUCHPOINT),
        (StageFacts(0, AT), 14 * DAY, Stage.UNKNOWN, StageReason.NOTHING_KNOWN),
    ],
)
def test_a_customer_is_in_service_while_a_ticket_is_open_or_14_days_after_a_contact(
    facts: StageFacts, after: timedelta, stage: Stage, reason: StageReason
) -> None:
    answer = stage_at(facts, AT + after)
    assert (answer.stage, answer.reason) == (stage, reason)


def test_only_a_recent_contact_lets_the_clock_change_the_stage() -> None:
    assert stage_at(StageFacts(0, AT), AT).next_check_at == AT + 14 * DAY
    assert stage_at(StageFacts(1, AT), AT).next_check_at is None
    assert stage_at(StageFacts(0, None, Stage.USE), AT).next_check_at is None


def test_touchpoints_of_one_time_are_told_apart_by_the_order_of_stages() -> None:
    staged = [StagedAt(AT, Stage.RENEWAL), StagedAt(AT, Stage.USE), StagedAt(AT - DAY, Stage.ADVOCACY)]
    for order in (staged, staged[::-1]):
        assert stage_facts(0, order).latest is Stage.RENEWAL


def test_the_last_contact_is_the_latest_touchpoint_in_service() -> None:
    facts = stage_facts(2, [StagedAt(AT, Stage.SERVICE), StagedAt(AT - DAY, Stage.SERVICE)])
    assert facts == StageFacts(2, AT, None)


def test_an_event_s_own_stage_wins_over_a_dimension_and_other_words_say_nothing() -> None:
    assert declared_stage(" Renewal ", {"stage": "use"}) is Stage.RENEWAL
    assert declared_stage(None, {"stage": "use"}) is Stage.USE
    assert declared_stage("checkout", {}) is None
    assert declared_stage("unknown", {}) is None


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("visit", Stage.AWARENESS),
        ("Onboarding_step", Stage.ONBOARDING),
        ("renewal", Stage.RENEWAL),
        ("call", None),
    ],
)
def test_a_touchpoint_s_name_implies_a_stage(name: str, stage: Stage | None) -> None:
    assert touchpoint_stage(name) is stage
