"""Delighted's responses become canonical ones: the response id is the key, and every edit is an event."""

from typing import Any

import pytest
from ingest_bodies import delighted, delivery, sources

from cxloop_common.events import SurveyResponded
from cxloop_ingest.domain.drafts import Normalised, Status
from cxloop_ingest.domain.normalise import normalise
from cxloop_ingest.domain.reading import Reason

SOURCE = sources()["delighted"]


def read(body: Any) -> Normalised:
    return normalise(delivery("delighted", body), SOURCE)


def event(body: Any) -> SurveyResponded:
    result = read(body)
    assert not result.problems, result.problems
    (one,) = result.events
    assert isinstance(one, SurveyResponded)
    return one


def test_a_response_carries_score_person_ticket_and_dimensions() -> None:
    one = event(delighted())
    assert one.model_dump(mode="json", exclude={"id"}, exclude_none=True) == {
        "type": "cxloop.survey.responded",
        "source": "delighted",
        "time": "2026-03-06T07:00:00Z",
        "identifiers": ["delighted.person:88", "email:ana@example.com", "phone:+4930901820"],
        "dimensions": {"location": "Berlin", "plan": "gold"},
        "response_id": "31337",
        "metric": "nps",
        "score": 3.0,
        "scale": {"min": 0.0, "max": 10.0, "polarity": "higher_is_better"},
        "comment": "Waited for a week",
        "touchpoint": "support",
        "ticket_id": "815",
        "ticket_source": "zendesk-eu",
    }


@pytest.mark.parametrize(
    ("survey_type", "score", "metric", "most"),
    [
        ("nps", 10, "nps", 10),
        ("csat", 5, "csat", 5),
        ("ces", 7, "ces", 7),
        ("stars_five", 5, "csat", 5),
        ("smileys", 1, "csat", 5),
        ("thumbs", 0, "csat", 1),
        ("enps", 9, "other", 10),
        (None, 9, "nps", 10),
    ],
)
def test_the_survey_type_decides_metric_and_scale(
    survey_type: str | None, score: int, metric: str, most: float
) -> None:
    one = event(delighted(survey_type=survey_type, score=score))
    assert (one.metric, one.score, one.scale.max) == (metric, score, most)


@pytest.mark.parametrize(("survey_type", "score"), [("nps", 11), ("csat", 0), ("ces", 8), ("nps", -1)])
def test_a_score_outside_its_scale_is_quarantined(survey_type: str, score: int) -> None:
    assert read(delighted(survey_type=survey_type, score=score)).reason is Reason.SCORE_OUT_OF_SCALE


def test_a_survey_type_without_a_known_scale_asks_for_one() -> None:
    assert read(delighted(survey_type="haiku")).reason is Reason.SCALE_UNKNOWN


def test_an_edit_under_the_same_event_id_is_another_event_of_the_same_response() -> None:
    first, edit = event(delighted()), event(delighted(score=9, updated_at=1772780500))
    assert first.id != edit.id
    assert (first.key, first.time < edit.time) == (edit.key, True)
    assert event(delighted()).id == first.id


def test_a_response_without_a_score_is_no_answer_yet() -> None:
    assert read(delighted(score=None)).reason is Reason.NO_ANSWER


@pytest.mark.parametrize(
    "person", [None, {}, {"id": "0", "email": "", "phone_number": None}, {"email": "n/a"}]
)
def test_a_response_of_nobody_is_anonymous(person: Any) -> None:
    assert event(delighted(person=person)).identifiers == ()


def test_empty_properties_make_neither_link_nor_dimension() -> None:
    one = event(delighted(person_properties=None))
    assert (one.ticket_id, one.dimensions) == (None, {})


def test_other_events_of_delighted_are_ignored() -> None:
    assert read({"event_type": "unsubscribe.created", "event_data": {}}).status is Status.IGNORED
    assert read({"event_data": {}}).reason is Reason.UNKNOWN_SHAPE
