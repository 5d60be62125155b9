"""Customers who stayed, and customers who left: two shares of one cohort."""

from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.joined.tallies import Tally, share_answer


def churn(tally: Tally) -> Answer:
    """Answer with the share of the cohort that has left; hits are those who left."""
    return share_answer(tally)


def retention(tally: Tally) -> Answer:
    """Answer with the share of the cohort that has not left; hits are those who left."""
    return share_answer(Tally(tally.n, tally.n - tally.hits))
