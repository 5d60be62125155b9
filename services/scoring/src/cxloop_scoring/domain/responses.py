"""Responses: where a score lies on its scale, and which metric it counts for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cxloop_scoring.domain.dimensions import Dimensions, filed_under
from cxloop_scoring.domain.facts import Facts, Responded
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band, Customer, Observation, customer_of

FULL: Final = 10_000
"""The best position on a scale, in hundredths of a percent."""

_NPS_SCALE: Final = (0, 10)
_CES_SCALE: Final = (1, 7)
_GOOD_BY_SCALE: Final[Mapping[tuple[float, float], int]] = {(1, 2): 2, (1, 3): 3, (1, 4): 3, (1, 5): 4}
"""Least good score of the CSAT scales whose good end is settled."""

_PROMOTER, _PASSIVE = 9, 7
_EASY, _NEITHER = 5, 4
_THREE_QUARTERS, _HALF = 7_500, 5_000


@dataclass(frozen=True, slots=True)
class Response:
    """A folded response: the latest answer, ties settled by event id."""

    answer: Responded
    event_id: str
    normalised: int
    """Position on the scale in hundredths of a percent, 10,000 always the best."""
    band: Band
    dimensions: Dimensions
    customer: Customer


def oriented(answer: Responded) -> float:
    """Turn a score so that more is better, on its own scale."""
    return answer.least + answer.most - answer.score if answer.lower_is_better else answer.score


def normalised(answer: Responded) -> int:
    """Give the position of a score on its scale, 0..10,000, half up; 10,000 is always the best."""
    share = (oriented(answer) - answer.least) / (answer.most - answer.least)
    return min(FULL, max(0, math.floor(share * FULL + 0.5)))


def _declared_band(good: Sequence[float], answer: Responded, position: int) -> Band:
    if answer.score in good:
        return Band.HIGH
    return Band.LOW if position < _HALF else Band.MIDDLE


def band(answer: Responded, position: int) -> Band:
    """Say whether a score is low, middle or high.

    NPS 0-6, 7-8, 9-10. CES on 1-7: 1-3, 4, 5-7. Otherwise the scores that the scale declares good are high;
    CSAT on 1-5 needs no declaration (1-2, 3, 4-5), nor on 1-2, 1-3 and 1-4. Any other scale is cut as 1-5 is:
    the upper quarter is high, the lower half low.
    """
    scale, score = (answer.least, answer.most), oriented(answer)
    if answer.metric == "nps" and scale == _NPS_SCALE:
        return Band.HIGH if score >= _PROMOTER else Band.MIDDLE if score >= _PASSIVE else Band.LOW
    if answer.metric == "ces" and scale == _CES_SCALE:
        return Band.HIGH if score >= _EASY else Band.MIDDLE if score >= _NEITHER else Band.LOW
    if answer.good is not None:
        return _declared_band(answer.good, answer, position)
    least_good = _GOOD_BY_SCALE.get(scale)
    if least_good is not None:
        if score >= least_good:
            return Band.HIGH
        return Band.LOW if position < _HALF else Band.MIDDLE
    return Band.HIGH if position >= _THREE_QUARTERS else Band.MIDDLE if position >= _HALF else Band.LOW


def metric_of(answer: Responded) -> MetricNumber | None:
    """Say which metric an answer counts for; None for a scale that must not be mixed with the metric's own.

    NPS is asked from 0 to 10, CES (version 2) from 1 to 7; CSAT is a share, so scales may differ.
    """
    scale = (answer.least, answer.most)
    match answer.metric:
        case "nps":
            return MetricNumber.NPS if scale == _NPS_SCALE else None
        case "csat":
            return MetricNumber.CSAT
        case "ces":
            return MetricNumber.CES if scale == _CES_SCALE else None
        case _:
            return None


def fold_response(source: str, facts: Facts) -> Response | None:
    """Fold a response: the latest answer counts; None while only its sending is known."""
    latest: tuple[int, str] | None = None
    answer: Responded | None = None
    for key, fact in facts.items():
        if isinstance(fact, Responded) and (latest is None or (fact.at, key) > latest):
            latest, answer = (fact.at, key), fact
    if answer is None or latest is None:
        return None
    position = normalised(answer)
    return Response(
        answer=answer,
        event_id=latest[1],
        normalised=position,
        band=band(answer, position),
        dimensions=filed_under(source, answer.said),
        customer=customer_of(answer.identifiers),
    )


def response_observations(response: Response) -> list[Observation]:
    """Give what a response adds to the metrics: one observation at most, in hundredths of a point."""
    answer = response.answer
    metric = metric_of(answer)
    if metric is None:
        return []
    value = math.floor(oriented(answer) * 100 + 0.5)
    return [
        Observation(
            int(metric), value, int(response.band), answer.at, response.customer.hash, response.dimensions
        )
    ]
