"""Customers who have to come again."""

from inspect import cleandoc
from typing import Final

from cxloop_scoring.domain.metrics.shape import WORSE, Family, Metric, MetricNumber, Plan

REPEAT_CONTACT_RATE: Final = Metric(
    number=MetricNumber.REPEAT_CONTACT_RATE,
    name="repeat_contact_rate",
    title="Repeat contact rate",
    unit="percent",
    formula=(
        "100 * contacts with an earlier one of the same customer and contact type within 7 days / contacts "
        "whose customer and contact type are known"
    ),
    kind="service",
    family=Family.RATE,
    direction=WORSE,
    plan=Plan.JOINED,
    explanation=cleandoc(
        """
        **Tells** which share of the contacts come from customers who asked for the same thing days before.

        **Counts** tickets with a message of the customer, at the first one. A contact is repeated if another
        ticket of the same customer with the same contact type came in the 7 days before; that one may lie
        before the window. `unjudged` says how many contacts lack a customer or a contact type.

        **Booked** at the customer's first message.

        **Bad at** coarse contact types: two different questions on "orders" look like one. Identifiers that
        journey joins later change the past, rightly.

        **Source** repeat contacts within 7 days, as contact centres measure them.
        """
    ),
)

SECTION: Final = (REPEAT_CONTACT_RATE,)
