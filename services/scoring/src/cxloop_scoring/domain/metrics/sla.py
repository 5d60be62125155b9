"""Promises on time, kept and broken."""

from inspect import cleandoc
from typing import Final

from cxloop_scoring.domain.metrics.shape import WORSE, Family, Metric, MetricNumber

SLA_BREACH_RATE: Final = Metric(
    number=MetricNumber.SLA_BREACH_RATE,
    name="sla_breach_rate",
    title="Breach rate of service level targets",
    unit="percent",
    formula="100 * targets breached / (targets met + breached); pending ones are in neither",
    kind="service",
    family=Family.RATE,
    direction=WORSE,
    explanation=cleandoc(
        """
        **Tells** which share of the promises on time was broken.

        **Counts** each configured target that applies to a ticket, told apart by the dimension `target`: a
        first response counts from the customer's first message (never for tickets that an agent created),
        a resolution from creation to the first solve. Targets run in calendar or in business time.

        **Booked** as met when it was met, at or before its due time; else as breached when it was due. A
        target that is due in the future is pending and counts nowhere yet.

        **Bad at** telling how late: one minute and one week are the same breach. A change of the targets
        applies to the past as well, for all of it is rebooked.

        **Source** SLA attainment as ITIL reports it, the other way round.
        """
    ),
)

SECTION: Final = (SLA_BREACH_RATE,)
