"""What it takes to work on a ticket: hands it goes through, levels it climbs, time it costs."""

from inspect import cleandoc
from typing import Final

from cxloop_scoring.domain.metrics.shape import WORSE, Family, Metric, MetricNumber, Plan

HANDOFFS: Final = Metric(
    number=MetricNumber.HANDOFFS,
    name="handoffs",
    title="Handoffs",
    unit="handoffs",
    formula="mean changes of team or agent per ticket created; two_or_more is their share in percent",
    kind="service",
    family=Family.AVERAGE,
    direction=WORSE,
    plan=Plan.SHARE_OF,
    base=MetricNumber.TICKET_VOLUME,
    explanation=cleandoc(
        """
        **Tells** how often customers are passed on: each time somebody else has to understand the issue.

        **Counts** for every ticket the events after which the last known team or the last known agent is
        another one. A change of both at once is one handoff; taking an assignment away is none, and so is
        the first assignment. `two_or_more` is the share of tickets with at least two.

        **Booked** at creation, whenever the handoffs came: the number of recent days still grows.

        **Bad at** intended routes: a triage desk adds one handoff to every ticket. Work that is passed on
        without a new assignee is not seen.

        **Source** as contact centres count transfers.
        """
    ),
)

ESCALATION_RATE: Final = Metric(
    number=MetricNumber.ESCALATION_RATE,
    name="escalation_rate",
    title="Escalation rate",
    unit="percent",
    formula="100 * tickets escalated at least once / tickets created, by creation",
    kind="service",
    family=Family.RATE,
    direction=WORSE,
    plan=Plan.SHARE_OF,
    base=MetricNumber.TICKET_VOLUME,
    explanation=cleandoc(
        """
        **Tells** which share of the tickets the first level could not settle.

        **Counts** tickets created in the window; escalated is one that went up a support level at least
        once, however late.

        **Booked** at creation: the rate of recent days still grows.

        **Bad at** sources that report no escalations: theirs is 0, not unknown. Filter by source.

        **Source** distinct tickets of one cohort, as ITIL practice counts functional escalations.
        """
    ),
)

HANDLE_TIME: Final = Metric(
    number=MetricNumber.HANDLE_TIME,
    name="handle_time",
    title="Handle time",
    unit="seconds",
    formula="median of the agents' reported work on a ticket, booked at the last solve",
    kind="service",
    family=Family.DURATION,
    direction=WORSE,
    explanation=cleandoc(
        """
        **Tells** how much work a ticket takes, after all hands that were laid on it; median and p90.

        **Counts** tickets that are solved now and whose source reports work; the reported seconds of all
        events of the ticket are added up, each event once.

        **Booked** at the last solve.

        **Bad at** being a target: who is measured by it hurries customers off. Sources differ in what they
        call work; a ticket without any report is left out, not taken for 0.

        **Source** average handle time of contact centres, as a median.
        """
    ),
)

SECTION: Final = (HANDOFFS, ESCALATION_RATE, HANDLE_TIME)
