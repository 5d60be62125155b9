"""Logs, metrics and trace context of a service.

Nothing here is global but the logging configuration, which a process has one of: metrics live in a registry
of their own per `Telemetry`, so that tests make as many as they like.
"""

import logging
import re
import secrets
import sys
import traceback
from collections.abc import MutableMapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Literal, TextIO, cast

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

LogFormat = Literal["json", "console"]

request_id: Final[ContextVar[str | None]] = ContextVar("cxloop_request_id", default=None)
"""The id of the request being answered; it is in every log line written meanwhile."""

traceparent: Final[ContextVar[str | None]] = ContextVar("cxloop_traceparent", default=None)
"""The W3C trace context of the request or record being worked on; passed on through Kafka."""

# Trace context -------------------------------------------------------------------------------------------

_TRACEPARENT: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_LONGEST_TRACEPARENT: Final = 256


def parse_traceparent(text: str | None) -> str | None:
    """Give a valid traceparent in version 00, or None: a broken one is ignored, as W3C Trace Context asks.

    A later version is read by its first four fields; version ff and all-zero ids are invalid.
    """
    if text is None or len(text) > _LONGEST_TRACEPARENT:
        return None
    match = _TRACEPARENT.fullmatch(text.strip())
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["rest"]):
        return None
    if not int(match["trace"], 16) or not int(match["span"], 16):
        return None
    return f"00-{match['trace']}-{match['span']}-{match['flags']}"


def new_traceparent() -> str:
    """Start a trace: random ids, not sampled."""
    ids = secrets.token_hex(24)
    return f"00-{ids[:32]}-{ids[32:]}-00"


def child_traceparent(parent: str | None) -> str:
    """Give a new span within the parent's trace, its flags kept; a new trace without a valid parent."""
    valid = parse_traceparent(parent)
    if valid is None:
        return new_traceparent()
    return f"{valid[:36]}{secrets.token_hex(8)}{valid[52:]}"


def current_traceparent() -> str | None:
    """Give the trace context to pass on to Kafka or to another service."""
    return traceparent.get()


# Logs ----------------------------------------------------------------------------------------------------

_WITHHELD: Final = "[withheld]"
_SECRET_KEYS: Final = frozenset(
    {"authorization", "token", "password", "secret", "api_key", "cookie", "body", "payload", "comment"}
    | {"email", "phone", "identifier", "identifiers", "customer_hint", "database_url", "dsn"}
)
_EMAIL: Final = re.compile(r"[^\s@:/\"'<>(),;=]+@[^\s@:/\"'<>(),;=]+\.[^\s@:/\"'<>(),;=]+")
_URL_PASSWORD: Final = re.compile(r"(?<=://)[^\s/@]+@")
_BEARER: Final = re.compile(r"(?i)\bbearer\s+\S+")
# Whose messages are written for logs. Others, database errors first of all, quote the values they met.
_TRUSTED_MESSAGES: Final = ("cxloop_", "aiokafka.")
_FRAMES: Final = 12


def get_logger(name: str | None = None) -> structlog.stdlib.BoundLogger:
    """Give a structured logger: ``log.info("batch_done", topic=topic, records=n)``; fields carry ids only."""
    return cast(
        "structlog.stdlib.BoundLogger", structlog.stdlib.get_logger(name) if name else structlog.get_logger()
    )


