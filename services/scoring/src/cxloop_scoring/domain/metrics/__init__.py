"""The catalogue: every metric this service answers, with its formula, unit and direction.

Each subject is a module, each metric a section of it that explains the metric to whoever reads the number.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cxloop_scoring.domain.metrics import (
    contacts,
    handoffs,
    lifecycle,
    loop,
    reply_times,
    resolution,
    scores,
    sla,
    volume,
)
from cxloop_scoring.domain.metrics.shape import (
    Direction,
    Family,
    Kind,
    Metric,
    MetricNumber,
    Plan,
    by_name,
)

__all__ = [
    "BY_NUMBER",
    "CATALOGUE",
    "CONFIGURATIONS",
    "DURATIONS",
    "FORMULAS",
    "LEDGER_ONLY",
    "LIFELONG",
    "Direction",
    "Family",
    "Kind",
    "Metric",
    "MetricNumber",
    "Plan",
]

FORMULAS: Final = 2
"""The version of all folds; raise it when a fold changes what it books."""

CONFIGURATIONS: Final = 100_000
"""Room for configurations between two versions of the folds."""

CATALOGUE: Final[Mapping[str, Metric]] = by_name(
    scores.SECTION,
    reply_times.SECTION,
    resolution.SECTION,
    contacts.SECTION,
    handoffs.SECTION,
    sla.SECTION,
    volume.SECTION,
    lifecycle.SECTION,
    loop.SECTION,
)
"""The metrics by name, in the order in which they are listed."""

BY_NUMBER: Final[Mapping[int, Metric]] = MappingProxyType(
    {int(metric.number): metric for metric in CATALOGUE.values() if metric.number is not None}
)
"""The metrics with observations of their own, by their number in the ledger."""

DURATIONS: Final = frozenset(
    int(number)
    for metric in CATALOGUE.values()
    if metric.is_duration
    for number in (metric.number, metric.business)
    if number is not None
)
"""Numbers whose values are milliseconds, kept in histograms."""

LEDGER_ONLY: Final = frozenset(
    int(number)
    for number in (
        MetricNumber.RESPONSE_RATE,
        MetricNumber.SEND_UNLINKED,
        MetricNumber.FIRST_CONTACT_RESOLUTION,
        MetricNumber.REPEAT_CONTACT_RATE,
        MetricNumber.LIFECYCLE,
        MetricNumber.CASE_OPENED,
        MetricNumber.CASE_CLOSED,
        MetricNumber.CASE_CONTACTED,
        MetricNumber.MERGED_AWAY,
        MetricNumber.CUSTOMER_VALUE,
    )
)
"""Numbers that no bucket adds up: what they say is only told together with other documents."""

LIFELONG: Final = frozenset((int(MetricNumber.LIFECYCLE), int(MetricNumber.CUSTOMER_VALUE)))
"""Numbers that questions read from before any window: retention keeps them."""
