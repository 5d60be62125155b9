"""How much there is to do."""

from inspect import cleandoc
from typing import Final

from cxloop_scoring.domain.metrics.shape import WORSE, Family, Metric, MetricNumber, Plan

TICKET_VOLUME: Final = Metric(
    number=MetricNumber.TICKET_VOLUME,
    name="ticket_volume",
    title="Ticket volume",
    unit="tickets",
    formula="tickets created, whoever created them",
    kind="service",
    family=Family.COUNT,
    direction=WORSE,
    explanation=cleandoc(
        """
        **Tells** how many issues came in.

        **Counts** tickets created in the window, whoever created them; those that were merged away or
        deleted since do not count.

        **Booked** at creation.

        **Bad at** telling why: more tickets may be more trouble or more customers. Relate it to both.

        **Source** a plain count; nothing is sampled, so it has no interval.
        """
    ),
)

BACKLOG: Final = Metric(
    number=MetricNumber.BACKLOG,
    name="backlog",
    title="Backlog",
    unit="tickets",
    formula="tickets open at the end of the window: created - first solves + reopenings - later solves",
    kind="service",
    family=Family.BALANCE,
    direction=WORSE,
    plan=Plan.BALANCE,
    base=MetricNumber.TICKET_VOLUME,
    explanation=cleandoc(
        """
        **Tells** how many tickets wait to be solved at one moment, the end of the window.

        **Counts** everything that was ever created and is neither solved nor closed then; pending and on
        hold are open.

        **Booked** by its movements: creation, first solve, every reopening, every solve that ends one. So
        any moment of the past can be asked for.

        **Bad at** tickets that were forgotten rather than left open: they stay in it until somebody closes
        them.

        **Source** stock and flow, as in Little's law: Little (1961), Operations Research 9(3).
        """
    ),
)

SECTION: Final = (TICKET_VOLUME, BACKLOG)
