"""What the journey service can be told."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from cxloop_common.settings import ServiceSettings


class JourneySettings(ServiceSettings):
    """Settings of journey; see `ServiceSettings` for those that all services share."""

    model_config = SettingsConfigDict(
        env_prefix="CXLOOP_JOURNEY_", frozen=True, use_attribute_docstrings=True
    )

    port: int = Field(default=8103, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    batch_records: int = Field(default=500, ge=1, le=50_000)
    """Most records in one transaction. Larger ones hold more customers locked: with two workers 500 is faster
    than 2000 by half."""

    identity_key: SecretStr | None = Field(default=None, min_length=16, max_length=1024)
    """Secret from which customer ids are made; the same for all workers, for good. Unset, one is made at the
    first start and kept in the service's schema. Set it where a replay into a new database must give the same
    ids: without it they cannot be guessed from an address, nor made again."""

    identity_key_file: Path | None = None
    """File that holds the identity key, for platforms that mount secrets."""

    evaluator_customers: int = Field(default=500, ge=1, le=10_000)
    """Most changed rows that one evaluation takes: it holds their customers locked while it reads them."""

    evaluator_idle_s: float = Field(default=1.0, ge=0.05, le=60)
    """How often to look for changed customers without being woken; a lost notification delays a card by this."""

    stage_check_s: float = Field(default=60.0, ge=1, le=3600)
    """How often to look for customers whose stage changes by the clock; stages last days, so minutes do."""

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.identity_key is not None and self.identity_key_file is not None:
            raise ValueError("set identity_key or identity_key_file, not both")
        return self

    def configured_identity_key(self) -> str | None:
        """Read the identity key where one is configured. Raises OSError, or ValueError for a short one."""
        if self.identity_key is not None:
            return self.identity_key.get_secret_value()
        if self.identity_key_file is None:
            return None
        text = self.identity_key_file.read_text(encoding="utf-8").strip()
        if len(text) < 16:  # noqa: PLR2004  # the same bound as the setting's
            message = f"{self.identity_key_file}: an identity key has at least 16 characters"
            raise ValueError(message)
        return text
