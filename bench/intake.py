"""Intake over HTTP with signature check and durable append to Kafka, beside a bare application that stores nothing.

Both run as one process under the same server, pinned to one CPU, and get the same signed bodies over the same
number of keep-alive connections, in turns: peer, ours, peer, ours. Each pair gives one ratio.
"""

import itertools
import json
import secrets
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench import load
from bench.backends import Backends, backends
from bench.processes import (
    BenchError,
    answers,
    cpu_seconds,
    own_cpu_seconds,
    python,
    run,
    running_on,
    split_cpus,
    started,
    wait_until,
)
from bench.report import Figure, Result, Target
from cxloop_common.topics import DELIVERIES
from cxloop_embedded.ports import choose
from cxloop_ingest.domain.signatures import Credentials, Scheme, key_of, sign

SOURCES_YAML = """\
sources:
  zendesk:
    sender: zendesk
    verify:
      secrets: [{env: CXLOOP_SECRET_BENCH}]
"""
PATH = "/webhooks/zendesk"
CONNECTIONS = 64
BODY_BYTES = 1024
TARGET = 0.8


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    pairs: int = 7
    seconds: float = 4.0
    bodies: int = 20_000


QUICK = Plan(pairs=1, seconds=1.0, bodies=2_000)


@dataclass(frozen=True)
class _Server:
    """An application that listens."""

    port: int
    pid: int


@dataclass
class _Found:
    """What the rounds against one application found."""

    rates: list[float] = field(default_factory=list[float])
    cpu_us: list[float] = field(default_factory=list[float])
    kafka_us: list[float] = field(default_factory=list[float])
    client_us: list[float] = field(default_factory=list[float])
    p50_ms: list[float] = field(default_factory=list[float])
    p99_ms: list[float] = field(default_factory=list[float])
    accepted: int = 0


def measure(plan: Plan | None = None) -> Result:
    """Run the benchmark. Raises BenchError."""
    plan = plan or Plan()
    cpus = split_cpus()
    secret = secrets.token_hex(16)
    with ExitStack() as running:
        running.enter_context(running_on(cpus.rest))
        here = running.enter_context(backends())
        ours = running.enter_context(_ingest(here, secret, cpus.tested))
        peer = running.enter_context(_bare(here, secret, cpus.tested))
        messages = itertools.cycle(_signed(secret, plan.bodies))
        for server in (peer, ours):  # warm: connections, caches, the broker's compiler
            _round(server, here, messages, plan.seconds, _Found())
        before = here.broker.log_end(DELIVERIES.name)
        bare, durable = _Found(), _Found()
        for _ in range(plan.pairs):
            _round(peer, here, messages, plan.seconds, bare)
            _round(ours, here, messages, plan.seconds, durable)
        stored = here.broker.log_end(DELIVERIES.name) - before
    if stored < durable.accepted:
        raise BenchError(f"{durable.accepted} deliveries were accepted, and only {stored} stand in the log")
    ratios = [a / b for a, b in zip(durable.rates, bare.rates, strict=True)]
    ratio = Figure("ingest / bare application", "", ratios)
    return Result(
        "intake",
        f"POST of 1 kB signed bodies, {CONNECTIONS} connections, {plan.pairs} pairs of {plan.seconds:g} s",
        [
            Figure("bare Starlette, HMAC, msgspec: stores nothing", "requests/s", bare.rates),
            Figure("ingest: durable in Kafka (acks=all)", "requests/s", durable.rates),
            ratio,
            Figure("bare application, CPU", "us/request", bare.cpu_us),
            Figure("ingest, CPU", "us/request", durable.cpu_us),
            Figure("Kafka, CPU", "us/request", durable.kafka_us),
            Figure("load generator, CPU", "us/request", durable.client_us),
            Figure("bare application, p50", "ms", bare.p50_ms),
            Figure("bare application, p99", "ms", bare.p99_ms),
            Figure("ingest, p50", "ms", durable.p50_ms),
            Figure("ingest, p99", "ms", durable.p99_ms),
        ],
        [Target(ratio, "at least", TARGET)],
        [cpus.sentence, f"{durable.accepted:,} deliveries were accepted; all of them stand in the log."],
    )


