"""Settings from the environment, checked at the start.

Units are in the names, every field has bounds and says why this default. A variable with our prefix that
nobody reads stops the start, because a misspelt setting is otherwise found in production.
"""

import difflib
import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self, TypeVar, cast

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cxloop_common.telemetry import LogFormat

PREFIX: Final = "CXLOOP_"

SERVICES: Final = ("INGEST", "SCORING", "JOURNEY", "ALERTING")
"""Services whose variables may stand in one environment, as under `cxloop up`; each checks its own."""

OTHER_GROUPS: Final = ("CLI", "EMBEDDED", "SECRET", "TEST", "BENCH", "FAULT", "DEMO")
"""First words of variables that others read: the command line, the embedded broker and database, secrets
that `sources.yaml` or `alerting.yaml` name (`CXLOOP_SECRET_ZENDESK`), and the test harnesses."""

TOOL_VARIABLES: Final = frozenset(
    {"CXLOOP_DATA_DIR", "CXLOOP_CACHE_DIR", "CXLOOP_MAVEN_URL"}
    | {"CXLOOP_SOURCES_FILE", "CXLOOP_RULES_FILE", "CXLOOP_ROUTES_FILE"}
    | {"CXLOOP_METRICS_FILE", "CXLOOP_CALENDARS_FILE"}
)
"""Variables without a service's name that another reads: `cxloop up`, or the service whose file it is."""

_KUBERNETES_LINKS: Final = ("_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_TCP_ADDR", "_TCP_PORT", "_TCP_PROTO")

_KUBERNETES_HINT: Final = "it looks like a Kubernetes service link; set enableServiceLinks: false in the pod"

S = TypeVar("S", bound="ServiceSettings")


class SettingsError(Exception):
    """The environment does not describe a service that can start; one readable line a problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class _Environment(PydanticBaseSettingsSource):
    """Reads ``CXLOOP_<SERVICE>_X``; a field that services share is read from ``CXLOOP_X`` as well.

    The service's own variable wins. An empty value counts as not set.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        owner = cast("type[ServiceSettings]", self.settings_cls)
        for name in variable_names(owner, field_name):
            if text := os.environ.get(name):
                return text, field_name, self.field_is_complex(field)
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, is_complex = self.get_field_value(field, name)
            if value is not None:
                values[key] = _decode(value) if is_complex else value
        return values


def _decode(text: str) -> Any:
    """Read a list or mapping written as JSON; what is no JSON is left for validation to refuse by name."""
    try:
        return json.loads(text)
    except ValueError:
        return text


