"""Responses: where a score lies on its scale, which metric it counts for, and whether a survey was answered."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from cxloop_scoring.domain.clocks import ClockAnomaly
from cxloop_scoring.domain.dimensions import Dimensions, filed_under
from cxloop_scoring.domain.facts import Facts, Responded, Sent
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band, Customer, Observation, customer_of

RESPONSE: Final = "response:"
SEND: Final = "send:"
FULL: Final = 10_000
"""The best position on a scale, in hundredths of a percent."""

_SENTIMENT: Final = int(MetricNumber.SENTIMENT)
_RESPONSE_RATE: Final = int(MetricNumber.RESPONSE_RATE)
_SEND_UNLINKED: Final = int(MetricNumber.SEND_UNLINKED)
_NPS_SCALE: Final = (0, 10)
_CES_SCALE: Final = (1, 7)
_CES_V1_SCALE: Final = (1, 5)
_CES_V1_TURNED: Final = 6
"""Least and most of version 1 together: what an answer is taken from to turn it round."""
_LARGEST_SCORE: Final = 10_000
"""Sums of squares of millions of scores up to here, in hundredths, stay within 64 bits."""
_GOOD_BY_SCALE: Final[Mapping[tuple[float, float], int]] = {(1, 2): 2, (1, 3): 3, (1, 4): 3, (1, 5): 4}
"""Least good score of the CSAT scales whose good end is settled."""

_PROMOTER, _PASSIVE = 9, 7
_EASY, _NEITHER = 5, 4
_LITTLE_EFFORT, _MUCH_EFFORT = 2, 4
_ANGRY, _KIND = -5, 5
"""Hundredths of polarity from which a comment is no longer neutral."""
_THREE_QUARTERS, _HALF = 7_500, 5_000


class Send(NamedTuple):
    """The earliest sending of a survey that a document knows of, ties settled by event id."""

    at: int
    dimensions: Dimensions
    customer: Customer
    ticket: str | None
    response_known: bool
    """Whether the sender says which response it will become."""


class Response(msgspec.Struct, frozen=True, gc=False):
    """A folded response: the latest answer, ties settled by event id."""

    answer: Responded
    event_id: str
    normalised: int
    """Position on the scale in hundredths of a percent, 10,000 always the best."""
    band: Band
    dimensions: Dimensions
    """What was said last of each name, over all edits of the answer."""
    customer: Customer
    identifiers: tuple[str, ...]
    """Those of the latest event that carries any."""
    ticket: str | None
    """The document of the ticket that the answer is about, or the survey was sent for."""
    sent: Send | None

    @property
    def anomalies(self) -> tuple[ClockAnomaly, ...]:
        """Name what contradicts itself in the times of this response."""
        if self.sent is not None and self.answer.at < self.sent.at:
            return (ClockAnomaly.ANSWERED_BEFORE_SENT,)
        return ()


def oriented(answer: Responded) -> float:
    """Turn a score so that more is better, on its own scale."""
    return answer.least + answer.most - answer.score if answer.lower_is_better else answer.score


def normalised(answer: Responded) -> int:
    """Give the position of a score on its scale, 0..10,000, half up; 10,000 is always the best."""
    share = (oriented(answer) - answer.least) / (answer.most - answer.least)
    return min(FULL, max(0, math.floor(share * FULL + 0.5)))


def _effort(answer: Responded) -> float:
    """Give an answer of CES version 1 as effort, 5 = most."""
    return answer.score if answer.lower_is_better else _CES_V1_TURNED - answer.score


def _declared_band(good: Sequence[float], answer: Responded, position: int) -> Band:
    if answer.score in good:
        return Band.HIGH
    return Band.LOW if position < _HALF else Band.MIDDLE


def band(answer: Responded, position: int) -> Band:
    """Say whether a score is low, middle or high.

    NPS 0-6, 7-8, 9-10. CES on 1-7: 1-3, 4, 5-7; on 1-5 (version 1), as effort, 4-5, 3, 1-2. Otherwise the
    scores that the scale declares good are high; CSAT on 1-5 needs no declaration (1-2, 3, 4-5), nor on 1-2, 1-3
    and 1-4. Any other scale is cut as 1-5 is: the upper quarter is high, the lower half low.
    """
    scale, score = (answer.least, answer.most), oriented(answer)
    if answer.metric == "nps" and scale == _NPS_SCALE:
        return Band.HIGH if score >= _PROMOTER else Band.MIDDLE if score >= _PASSIVE else Band.LOW
    if answer.metric == "ces" and scale == _CES_SCALE:
        return Band.HIGH if score >= _EASY else Band.MIDDLE if score >= _NEITHER else Band.LOW
    if answer.metric == "ces" and scale == _CES_V1_SCALE:
        effort = _effort(answer)
        return Band.HIGH if effort <= _LITTLE_EFFORT else Band.LOW if effort >= _MUCH_EFFORT else Band.MIDDLE
    if answer.good is not None:
        return _declared_band(answer.good, answer, position)
    least_good = _GOOD_BY_SCALE.get(scale)
    if least_good is not None:
        return Band.HIGH if score >= least_good else Band.LOW if position < _HALF else Band.MIDDLE
    return Band.HIGH if position >= _THREE_QUARTERS else Band.MIDDLE if position >= _HALF else Band.LOW


def metric_of(answer: Responded) -> MetricNumber | None:
    """Say which metric an answer counts for; None for a scale that must not be mixed with the metric's own.

    NPS is asked from 0 to 10, CES from 1 to 7 (version 2) or from 1 to 5 (version 1, a metric of its own); CSAT
    is a share, so scales may differ, up to 10,000.
    """
    scale = (answer.least, answer.most)
    match answer.metric:
        case "nps":
            return MetricNumber.NPS if scale == _NPS_SCALE else None
        case "csat":
            return MetricNumber.CSAT if max(map(abs, scale)) <= _LARGEST_SCORE else None
        case "ces":
            if scale == _CES_SCALE:
                return MetricNumber.CES
            return MetricNumber.CES_V1 if scale == _CES_V1_SCALE else None
        case _:
            return None


def fold_survey(document: str, source: str, facts: Facts) -> Response | Send | None:
    """Fold a response or a send: the latest answer counts; while there is none, the earliest sending.

    The customer is that of the latest event that carries any identifier.
    """
    answers: list[tuple[int, str, Responded]] = []
    sends: list[tuple[int, str, Sent]] = []
    known: tuple[int, str] | None = None
    identifiers: tuple[str, ...] = ()
    for key, fact in facts.items():
        if isinstance(fact, Responded):
            answers.append((fact.at, key, fact))
        elif isinstance(fact, Sent):
            sends.append((fact.at, key, fact))
        else:
            continue
        if fact.identifiers and (known is None or (fact.at, key) > known):
            known, identifiers = (fact.at, key), fact.identifiers
    customer = customer_of(identifiers)
    send: Send | None = None
    if sends:
        at, _, sent = min(sends)
        filed = filed_under(source, {**sent.said, "survey": sent.survey})
        send = Send(at, filed, customer, sent.ticket, document.startswith(RESPONSE))
    if not answers:
        return send
    answers.sort()
    _, event_id, answer = answers[-1]
    said = answer.said
    if len(answers) > 1:
        said = {name: value for _, _, edit in answers for name, value in edit.said.items()}
    position = normalised(answer)
    return Response(
        answer,
        event_id,
        position,
        band(answer, position),
        filed_under(source, said),
        customer,
        identifiers,
        send.ticket if answer.ticket is None and send is not None else answer.ticket,
        send,
    )


def fold_response(source: str, facts: Facts) -> Response | None:
    """Fold a response; None while only its sending is known."""
    folded = fold_survey(RESPONSE, source, facts)
    return folded if isinstance(folded, Response) else None


def response_observations(response: Response) -> list[Observation]:
    """Give what a response adds to the metrics, scores in hundredths of a point.

    That is its score, unless its scale belongs to no metric, its comment's polarity, and the survey it answers.
    """
    answer, customer, filed, ticket = (
        response.answer,
        response.customer.hash,
        response.dimensions,
        response.ticket,
    )
    found: list[Observation] = []
    metric = metric_of(answer)
    if metric is not None:
        score = _effort(answer) if metric is MetricNumber.CES_V1 else oriented(answer)
        value = math.floor(score * 100 + 0.5)
        found.append(Observation(int(metric), value, int(response.band), answer.at, customer, filed, ticket))
    if answer.polarity is not None:
        tone = _tone(answer.polarity)
        found.append(Observation(_SENTIMENT, answer.polarity, tone, answer.at, customer, filed, ticket))
    if response.sent is not None:
        found += send_observations(response.sent, answered=True)
    return found


def _tone(polarity: int) -> int:
    return int(Band.LOW if polarity <= _ANGRY else Band.HIGH if polarity >= _KIND else Band.MIDDLE)


def send_observations(send: Send, *, answered: bool = False) -> list[Observation]:
    """Give what a sending adds to the metrics, at its own time: 1 if it is known to be answered."""
    metric = _RESPONSE_RATE if send.response_known else _SEND_UNLINKED
    return [
        Observation(metric, int(answered), None, send.at, send.customer.hash, send.dimensions, send.ticket)
    ]