def _round(server: _Server, here: Backends, messages: Iterator[bytes], seconds: float, found: _Found) -> None:
    marks = cpu_seconds(server.pid), cpu_seconds(here.kafka.pid), own_cpu_seconds()
    done = load.run_loop(load.saturate(server.port, messages, connections=CONNECTIONS, seconds=seconds))
    used = cpu_seconds(server.pid), cpu_seconds(here.kafka.pid), own_cpu_seconds()
    if done.refused or not done.latencies_s:
        raise BenchError(f"port {server.port} did not accept everything: {done.refused}")
    count = len(done.latencies_s)
    found.accepted += count
    found.rates.append(done.per_second)
    for figures, before, after in zip(
        (found.cpu_us, found.kafka_us, found.client_us), marks, used, strict=True
    ):
        figures.append((after - before) / count * 1e6)
    found.p50_ms.append(done.quantile_ms(0.5))
    found.p99_ms.append(done.quantile_ms(0.99))


def _signed(secret: str, count: int) -> list[bytes]:
    """Make ticket webhooks of some 1 kB, each its own, signed as Zendesk signs."""
    credentials = Credentials(Scheme.ZENDESK, (key_of(Scheme.ZENDESK, secret),))
    now = datetime.now(UTC)
    messages: list[bytes] = []
    for number in range(count):
        document = {
            "account_id": 4201,
            "id": f"01BENCH{number:019d}",
            "type": "zen:event-type:ticket.status_changed",
            "subject": f"zen:ticket:{number}",
            "time": now.isoformat(),
            "zendesk_event_version": "2022-11-06",
            "event": {"current": "SOLVED", "previous": "OPEN"},
            "detail": {
                "id": str(number),
                "requester_id": str(700_000 + number),
                "assignee_id": str(number % 60),
                "group_id": str(number % 8),
                "status": "SOLVED",
                "tags": ["billing", "renewal"],
                "description": "",
            },
        }
        short = BODY_BYTES - len(json.dumps(document))
        document["detail"]["description"] = "x" * short  # pyright: ignore[reportIndexIssue]
        body = json.dumps(document).encode()
        headers = {"Content-Type": "application/json", **sign(credentials, body, now)}
        messages.append(load.request(PATH, headers, body))
    return messages


@contextmanager
def _ingest(here: Backends, secret: str, cpus: frozenset[int] | None) -> Generator[_Server]:
    """Run ingest in the api role: in production the normaliser is a process of its own."""
    sources = here.folder / "sources.yaml"
    sources.write_text(SOURCES_YAML, encoding="utf-8")
    port = choose(purpose="ingest")
    env = {
        **here.environment(),
        "CXLOOP_INGEST_PORT": str(port),
        "CXLOOP_INGEST_SOURCES_FILE": str(sources),
        "CXLOOP_SECRET_BENCH": secret,
    }
    run(python("-m", "cxloop_ingest", "--role", "migrate"), env=env)
    log = here.folder / "ingest.log"
    with started(python("-m", "cxloop_ingest", "--role", "api"), env=env, log=log, cpus=cpus) as process:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "ingest", process=process, log=log)
        yield _Server(port, process.pid)


@contextmanager
def _bare(here: Backends, secret: str, cpus: frozenset[int] | None) -> Generator[_Server]:
    port = choose(purpose="the bare application")
    log = here.folder / "bare.log"
    command = python("-m", "bench.intake_peer", str(port))
    with started(command, env={"BENCH_SECRET": secret}, log=log, cpus=cpus) as process:
        wait_until(
            lambda: answers(f"http://127.0.0.1:{port}/healthz"),
            "the bare application",
            process=process,
            log=log,
        )
        yield _Server(port, process.pid)
