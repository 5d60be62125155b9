"""Settings of the scoring service; those that all services share are inherited."""

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

    port: int = Field(default=8102, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    months_check_s: float = Field(default=21_600, ge=60, le=86_400)
    """Time between two looks at whether next months' ledger partitions exist; four a day, for they are made
    three months ahead."""

    series_points: int = Field(default=1_000, ge=10, le=5_000)
    """Most points of one series: a 90-day window in steps of three hours has 720."""