def configure_logging(
    service: str,
    level: str = "info",
    format: LogFormat = "json",  # noqa: A002 - the setting's name
    *,
    stream: TextIO | None = None,
) -> None:
    """Send all logs of the process, ours and the libraries', to ``stream``: one JSON object a line.

    ``stream`` is standard output unless given. Every line carries service, level, time and, while a request
    is answered, its id and trace. Exceptions are written as type and code locations; their message only
    where it is known to hold no customer data.
    """

    def add_service(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        add_service,
        _add_context,
        _describe_exception,
        _first_line_of_asyncio,
        _withhold,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    handler = logging.StreamHandler(stream if stream is not None else sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=[]), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # At INFO these two log the URL of every request, and URLs can hold secrets.
    for talkative in ("httpx", "httpcore"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def _add_context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (current := request_id.get()) is not None:
        event.setdefault("request_id", current)
    if (trace := traceparent.get()) is not None:
        event.setdefault("trace_id", trace[3:35])
    return event


def _describe_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given: Any = event.pop("exc_info", None)
    error: object = given
    if given is True:
        error = sys.exc_info()[1]
    elif isinstance(given, tuple):
        error = cast("tuple[object, object, object]", given)[1]
    if isinstance(error, BaseException):
        event.update(error_fields(error))
    return event


def error_fields(error: BaseException) -> dict[str, Any]:
    """Describe an exception for a log: type, causes and code locations.

    The message is added for our own errors, Kafka's and the operating system's only: a database driver's
    quotes the row, a parser's the input.
    """
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < _FRAMES:
        kind = type(current)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        if isinstance(current, OSError):
            name += f": {current.strerror or current.errno or ''}".removesuffix(": ")
        elif kind.__module__.startswith(_TRUSTED_MESSAGES):
            name += f": {current}"
        chain.append(name)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    fields: dict[str, Any] = {"error": chain[0], "where": _frames(error.__traceback__)}
    if chain[1:]:
        fields["caused_by"] = chain[1:]
    return fields


def _frames(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _first_line_of_asyncio(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut what asyncio adds to a lost task's message: the repr of its exception, with all that holds."""
    if event.get("logger") == "asyncio":
        event["event"] = str(event.get("event", "")).partition("\n")[0]
    return event


def _withhold(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key.lower() in _SECRET_KEYS:
            event[key] = _WITHHELD
        elif isinstance(value, str) and ("@" in value or "earer" in value or "EARER" in value):
            text = _URL_PASSWORD.sub(f"{_WITHHELD}@", value)
            event[key] = _BEARER.sub(_WITHHELD, _EMAIL.sub(_WITHHELD, text))
    return event


# Metrics -------------------------------------------------------------------------------------------------

_BATCH_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCH_RECORDS: Final = (1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
_HTTP_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Telemetry:
    """The metrics of one service, in a registry of their own; made once per application.

    A service's own metrics join with ``Counter("cxloop_x", "...", registry=telemetry.registry)``.
    """

    def __init__(self, service: str, version: str = "") -> None:
        self.service = service
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        info = Info("cxloop_service", "Which service and version this is", registry=registry)
        info.info({"service": service, "version": version})
        self.consumer_lag = Gauge(
            "cxloop_consumer_lag_records",
            "Records between the committed position and the end of the partition",
            ["topic", "partition"],
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "cxloop_batch_seconds",
            "Time from the first record of a batch to its COMMIT",
            buckets=_BATCH_SECONDS,
            registry=registry,
        )
        self.batch_records = Histogram(
            "cxloop_batch_records", "Records in a batch", buckets=_BATCH_RECORDS, registry=registry
        )
        self.outcomes = Counter(
            "cxloop_outcomes",
            "Decisions by the named reason they gave",
            ["stage", "reason"],
            registry=registry,
        )
        self.dead_letters = Counter(
            "cxloop_dead_letters", "Records parked in dead letters", ["topic", "reason"], registry=registry
        )
        self.outbox_depth = Gauge(
            "cxloop_outbox_rows", "Rows of the outbox not yet confirmed by Kafka", registry=registry
        )
        self.http_seconds = Histogram(
            "cxloop_http_request_seconds",
            "Time to answer a request, by route template",
            ["method", "route", "status"],
            buckets=_HTTP_SECONDS,
            registry=registry,
        )

    def count(self, stage: str, reason: str, n: int = 1) -> None:
        """Count ``n`` decisions of ``stage`` that gave the named ``reason`` (a StrEnum member's value)."""
        self.outcomes.labels(stage, reason).inc(n)

    def render(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
