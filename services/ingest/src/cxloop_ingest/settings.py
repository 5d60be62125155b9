"""Settings of the ingest service; those that all services share are inherited."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from cxloop_common.settings import ServiceSettings


class IngestSettings(ServiceSettings):
    """What the ingest service can be told."""

    model_config = SettingsConfigDict(
        env_prefix="CXLOOP_INGEST_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    shared: ClassVar[frozenset[str]] = ServiceSettings.shared | {"sources_file"}

    port: int = Field(default=8101, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    sources_file: str | None = None
    """The sources.yaml; without it no webhook has an address and only `/v1/events` takes anything."""

    sources_poll_s: float = Field(default=2, ge=0.05, le=300)
    """Time between two looks at whether the sources file or a secret's file changed."""

    receive_deadline_s: float = Field(default=10, ge=0.1, le=120)
    """Time a request's body gets to arrive; senders give up after 5 to 12 s themselves."""

    produce_timeout_s: float = Field(default=4, ge=0.1, le=30)
    """Time Kafka gets to acknowledge a delivery; below the 5 s after which the most impatient sender retries."""

    breaker_stall_s: float = Field(default=1, ge=0.05, le=30)
    """Silence of Kafka, with deliveries waiting, after which others get 503 at once instead of joining them."""

    breaker_cooldown_s: float = Field(default=1, ge=0.05, le=60)
    """Time after a failure before one delivery may try Kafka again while all others get 503."""

    retention_days: int = Field(default=30, ge=1, le=365)
    """Days that deliveries and quarantined bodies are kept: the erasure promise of the topics."""

    prune_interval_s: float = Field(default=3600, ge=1, le=86_400)
    """Time between two looks for what is past its retention."""
