"""Whether the loop is closed: low scores become cases, cases are closed, customers come round."""

from inspect import cleandoc
from typing import Final

from cxloop_scoring.domain.metrics.shape import BETTER, Family, Metric, Plan

CLOSED_LOOP_RATE: Final = Metric(
    number=None,
    name="closed_loop_rate",
    title="Closed-loop rate",
    unit="percent",
    formula="100 * cases closed / cases opened, by the time of opening",
    kind="outcome",
    family=Family.RATE,
    direction=BETTER,
    plan=Plan.JOINED,
    explanation=cleandoc(
        """
        **Tells** whether somebody sees to unhappy customers, to the end.

        **Counts** cases opened in the window; closed is one that was resolved, whatever became of it.
        `coverage` is the share of the low scores in the window that raised a case. `on_time` is the share
        closed by their due time, among those closed or due.

        **Booked** at the case's opening: the rate of recent days still grows. A case that another one
        superseded counts nowhere.

        **Bad at** quality: a case closed unread is closed. `recovery_rate` tells what the customer thought.

        **Source** closed-loop feedback as Reichheld, Markey (2011), The Ultimate Question 2.0, describe it.
        """
    ),
)

RECOVERY_RATE: Final = Metric(
    number=None,
    name="recovery_rate",
    title="Recovery rate",
    unit="percent",
    formula="100 * closed cases whose customer's next score is above the low band / those with a next score",
    kind="outcome",
    family=Family.RATE,
    direction=BETTER,
    plan=Plan.JOINED,
    explanation=cleandoc(
        """
        **Tells** which share of the customers whose case was closed came back from the low band.

        **Counts** cases closed in the window whose customer gave a score of the same metric afterwards; the
        first one counts. `of_all` relates the recovered to all closed cases instead.

        **Booked** when the case was closed: the rate of recent weeks still changes as scores come in.

        **Bad at** those who never answer again: they may be content or gone. Scores drift upwards after a
        low one by chance alone; `recovery_lift` compares with those whom nobody contacted.

        **Source** service recovery: Tax, Brown, Chandrashekaran (1998), Journal of Marketing 62(2).
        """
    ),
)

RECOVERY_LIFT: Final = Metric(
    number=None,
    name="recovery_lift",
    title="Recovery lift",
    unit="points",
    formula="recovery rate of low scorers who were contacted - recovery rate of those who were not, in points",
    kind="outcome",
    family=Family.LIFT,
    direction=BETTER,
    plan=Plan.JOINED,
    explanation=cleandoc(
        """
        **Tells** what contacting unhappy customers is worth: how many more of them recover.

        **Counts** low scorers of the window, the latest score of each customer and metric, who gave a next
        score of that metric. Contacted are those with a case that was contacted before that next score.

        **Booked** at the low score. The interval is Newcombe's for a difference of two shares.

        **Bad at** proof: nobody drew lots. If owners contact those who are easily won back, the lift
        flatters them. An interval that includes 0 says that nothing is shown yet.

        **Source** Newcombe (1998), Statistics in Medicine 17(8), method 10.
        """
    ),
)

SECTION: Final = (CLOSED_LOOP_RATE, RECOVERY_RATE, RECOVERY_LIFT)