class ServiceSettings(BaseSettings):
    """What every service can be told; a service adds its own fields and its prefix.

    ``class ScoringSettings(ServiceSettings): model_config = SettingsConfigDict(env_prefix="CXLOOP_SCORING_",
    frozen=True, use_attribute_docstrings=True)``. Fields named in `shared` are read from ``CXLOOP_<FIELD>``
    too, so that four services can be told once.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    shared: ClassVar[frozenset[str]] = frozenset(
        {"kafka_bootstrap", "database_url", "api_tokens_file", "api_tokens"}
        | {"metrics_open", "log_level", "log_format"}
        | {"topic_prefix", "partitions", "replication_factor", "create_topics"}
    )

    kafka_bootstrap: str = Field(pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$")
    """Kafka brokers to ask first: `host:port`, separated by commas. No default: a guess hides mistakes."""

    database_url: str = Field(pattern=r"^postgres(ql)?(\+asyncpg)?://\S+$", repr=False)
    """PostgreSQL to keep state in, `postgresql://user:password@host:port/name`; a service's own variable wins
    over the shared one. No default: a guess would hide a mistake."""

    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    """Put before every topic and group name, so that several installations can share a cluster; empty,
    because most have one of their own."""

    partitions: int = Field(default=12, ge=1, le=10_000)
    """Partitions of each topic, fixed when it is made: another count would move keys between partitions. 12
    divide evenly among 2, 3, 4, 6 or 12 workers."""

    replication_factor: int = Field(default=1, ge=1, le=9)
    """Copies of each record; 1 suits a single broker, production wants 3."""

    create_topics: bool = True
    """Whether missing topics are made at the start; off where the cluster's owners make them."""

    api_tokens_file: str | None = None
    """YAML file of API tokens; without it and `api_tokens` every protected call answers 401."""

    api_tokens: SecretStr | None = None
    """API tokens as JSON or YAML, the same list as in the file; for platforms that inject secrets."""

    metrics_open: bool = False
    """Whether `/metrics` answers without a token. Closed, because metrics name sources and volumes."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged; info tells of every start, stop and decision to wait."""

    log_format: LogFormat = "json"
    """One JSON object a line for collectors, or `console` for eyes."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    """Address to listen on; loopback until somebody decides to be reachable."""

    port: int = Field(default=8100, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    worker_slot: int | None = Field(default=None, ge=0, le=9999)
    """Number of this worker process among its peers: a restart with the same number gets its partitions back
    at once. Unset, the worker joins as a dynamic member, which suits autoscaling."""

    batch_records: int = Field(default=5000, ge=1, le=50_000)
    """Most records in one transaction: larger gains little and delays the first result."""

    session_timeout_s: float = Field(default=30, ge=6, le=300)
    """Silence after which Kafka gives a worker's partitions away; long enough to outlast a pause."""

    rebalance_timeout_s: float = Field(default=60, ge=10, le=600)
    """Time to finish a batch when partitions move; the client's default of 10 s ends batches half-way."""

    heartbeat_interval_s: float = Field(default=3, ge=0.1, le=60)
    """Time between signs of life to Kafka; a tenth of the session, so that several may be lost."""

    transaction_timeout_s: float = Field(default=30, ge=1, le=300)
    """Time after which PostgreSQL ends our transaction: a stalled one holds up the partition's next owner."""

    poison_limit: int = Field(default=25, ge=1, le=10_000)
    """Poison records in a row that pause a partition: so many point to a bad deploy, not to bad data."""

    watchdog_s: float = Field(default=120, ge=5, le=3600)
    """Time with lag and no progress after which the worker ends itself, to be started afresh; twice the
    rebalance timeout, so that a rebalance never trips it."""

    max_request_bytes: int = Field(default=1_048_576, ge=1024, le=67_108_864)
    """Largest request body, after decompression; a survey answer has some 2 KB, a batch of events fits."""

    limit_concurrency: int = Field(default=512, ge=8, le=65_536)
    """Connections and requests at a time; more get 503 at once instead of a place in a growing queue."""

    shutdown_s: float = Field(default=10, ge=1, le=14)
    """Time open requests get to finish after SIGTERM; below the 15 s in which the process must be gone."""

    @model_validator(mode="after")
    def _timeouts_agree(self) -> Self:
        if self.heartbeat_interval_s >= self.session_timeout_s:
            raise ValueError("heartbeat_interval_s must be below session_timeout_s; a third or less is usual")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment; there is no second place to look for a value."""
        del env_settings, dotenv_settings, file_secret_settings
        return init_settings, _Environment(settings_cls)


def variable_names(cls: type[ServiceSettings], field: str) -> tuple[str, ...]:
    """Give the variables a field is read from, the one that wins first."""
    own = f"{cls.model_config.get('env_prefix', PREFIX)}{field}".upper()
    if field not in cls.shared or own == f"{PREFIX}{field}".upper():
        return (own,)
    return own, f"{PREFIX}{field}".upper()


def load_settings(cls: type[S], **overrides: Any) -> S:
    """Read a service's settings from the environment; ``overrides`` (command-line options) win.

    Raises SettingsError with one line for each unknown variable and each bad value; values are not quoted.
    """
    problems = unknown_variables(cls, os.environ)
    settings: S | None = None
    try:
        settings = cls(**overrides)
    except ValidationError as error:
        problems += _describe(cls, error)
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def unknown_variables(cls: type[ServiceSettings], environ: Mapping[str, str]) -> list[str]:
    """Give one line for each variable with our prefix that neither this service nor a known group reads."""
    prefix = str(cls.model_config.get("env_prefix", PREFIX)).upper()
    known = {name for field in cls.model_fields for name in variable_names(cls, field)}
    others = tuple(
        f"{PREFIX}{group}_" for group in (*SERVICES, *OTHER_GROUPS) if f"{PREFIX}{group}_" != prefix
    )
    problems: list[str] = []
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or name in known | TOOL_VARIABLES or name.startswith(others):
            continue
        if upper.endswith(_KUBERNETES_LINKS) or environ[name].startswith("tcp://"):
            hint = _KUBERNETES_HINT
        elif nearest := difflib.get_close_matches(upper, sorted(known), n=1, cutoff=0.6):
            hint = f"did you mean {nearest[0]}?"
        else:
            hint = "remove it, or see the settings in the service's README"
        problems.append(f"{name}: unknown setting; {hint}")
    return problems


def _describe(cls: type[ServiceSettings], error: ValidationError) -> list[str]:
    problems: list[str] = []
    for item in error.errors(include_input=False, include_url=False):
        field = str(item["loc"][0]) if item["loc"] else ""
        if field not in cls.model_fields:
            label = field or cls.__name__
            problems.append(f"{label}: {item['msg'].removeprefix('Value error, ')}")
            continue
        names = variable_names(cls, field)
        set_name = next((name for name in names if os.environ.get(name)), names[-1])
        if item["type"] == "missing":
            problems.append(f"{' or '.join(reversed(names))}: not set; {_summary(cls.model_fields[field])}")
        elif os.environ.get(set_name, "").startswith("tcp://"):
            problems.append(f"{set_name}: {_KUBERNETES_HINT}")
        else:
            problems.append(f"{set_name}: {item['msg'].removeprefix('Value error, ')}")
    return problems


def _summary(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    return text.partition(". ")[0].rstrip(".")


def settings_table(cls: type[ServiceSettings]) -> str:
    """Render a settings class as a Markdown table, a row a field: variable, default, bounds, meaning."""
    rows = ["| Variable | Default | Bounds | Meaning |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        variables = " or ".join(f"`{variable}`" for variable in variable_names(cls, name)[::-1])
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| {variables} | {_default(field)} | {_bounds(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: object = field.get_default(call_default_factory=False)
    if value is None or value is PydanticUndefined:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def _bounds(field: FieldInfo) -> str:
    least, most = "", ""
    for rule in field.metadata:
        if isinstance(rule, Ge | Gt):
            least = f"{rule.ge}" if isinstance(rule, Ge) else f"> {rule.gt}"
        elif isinstance(rule, Le | Lt):
            most = f"{rule.le}" if isinstance(rule, Le) else f"< {rule.lt}"
        elif isinstance(rule, MinLen):
            least = f"{rule.min_length}"
        elif isinstance(rule, MaxLen):
            most = f"{rule.max_length}"
    if least or most:
        unit = " characters" if field.annotation is str else ""
        return f"{least}..{most}{unit}"
    annotation: Any = field.annotation
    if annotation is bool:
        return "`true`, `false`"
    choices: tuple[object, ...] = getattr(annotation, "__args__", ())
    if getattr(annotation, "__origin__", None) is Literal:
        return ", ".join(f"`{choice}`" for choice in choices)
    return ""
