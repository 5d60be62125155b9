"""What scoring says of metrics unasked: rolling snapshots, and shifts that are news. Nothing personal."""

from typing import Literal
from urllib.parse import quote

from pydantic import Field, FiniteFloat

from cxloop_common.events.base import CloudEvent, UtcTime

Trust = Literal["ok", "low_confidence", "suppressed"]


def series_key(metric: str, dimension: str | None, dimension_value: str | None, window: str) -> str:
    """Name one series: `metric|dimension=value|window`, percent-encoded, with `*` for the whole."""
    if dimension is None or dimension_value is None:
        return f"{metric}|*|{window}"
    return f"{metric}|{quote(dimension, safe='')}={quote(dimension_value, safe='')}|{window}"


class MetricEvent(CloudEvent):
    """What both say: which series it is about, and the window; `time` is the window's end."""

    metric: str
    formula_version: int
    unit: str
    dimension: str | None = None
    """None, as the value, for the metric of the whole."""
    dimension_value: str | None = None
    window: str
    """Length, such as `24h` or `7d`."""
    window_from: UtcTime
    window_to: UtcTime
    """Excluded."""
    sequence: int = Field(ge=1)
    """One sequence over all series; readers keep the highest of each key."""

    @property
    def key(self) -> str:
        """The series."""
        return series_key(self.metric, self.dimension, self.dimension_value, self.window)


class MetricSnapshot(MetricEvent):
    """A metric as it stands; written again when its content changed, not whenever its window moved on."""

    TYPE = "cxloop.metric.snapshot"
    type: Literal["cxloop.metric.snapshot"] = TYPE

    value: FiniteFloat | None = None
    """In the metric's unit, seconds for times; None for n = 0 and where it is withheld."""
    n: int = Field(ge=0)
    ci_low: FiniteFloat | None = None
    ci_high: FiniteFloat | None = None
    status: Trust
    extra: dict[str, FiniteFloat] = Field(default_factory=dict[str, float])
    """What else the metric tells, such as `p90`."""


class MetricShifted(MetricEvent):
    """A metric differs from the window before, beyond chance and correction; told once a shift.

    Its key is the series' with `|shifted` behind it: in a compacted topic it stands beside the snapshot.
    """

    TYPE = "cxloop.metric.shifted"
    type: Literal["cxloop.metric.shifted"] = TYPE

    direction: Literal["up", "down"]
    effect: Literal["better", "worse"]
    """What the direction means for this metric."""
    turned: bool
    """The shift that was told before went the other way."""
    value: FiniteFloat | None
    value_then: FiniteFloat | None
    """In the window of equal length before."""
    difference: FiniteFloat
    ci_low: FiniteFloat
    ci_high: FiniteFloat
    q_value: FiniteFloat = Field(ge=0, le=1)
    """p of the difference, corrected for all series that were looked at together."""
    n: int
    n_then: int
    number: int = Field(ge=1)
    """How many shifts of this series were told so far, this one included."""

    @property
    def key(self) -> str:
        """The series, and that it is a shift."""
        return f"{super().key}|shifted"
