"""Statistics: estimates, intervals and tests, each with its formula and source; integers in, floats out.

`estimates` has values and their intervals, `differences` what two of them differ by, `exact` tests on counts,
`multiplicity` what remains significant of many tests, `distributions` the functions that all of them stand on.
"""

from cxloop_scoring.domain.statistics.differences import (
    ALPHA,
    Contrast,
    mean_difference,
    median_difference,
    nps_difference,
    share_difference,
)
from cxloop_scoring.domain.statistics.estimates import (
    LOW_CONFIDENCE_BELOW,
    SUPPRESSED_BELOW,
    Interval,
    Status,
    Z,
    mean_interval,
    median_interval,
    median_ranks,
    nps,
    nps_interval,
    share,
    status,
    t_quantile,
    wilson,
)
from cxloop_scoring.domain.statistics.exact import (
    Alternative,
    Strata,
    binomial_at_least,
    fisher,
    homogeneity,
    odds_ratio_greater,
)
from cxloop_scoring.domain.statistics.multiplicity import q_values

__all__ = [
    "ALPHA",
    "LOW_CONFIDENCE_BELOW",
    "SUPPRESSED_BELOW",
    "Alternative",
    "Contrast",
    "Interval",
    "Status",
    "Strata",
    "Z",
    "binomial_at_least",
    "fisher",
    "homogeneity",
    "mean_difference",
    "mean_interval",
    "median_difference",
    "median_interval",
    "median_ranks",
    "nps",
    "nps_difference",
    "nps_interval",
    "odds_ratio_greater",
    "q_values",
    "share",
    "share_difference",
    "status",
    "t_quantile",
    "wilson",
]
