"""Responses, sends and comments to rows."""

from collections.abc import Callable, Mapping, Sequence

from cxloop_common.events import SurveyResponded, SurveySent

from . import rows as r
from .rows import Row
from .standing import Fact, customer_of

Polarity = Callable[[str], int | None]
"""Hundredths of -1..1 that a comment says, None where that is unknown: given, for it is no formula of ours."""

_SETTLED: Mapping[tuple[float, float], tuple[float, ...]] = {
    (1, 5): (4, 5),
    (1, 4): (3, 4),
    (1, 3): (3,),
    (1, 2): (2,),
}
_MIDDLE: Mapping[tuple[float, float], tuple[float, ...]] = {(1, 5): (3,), (1, 3): (2,)}


def response_rows(document: str, facts: Sequence[Fact], polarity: Polarity) -> list[Row]:
    """Give all rows of one response, answered or only sent."""
    customer = customer_of(facts)
    answers = [fact for fact in facts if isinstance(fact.event, SurveyResponded)]
    sends = [fact for fact in facts if isinstance(fact.event, SurveySent)]
    found: list[Row] = []
    if sends:
        metric = r.SEND_UNLINKED if document.startswith("send:") else r.RESPONSE_RATE
        value = int(bool(answers))
        found.append(Row(document, metric, value, None, sends[0].at, customer, _send_dimensions(sends[0])))
    if answers:
        at, _, answer = answers[-1]
        assert isinstance(answer, SurveyResponded)
        dimensions = _answer_dimensions(answers)
        booked = booked_score(answer)
        if booked is not None:
            metric, value, band = booked
            found.append(Row(document, metric, value, band, at, customer, dimensions))
        said = None if answer.comment is None else polarity(answer.comment)
        if said is not None:
            band = r.LOW if said <= -5 else r.HIGH if said >= 5 else r.MIDDLE
            found.append(Row(document, r.SENTIMENT, said, band, at, customer, dimensions))
    return found


def _send_dimensions(send: Fact) -> frozenset[tuple[str, str]]:
    event = send.event
    assert isinstance(event, SurveySent)
    return r.filed({"source": event.source, **event.dimensions, "survey": event.survey_id})


def _answer_dimensions(answers: Sequence[Fact]) -> frozenset[tuple[str, str]]:
    """Give what was said last of each name, over all edits of the answer; None says nothing."""
    said: dict[str, str | None] = {}
    for _, _, event in answers:
        assert isinstance(event, SurveyResponded)
        said |= {"source": event.source, **event.dimensions}
        fields = {"touchpoint": event.touchpoint, "channel": event.channel, "survey": event.survey_id}
        said.update({name: text for name, text in fields.items() if text is not None})
    return r.filed(said)


def booked_score(answer: SurveyResponded) -> tuple[int, int, int] | None:
    """Give metric, value in hundredths and band of an answer; None where its scale belongs to no metric."""
    bounds = (answer.scale.min, answer.scale.max)
    lower = answer.scale.polarity == "lower_is_better"
    turned = answer.scale.min + answer.scale.max - answer.score if lower else answer.score
    if answer.metric == "nps" and bounds == (0, 10):
        return r.NPS, _hundredths(turned), _banded(turned, 6, 8)
    if answer.metric == "ces" and bounds == (1, 7):
        return r.CES, _hundredths(turned), _banded(turned, 3, 4)
    if answer.metric == "ces" and bounds == (1, 5):
        # 5 = most effort, so a scale on which low is good already says effort.
        effort = answer.score if lower else 6 - answer.score
        band = r.HIGH if effort <= 2 else r.LOW if effort >= 4 else r.MIDDLE
        return r.CES_V1, _hundredths(effort), band
    if answer.metric == "csat":
        return r.CSAT, _hundredths(turned), _satisfied(answer, turned, bounds)
    return None


def _satisfied(answer: SurveyResponded, turned: float, bounds: tuple[float, float]) -> int:
    good = answer.scale.good
    if good is not None:
        if answer.score in good:
            return r.HIGH
    elif turned in _SETTLED[bounds]:
        return r.HIGH
    return r.MIDDLE if turned in _MIDDLE.get(bounds, ()) else r.LOW


def _banded(score: float, low_until: float, middle_until: float) -> int:
    return r.LOW if score <= low_until else r.MIDDLE if score <= middle_until else r.HIGH


def _hundredths(score: float) -> int:
    return round(score * 100)
