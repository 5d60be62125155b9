"""Surveys that were answered."""

from typing import Final

from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.joined.tallies import Tally, share_answer
from cxloop_scoring.domain.windows import DAY

ANSWER_TIME: Final = 90 * DAY
"""How long after a survey was sent an answer of its customer is taken for its answer; microseconds."""


def response_rate(tally: Tally) -> Answer:
    """Answer with the share of sends that were answered."""
    return share_answer(tally)
