"""What alerting can be told."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from cxloop_common.settings import ServiceSettings


class AlertingSettings(ServiceSettings):
    """Settings of alerting; deadlines, owners and rules stand in the two files."""

    model_config = SettingsConfigDict(env_prefix="CXLOOP_ALERTING_")

    shared: ClassVar[frozenset[str]] = ServiceSettings.shared | {"rules_file", "routes_file"}

    port: int = Field(default=8104, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    rules_file: str | None = None
    """YAML file of the rules that open cases. Unset, every low score opens one, so that a first run shows what
    happens."""

    routes_file: str | None = None
    """YAML file of people, teams and routes. Unset, one person called owner gets every case."""

    timer_poll_s: float = Field(default=1.0, ge=0.05, le=60)
    """Time between looks for due timers; deadlines are minutes and hours, so a second is never noticed."""
