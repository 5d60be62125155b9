"""Customers who came once, and customers who had to come again."""

from typing import Final

from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.joined.tallies import Tally, share_answer
from cxloop_scoring.domain.windows import DAY

WEEK: Final = 7 * DAY
"""How long a customer is given to come back about the same matter; microseconds."""


def first_contact_resolution(tally: Tally) -> Answer:
    """Answer with the share of solved tickets that took one contact; `provisional` of them may still change."""
    return share_answer(tally, {"provisional": tally.get("provisional")})


def repeat_contact_rate(tally: Tally) -> Answer:
    """Answer with the share of repeated contacts; `unjudged` ones lack a customer or a contact type."""
    return share_answer(tally, {"unjudged": tally.get("unjudged")})
