"""Surveys that are answered by two scales are found, whatever came first."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from cxloop_common.events import SurveyResponded
from cxloop_scoring.cards import response_card
from cxloop_scoring.domain.facts import Deleted, Responded
from cxloop_scoring.store.explaining import Explanations
from cxloop_scoring.store.questions import Questions
from cxloop_scoring.store.scales import (
    Scale,
    Scales,
    SurveyScale,
    contradicting_scales,
    other_scales,
    scale_of,
)

ZERO_TO_TEN, ONE_TO_FIVE = Scale(0, 10, lower_is_better=False), Scale(1, 5, lower_is_better=False)
UPSIDE_DOWN = Scale(1, 5, lower_is_better=True)
FOUND = [
    SurveyScale("sm", "spring", "nps", ZERO_TO_TEN),
    SurveyScale("sm", "spring", "csat", ONE_TO_FIVE),
    SurveyScale("sm", "autumn", "csat", ONE_TO_FIVE),
    SurveyScale("sm", "autumn", "csat", UPSIDE_DOWN),
    SurveyScale("other", "autumn", "csat", ONE_TO_FIVE),
    SurveyScale("sm", "summer", "nps", ZERO_TO_TEN),
    SurveyScale("sm", "summer", "nps", ONE_TO_FIVE),
    SurveyScale("sm", "summer", "nps", UPSIDE_DOWN),
]


def answer(survey: str | None) -> Responded:
    return Responded(
        at=0, digest=b"", metric="nps", score=9, least=0, most=10, lower_is_better=False, good=None,
        said={"survey": survey}, identifiers=(), wants_contact=None, ticket=None,
    )  # fmt: skip


def test_only_answers_to_a_survey_have_a_scale() -> None:
    assert scale_of("sm", answer("spring")) == SurveyScale("sm", "spring", "nps", ZERO_TO_TEN)
    assert scale_of("sm", answer(None)) is None
    assert scale_of("sm", answer("")) is None
    assert scale_of("sm", Deleted(at=0, digest=b"")) is None


@pytest.mark.parametrize("seed", range(5))
async def test_contradictions_are_a_function_of_the_set(worker: Any, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - shuffles, reproducible by their seed
    arriving = FOUND * 2
    chance.shuffle(arriving)
    while arriving:
        some = [arriving.pop() for _ in range(min(len(arriving), chance.randint(1, 4)))]
        await Scales(worker.database).learn(some)
    assert await contradicting_scales(worker.connection) == 2
    rows = await worker.connection.fetch("SELECT * FROM scales")
    assert len(rows) == len(FOUND)


async def test_an_answer_is_told_what_contradicts_it(worker: Any) -> None:
    await Scales(worker.database).learn(FOUND)
    own = SurveyScale("sm", "summer", "nps", ZERO_TO_TEN)
    assert await other_scales(worker.connection, own) == [ONE_TO_FIVE, UPSIDE_DOWN]
    assert await other_scales(worker.connection, FOUND[0]) == []


async def test_what_is_known_is_asked_for_no_more(worker: Any) -> None:
    scales = Scales(worker.database)
    await scales.learn(FOUND)
    await worker.connection.execute("TRUNCATE scales")
    await scales.learn(FOUND)
    assert await contradicting_scales(worker.connection) == 0


def response(number: int, survey: str | None, least: int, most: int, **more: Any) -> SurveyResponded:
    fields: dict[str, Any] = {
        "id": f"e{number}",
        "source": "sm",
        "time": datetime(2026, 3, 10, 12, number, tzinfo=UTC),
        "response_id": f"r{number}",
        "survey_id": survey,
        "metric": "csat",
        "score": most,
        "scale": {"min": least, "max": most},
    }
    return SurveyResponded(**(fields | more))


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
async def test_a_worker_learns_the_scale_of_every_answer_in_any_order(worker: Any, seed: int | None) -> None:
    answers = [
        response(0, "spring", 1, 5),
        response(1, "spring", 1, 7),
        response(2, "autumn", 1, 5),
        response(3, None, 1, 3),
        # Loses against the answer that came under its event id before it, and counts all the same.
        response(2, "autumn", 1, 10, time=datetime(2026, 3, 11, tzinfo=UTC)),
    ]
    await worker.deliver(answers, seed=seed, largest=2)
    rows = await worker.connection.fetch("SELECT survey, least, most FROM scales ORDER BY 1, 3")
    assert [tuple(row) for row in rows] == [
        ("autumn", 1, 5),
        ("autumn", 1, 10),
        ("spring", 1, 5),
        ("spring", 1, 7),
    ]
    assert await contradicting_scales(worker.connection) == 2
    explanations = Explanations(Questions(worker.database))
    for id_, others in (("r0", [(1, 7, False)]), ("r2", [(1, 10, False)]), ("r3", [])):
        found = await explanations.document([f"response:sm:{id_}"])
        assert found is not None
        scales = await explanations.other_scales(found[0])
        assert list(scales) == others
        card = response_card(found[0], worker.rules, found[1], scales)
        assert [(one["min"], one["max"]) for one in card["scale_conflicts"]] == [one[:2] for one in others]
