"""How long issues last, and whether they stay solved."""

from inspect import cleandoc
from typing import Final

from cxloop_scoring.domain.metrics.shape import BETTER, WORSE, Family, Metric, MetricNumber, Plan

FIRST_RESOLUTION_TIME: Final = Metric(
    number=MetricNumber.FIRST_RESOLUTION_TIME,
    name="first_resolution_time",
    title="First resolution time",
    unit="seconds",
    formula="median of creation -> first solve, booked when it was solved",
    kind="service",
    family=Family.DURATION,
    direction=WORSE,
    business=MetricNumber.FIRST_RESOLUTION_BUSINESS,
    explanation=cleandoc(
        """
        **Tells** how long it takes until a ticket is solved for the first time; median and p90.

        **Counts** tickets that were solved at least once, whoever created them. Closing without solving is
        a solve. A solve that is dated before the creation (a sender's clock) counts as 0.

        **Booked** at the first solve; later reopenings leave it alone. Where a calendar applies, `business`
        stands beside.

        **Bad at** premature solves: a team that solves early and reopens often looks fast. Compare it with
        `full_resolution_time` and `reopen_rate`.

        **Source** as ticketing systems define it.
        """
    ),
)

FULL_RESOLUTION_TIME: Final = Metric(
    number=MetricNumber.FULL_RESOLUTION_TIME,
    name="full_resolution_time",
    title="Full resolution time",
    unit="seconds",
    formula=(
        "median of creation -> last solve, reopen cycles included, booked when it was solved; "
        "absent while a ticket is not solved"
    ),
    kind="service",
    family=Family.DURATION,
    direction=WORSE,
    business=MetricNumber.FULL_RESOLUTION_BUSINESS,
    explanation=cleandoc(
        """
        **Tells** how long customers lived with their issue, reopenings included; median and p90.

        **Counts** tickets that are solved now. A ticket that is reopened leaves the number until it is
        solved again.

        **Booked** at the last solve. Where a calendar applies, `business` stands beside.

        **Bad at** the present: the longest cases are still open and in no median. Watch `backlog` beside it.

        **Source** as ticketing systems define it.
        """
    ),
)

REOPEN_RATE: Final = Metric(
    number=MetricNumber.REOPEN_RATE,
    name="reopen_rate",
    title="Reopen rate",
    unit="percent",
    formula="100 * tickets that left the solved state at least once / tickets solved, booked at the first solve",
    kind="service",
    family=Family.RATE,
    direction=WORSE,
    plan=Plan.SHARE_OF,
    base=MetricNumber.FIRST_RESOLUTION_TIME,
    explanation=cleandoc(
        """
        **Tells** which share of the solved tickets were not solved after all.

        **Counts** tickets with a first solve in the window; reopened is one that left `solved` or `closed`
        for any other status, however often.

        **Booked** at the first solve, whenever the reopening came: the rate of recent days still grows.

        **Bad at** customers who open a new ticket instead; `repeat_contact_rate` finds those. A "thank you"
        that reopens a ticket by a system's rule counts too.

        **Source** as ticketing systems define it, by cohort of the first solve.
        """
    ),
)

FIRST_CONTACT_RESOLUTION: Final = Metric(
    number=MetricNumber.FIRST_CONTACT_RESOLUTION,
    name="first_contact_resolution",
    title="First contact resolution",
    unit="percent",
    formula=(
        "100 * tickets solved with one inbound message, never reopened and not followed within 7 days by "
        "another contact of the customer on the same topic / tickets solved, by first solve"
    ),
    kind="service",
    family=Family.RATE,
    direction=BETTER,
    plan=Plan.JOINED,
    base=MetricNumber.FIRST_RESOLUTION_TIME,
    explanation=cleandoc(
        """
        **Tells** which share of the issues was settled by one contact: the service level that customers
        notice most.

        **Counts** tickets with a first solve in the window. Resolved at first contact are those with exactly
        one message of the customer in all, never reopened, and without another ticket of the same customer
        with the same contact type in the 7 days after the solve.

        **Booked** at the first solve. `provisional` says how many of them were solved less than 7 days ago:
        their share can only fall.

        **Bad at** unknown customers and contact types: nothing can refute their tickets. Questions that an
        agent has to ask back count against it, though they may be good service.

        **Source** the 7-day window is that of most contact centres; see also SQM Group's definition.
        """
    ),
)

SECTION: Final = (FIRST_RESOLUTION_TIME, FULL_RESOLUTION_TIME, REOPEN_RATE, FIRST_CONTACT_RESOLUTION)
