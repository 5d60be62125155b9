"""Whether customers stay, and what is at stake if they go."""

from inspect import cleandoc
from typing import Final

from cxloop_scoring.domain.metrics.shape import BETTER, WORSE, Family, Metric, Plan

RETENTION: Final = Metric(
    number=None,
    name="retention",
    title="Retention",
    unit="percent",
    formula="100 * customers active before the window who have not left at its end / customers active before it",
    kind="outcome",
    family=Family.RATE,
    direction=BETTER,
    plan=Plan.JOINED,
    explanation=cleandoc(
        """
        **Tells** which share of the customers you had at the start you still have at the end.

        **Counts** customers, not identifiers, whose last touchpoint of consequence before the window made
        them active: a purchase, a signup, onboarding, a renewal, usage, a delivery. Left are those whose
        last one before the window's end is a cancellation or churn. The words are configurable.

        **Booked** at the touchpoints that change a customer's state.

        **Bad at** silent loss: who stops buying without a word stays active. New customers of the window
        are not in it.

        **Source** customer retention by start cohort; Fader, Hardie (2007), Journal of Interactive
        Marketing 21(1), on its limits.
        """
    ),
)

CHURN: Final = Metric(
    number=None,
    name="churn",
    title="Churn",
    unit="percent",
    formula="100 * customers active before the window who have left at its end / customers active before it",
    kind="outcome",
    family=Family.RATE,
    direction=WORSE,
    plan=Plan.JOINED,
    explanation=cleandoc(
        """
        **Tells** which share of the customers you had at the start was gone at the end.

        **Counts** the same cohort as `retention`, so that both add up to 100.

        **Booked** at the touchpoints that change a customer's state.

        **Bad at** windows of different length: a yearly churn is not twelve monthly ones. Customers who
        left and came back within the window are not lost.

        **Source** as for `retention`.
        """
    ),
)

REVENUE_AT_RISK: Final = Metric(
    number=None,
    name="revenue_at_risk",
    title="Revenue at risk",
    unit="money",
    formula="sum over customers with an open case of what their touchpoints were worth in the last 365 days",
    kind="outcome",
    family=Family.AMOUNT,
    direction=WORSE,
    plan=Plan.JOINED,
    explanation=cleandoc(
        """
        **Tells** how much yearly business hangs on the cases that are open at the end of the window.

        **Counts** customers with an open case, each once, with the sum of their touchpoints' values in the
        365 days before, in the one configured currency; other currencies are left out, never converted.

        **Booked** at the touchpoints that carry a value.

        **Bad at** prediction: it says what those customers were worth, not how many of them will leave.

        **Source** the at-risk sum of account management, without its probabilities.
        """
    ),
)

SECTION: Final = (RETENTION, CHURN, REVENUE_AT_RISK)
