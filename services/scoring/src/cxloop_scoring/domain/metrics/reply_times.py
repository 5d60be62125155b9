"""How long customers wait for a person's word."""

from inspect import cleandoc
from typing import Final

from cxloop_scoring.domain.metrics.shape import WORSE, Family, Metric, MetricNumber

FIRST_RESPONSE_TIME: Final = Metric(
    number=MetricNumber.FIRST_RESPONSE_TIME,
    name="first_response_time",
    title="First response time",
    unit="seconds",
    formula=(
        "median of first customer message -> first public human reply, booked when the reply was written; "
        "tickets that an agent created do not count"
    ),
    kind="service",
    family=Family.DURATION,
    direction=WORSE,
    business=MetricNumber.FIRST_RESPONSE_BUSINESS,
    explanation=cleandoc(
        """
        **Tells** how long customers wait until a person answers for the first time; median and p90.

        **Counts** tickets whose customer wrote and was answered. The clock starts with the customer's first
        message and stops with the first public reply of an agent after it. Private notes and bots neither
        start nor stop it; tickets that an agent created have none.

        **Booked** when the reply was written. Where a calendar applies, `business` stands beside: the same
        wait in opening hours.

        **Bad at** tickets still waiting: they are in no median until they are answered. A macro that says
        nothing stops the clock as well as an answer does; look at `next_response_time`.

        **Source** as ticketing systems define it; median and p90 instead of a mean, for waits are skewed.
        """
    ),
)

NEXT_RESPONSE_TIME: Final = Metric(
    number=MetricNumber.NEXT_RESPONSE_TIME,
    name="next_response_time",
    title="Next response time",
    unit="seconds",
    formula=(
        "median of oldest unanswered customer message -> next public human reply, for every wait but a "
        "ticket's first; booked when the reply was written"
    ),
    kind="service",
    family=Family.DURATION,
    direction=WORSE,
    business=MetricNumber.NEXT_RESPONSE_BUSINESS,
    explanation=cleandoc(
        """
        **Tells** how long customers wait in the course of a conversation, after the first answer.

        **Counts** waits, not tickets: each begins with the oldest message that nobody has answered and ends
        with the next public reply of an agent. All waits of a ticket that an agent created count here.

        **Booked** when the reply was written. Where a calendar applies, `business` stands beside.

        **Bad at** closing words: a customer's "thanks" that nobody answers is no wait, yet one that is
        answered next week is a long one. Talkative tickets weigh more than others.

        **Source** as ticketing systems define it for service level targets.
        """
    ),
)

SECTION: Final = (FIRST_RESPONSE_TIME, NEXT_RESPONSE_TIME)
