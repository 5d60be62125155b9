"""Divergence: segments that are served well and lose their customers' goodwill all the same.

The gap that a dashboard of service metrics hides: every contact is handled by the book while scores, loyalty
or repeat business fall.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cxloop_scoring.domain.answers import Answer, Sums, answer
from cxloop_scoring.domain.comparing import Difference, compare_many
from cxloop_scoring.domain.metrics import Direction, Metric
from cxloop_scoring.domain.statistics import Status


class Finding(StrEnum):
    """What a segment's service and experience say together."""

    GOOD_SERVICE_WORSE_EXPERIENCE = "good_service_worse_experience"
    """They diverge: the service is good, and what customers say or do got worse."""
    SERVICE_NOT_GOOD = "service_not_good"
    """The experience got worse, but so would anybody's: the service explains it."""
    EXPERIENCE_HOLDS = "experience_holds"
    """No worsening that chance would not explain."""
    TOO_FEW = "too_few"
    """Too few observations of either."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: its service, what that was held against, and how its experience moved."""

    key: str
    finding: Finding
    service: Answer
    good_from: float | None
    """The threshold, or the whole's value, that the service had to reach; None where neither is known."""
    experience: Difference | None
    """Against the window before, with q over all segments; None where one window is empty."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric by segment in one or two windows."""

    metric: Metric
    now: Mapping[str, Sums]
    then: Mapping[str, Sums]


def _reaches(metric: Metric, value: float, good_from: float) -> bool:
    return value >= good_from if metric.direction is Direction.HIGHER_IS_BETTER else value <= good_from


def _worsening(metric: Metric, difference: Difference) -> float:
    """Give a difference with its sign turned so that more is worse."""
    sign = -1 if metric.direction is Direction.HIGHER_IS_BETTER else 1
    return sign * (difference.difference or 0.0)


def _judge(
    metric: Metric, service: Answer, good_from: float | None, experience: Difference | None, worse: Metric
) -> Finding:
    if service.value is None or good_from is None or experience is None:
        return Finding.TOO_FEW
    if experience.status is Status.SUPPRESSED or experience.difference is None:
        return Finding.TOO_FEW
    if not (experience.significant and _worsening(worse, experience) > 0):
        return Finding.EXPERIENCE_HOLDS
    if _reaches(metric, service.value, good_from):
        return Finding.GOOD_SERVICE_WORSE_EXPERIENCE
    return Finding.SERVICE_NOT_GOOD


def divergence(
    service: Metric,
    served: Mapping[str, Sums],
    whole: Sums,
    experience: Measured,
    threshold: float | None = None,
) -> tuple[Segment, ...]:
    """Judge every segment that has any observation of the service metric now.

    The service is good where its value reaches `threshold` (in the metric's unit), or the value of the whole
    where there is none. The experience got worse where its difference to the window before is significant
    after correction over all segments. Diverging segments come first, the worst in front, ties by key.
    """
    pairs = {
        key: (experience.now.get(key, Sums()), experience.then.get(key, Sums()))
        for key in served
        if served[key].n
    }
    moved = compare_many(experience.metric, pairs)
    good_from = answer(service, whole).value if threshold is None else threshold
    found: list[Segment] = []
    for key in pairs:
        value, difference = answer(service, served[key]), moved.get(key)
        finding = _judge(service, value, good_from, difference, experience.metric)
        found.append(Segment(key, finding, value, good_from, difference))

    def place(segment: Segment) -> tuple[bool, float, str]:
        worse = 0.0 if segment.experience is None else _worsening(experience.metric, segment.experience)
        return segment.finding is not Finding.GOOD_SERVICE_WORSE_EXPERIENCE, -worse, segment.key

    return tuple(sorted(found, key=place))
