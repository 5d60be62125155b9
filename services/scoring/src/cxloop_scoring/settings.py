"""Settings of the scoring service; those that all services share are inherited."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from cxloop_common.settings import ServiceSettings


class ScoringSettings(ServiceSettings):
    """What the scoring service can be told."""

    model_config = SettingsConfigDict(
        env_prefix="CXLOOP_SCORING_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    shared: ClassVar[frozenset[str]] = ServiceSettings.shared | {"metrics_file", "calendars_file"}

    port: int = Field(default=8102, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    months_check_s: float = Field(default=21_600, ge=60, le=86_400)
    """Time between two looks at whether next months' ledger partitions exist; four a day, for they are made
    three months ahead."""

    metrics_file: str | None = None
    """YAML file of targets, costs, the words that tell whether a customer stays, and what is watched for shifts.
    Unset, there are no targets and no costs."""

    calendars_file: str | None = None
    """YAML file of business hours by team. Unset, no time is counted in business hours."""

    retention_days: int = Field(default=400, ge=100, le=3_660)
    """Days that the ledger is kept, by whole months: a year to compare with, and a month to look at it. Windows
    reach back 90 days, so less would cut them off; sums by day stay for ever."""

    snapshot_s: float = Field(default=30, ge=1, le=3_600)
    """Time between two rounds of the publisher; what changed in between is published once. A round reads every
    metric over a day, a week and a month, so half a minute keeps it out of the workers' way."""

    series_points: int = Field(default=2_000, ge=10, le=5_000)
    """Most points of one series: a 90-day window in steps of an hour has 2,160, in steps of two hours 1,080."""
