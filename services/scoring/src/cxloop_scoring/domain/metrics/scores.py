"""What customers say: scores by the family of their question, comments, and who answers at all."""

from inspect import cleandoc
from typing import Final

from cxloop_scoring.domain.metrics.shape import BETTER, WORSE, Family, Metric, MetricNumber, Plan

NPS: Final = Metric(
    number=MetricNumber.NPS,
    name="nps",
    title="Net Promoter Score",
    unit="points",
    formula="100 * (promoters - detractors) / n on whole scores from 0 to 10: detractors 0-6, promoters 9-10",
    kind="experience",
    family=Family.NET_PROMOTER,
    direction=BETTER,
    explanation=cleandoc(
        """
        **Tells** how many more customers would recommend you than would warn of you, from -100 to 100.

        **Counts** answers on a scale of 0 to 10, the latest edit of each. `transactional` is every answer;
        `relationship` is the latest of each customer in the window, without anonymous ones.

        **Booked** when the customer answered. The interval is the adjusted Wald of Rocks.

        **Bad at** small differences: with 100 answers the interval is some 30 points wide. It says nothing
        of why, and 0 and 6 weigh the same. Never compare the two populations with each other.

        **Source** Reichheld (2003), Harvard Business Review 81(12); Rocks (2016), The American
        Statistician 70(4).
        """
    ),
)

CSAT: Final = Metric(
    number=MetricNumber.CSAT,
    name="csat",
    title="Customer satisfaction",
    unit="percent",
    formula="100 * satisfied / n; satisfied is 4-5 on a scale of 1-5, elsewhere what the scale declares as good",
    kind="experience",
    family=Family.TOP_BOX,
    direction=BETTER,
    explanation=cleandoc(
        """
        **Tells** which share of those who answered were satisfied with what just happened.

        **Counts** answers on any scale: good are 4-5 of 1-5, 3-4 of 1-4, 3 of 1-3, 2 of 1-2, or what the
        scale itself declares; of any other scale the upper quarter. Being a share, scales may be mixed; those
        that reach beyond 10,000 are no satisfaction scale and count for nothing.

        **Booked** when the customer answered. The interval is Wilson's.

        **Bad at** telling a dull 4 from a delighted 5, and at silence: compare it with the response rate.

        **Source** top-2-box as usual in the trade; Wilson (1927), Journal of the American Statistical
        Association 22(158).
        """
    ),
)

CES: Final = Metric(
    number=MetricNumber.CES,
    name="ces",
    title="Customer effort score",
    unit="score",
    formula="mean of answers from 1 to 7, 7 = made it easy; top_box is the share of 5-7 in percent",
    kind="experience",
    family=Family.MEAN,
    direction=BETTER,
    explanation=cleandoc(
        """
        **Tells** how easy customers found it to get their issue handled (version 2 of the question).

        **Counts** answers on a scale of 1 to 7. Answers on 1 to 5 are `ces_v1` and are never mixed in.

        **Booked** when the customer answered. The interval is Student's.

        **Bad at** loyalty as a whole: it speaks of one contact. A mean of 5 can be all fives or a split of
        sevens and threes; `top_box` tells these apart.

        **Source** Dixon, Toman, DeLisi (2013), The Effortless Experience.
        """
    ),
)

CES_V1: Final = Metric(
    number=MetricNumber.CES_V1,
    name="ces_v1",
    title="Customer effort score, version 1",
    unit="score",
    formula="mean effort from 1 to 5, 5 = most effort; top_box is the share of 1-2 in percent",
    kind="experience",
    family=Family.MEAN,
    direction=WORSE,
    explanation=cleandoc(
        """
        **Tells** how much effort customers had to put forth, as the first version of the question asks it.

        **Counts** effort answers on a scale of 1 to 5. Where the sender says that more is better, an answer
        is turned round (6 - score), so that 5 is always the most effort. `top_box` is the share of little
        effort, 1-2; 4-5 is the low band.

        **Booked** when the customer answered. The interval is Student's.

        **Bad at** being compared with `ces`: question, scale and direction differ. Many customers misread
        the direction of the question; version 2 was made for that reason.

        **Source** Dixon, Freeman, Toman (2010), Harvard Business Review 88(7/8).
        """
    ),
)

RESPONSE_RATE: Final = Metric(
    number=MetricNumber.RESPONSE_RATE,
    name="response_rate",
    title="Response rate",
    unit="percent",
    formula="100 * sends with an answer / sends, by the time of the send",
    kind="experience",
    family=Family.RATE,
    direction=BETTER,
    plan=Plan.JOINED,
    explanation=cleandoc(
        """
        **Tells** which share of the surveys sent out came back, and so whom the scores speak for.

        **Counts** every survey sent in the window. Where the sender knows the response's id beforehand,
        that response answers it; elsewhere any answer of the same customer to the same survey within 90
        days of the send does.

        **Booked** at the send, whenever the answer comes: the rate of recent days still grows.

        **Bad at** sources that do not report their sends: their answers appear in no rate at all. A high
        rate is no proof that those who answer are like those who do not.

        **Source** response rate RR1 by send cohort, AAPOR Standard Definitions.
        """
    ),
)

SENTIMENT: Final = Metric(
    number=MetricNumber.SENTIMENT,
    name="sentiment",
    title="Sentiment of comments",
    unit="score",
    formula="mean polarity of comments from -1 to 1; negative is the share at or below -0.05 in percent",
    kind="experience",
    family=Family.MEAN,
    direction=BETTER,
    explanation=cleandoc(
        """
        **Tells** whether customers' own words are rather kind or rather angry.

        **Counts** answers with a comment whose polarity could be found; the others are left out, not taken
        for neutral. Only the number is kept, never the words.

        **Booked** when the customer answered. Low is -0.05 and below, high 0.05 and above.

        **Bad at** irony, negation over several words, languages without a lexicon, and single comments:
        read it as a trend over many.

        **Source** lexicon and cut-offs in the manner of VADER: Hutto, Gilbert (2014), ICWSM 8(1).
        """
    ),
)

SECTION: Final = (NPS, CSAT, CES, CES_V1, RESPONSE_RATE, SENTIMENT)
