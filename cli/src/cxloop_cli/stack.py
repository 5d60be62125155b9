"""Everything that one machine needs to run CX Loop: Kafka, PostgreSQL and the services, as one object.

`cxloop up` and `cxloop demo`, the fault runs and the benchmarks all start the product through `Stack`.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from cxloop_embedded import (
    LOOPBACK,
    EmbeddedError,
    EmbeddedKafka,
    EmbeddedPostgres,
    ServiceSpec,
    ServiceState,
    StoredPorts,
    Supervisor,
    hold,
    last_lines,
    require,
)

SERVICES = ("ingest", "scoring", "journey", "alerting")
PORT_BASE = 8101
READY_WITHIN_S = 90.0
POLL_S = 0.1

OURS_ALONE = ("CXLOOP_CACHE_DIR", "CXLOOP_DATA_DIR", "CXLOOP_MAVEN_URL")
"""Variables that mean nothing to a service, which would refuse to start for them as for a misspelt one."""

Report = Callable[[str], None]
"""Called with one line of progress."""


class StackError(EmbeddedError):
    """The services could not be brought up; the message holds what they said."""


def default_ports(base: int = PORT_BASE, services: Sequence[str] = SERVICES) -> dict[str, int]:
    """Ports in the order of the services, from `base` on."""
    return {service: base + index for index, service in enumerate(services)}


class Stack:
    """Kafka, PostgreSQL and services that run together, with their data in one folder.

    Kafka and PostgreSQL are embedded ones unless `kafka_bootstrap` or `database_url` name others. Every
    service runs as `python -m cxloop_<service> --role all` and is started again when it dies. Everything
    ends with this process, and what a killed run left behind is ended at start.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        services: Sequence[str] = SERVICES,
        ports: Mapping[str, int] | None = None,
        env: Mapping[str, str] | None = None,
        kafka_bootstrap: str | None = None,
        database_url: str | None = None,
        fresh: bool = False,
        ready_within_s: float = READY_WITHIN_S,
        report: Report = lambda _line: None,
    ) -> None:
        """Describe a stack; nothing is started or written yet.

        `ports` by service; without it free ones are chosen once and kept with the data. `env` goes to the
        services on top of our own environment. `fresh` deletes the data of earlier runs first;
        `ready_within_s` bounds the wait for the services.
        """
        self.data_dir = data_dir.expanduser().resolve()
        self.services = tuple(services)
        self.kafka = None if kafka_bootstrap else EmbeddedKafka(self.data_dir / "kafka")
        self.postgres = None if database_url else EmbeddedPostgres(self.data_dir / "postgres")
        self.ports: dict[str, int] = dict(ports or {})
        self.ready_s = 0.0
        self.token = ""
        self.token_path = self.data_dir / "token"
        self.bootstrap = kafka_bootstrap or ""
        self.database_url = database_url or ""
        self._fixed_ports = ports is not None
        self._env = dict(env or {})
        self._fresh = fresh
        self._ready_within_s = ready_within_s
        self._report = report
        self._running = contextlib.ExitStack()
        self._supervisor: Supervisor | None = None

    # What is where

    @property
    def urls(self) -> dict[str, str]:
        """Base address of each service."""
        return {name: f"http://{LOOPBACK}:{port}" for name, port in self.ports.items()}

    @property
    def headers(self) -> dict[str, str]:
        """What a call to a service's API carries."""
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of the services; raises StackError before `start`."""
        if self._supervisor is None:
            raise StackError("The services have not been started yet.")
        return self._supervisor

    def pid(self, service: str) -> int:
        """Pid of a service; changes when it is started again."""
        return self.supervisor.service_pid(service)

    def pids(self) -> dict[str, int | None]:
        """Pid of each service, None for one that is down at this moment."""
        return {status.name: status.pid for status in self.supervisor.statuses()}

    def logs(self) -> dict[str, Path]:
        """Log file of each service."""
        return {service: self.data_dir / "logs" / f"{service}.log" for service in self.services}

    # Life

    def start(self) -> Self:
        """Start everything and wait until every service says that it is ready.

        Raises the errors of cxloop_embedded, and StackError with the services' own words.
        """
        began = time.monotonic()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.monotonic() - began
        return self

    def stop(self) -> None:
        """Stop services, Kafka and PostgreSQL, in this order; nothing is left running."""
        self._running.close()
        self._supervisor = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Faults

    def kill(self, service: str) -> int:
        """SIGKILL a service and return the pid it had; the supervisor starts it again at once."""
        return self.supervisor.signal(service, signal.SIGKILL)

    def suspend(self, service: str) -> int:
        """SIGSTOP a service and return its pid."""
        return self.supervisor.signal(service, signal.SIGSTOP)

    def resume(self, service: str) -> int:
        """SIGCONT a service and return its pid."""
        return self.supervisor.signal(service, signal.SIGCONT)

    def stop_service(self, service: str) -> None:
        """Stop a service in good order and keep it down."""
        self.supervisor.stop_service(service)

    def start_service(self, service: str, *, ready_within_s: float = READY_WITHIN_S) -> None:
        """Start a service that was stopped, and wait until it is ready."""
        self.supervisor.start_service(service)
        self.wait_ready([service], within_s=ready_within_s)

    def wait_ready(self, services: Sequence[str] | None = None, *, within_s: float = READY_WITHIN_S) -> None:
        """Wait until `GET /readyz` of each service answers 200.

        Raises StackError, with the end of its log, for one that keeps dying or takes longer.
        """
        waiting = list(self.services if services is None else services)
        said: dict[str, str] = {}
        deadline = time.monotonic() + within_s
        with httpx.Client(timeout=2, trust_env=False) as client:
            while waiting:
                for service in list(waiting):
                    answer = _readiness(client, self.urls[service])
                    if answer is None:
                        waiting.remove(service)
                        self._report(f"{service} is ready on {self.urls[service]}")
                    else:
                        said[service] = answer
                if waiting:
                    self._refuse_given_up(waiting)
                    if time.monotonic() > deadline:
                        raise StackError(self._not_ready(waiting, said, within_s))
                    time.sleep(POLL_S)

    def _start(self) -> None:
        folder_lock = hold(self.data_dir, "stack")
        self._running.callback(folder_lock.release)
        supervisor = Supervisor(self.data_dir, ())
        if ended := supervisor.end_leftovers():
            self._report(f"Ended {len(ended)} processes that a killed run had left behind")
        if self._fresh:
            self._erase()
        self._choose_ports()
        if self.postgres is not None:
            self._running.callback(self.postgres.stop)
            self.database_url = self.postgres.start()
            self._report(f"PostgreSQL is ready after {self.postgres.ready_s:.1f} s")
        if self.kafka is not None:
            self._running.callback(self.kafka.stop)
            self.bootstrap = self.kafka.start()
            self._report(f"Kafka is ready on {self.bootstrap} after {self.kafka.ready_s:.1f} s")
        self._prepare_token()
        self._prepare_services()
        self._supervisor = Supervisor(self.data_dir, [self._spec(service) for service in self.services])
        self._running.callback(self._supervisor.stop)
        self._supervisor.start()
        self.wait_ready(within_s=self._ready_within_s)

    def _erase(self) -> None:
        if self.kafka is not None:
            self.kafka.erase()
        if self.postgres is not None:
            self.postgres.erase()
        for folder in ("logs", "run"):
            shutil.rmtree(self.data_dir / folder, ignore_errors=True)

    def _choose_ports(self) -> None:
        if not self._fixed_ports:
            stored = StoredPorts(self.data_dir / "ports.json")
            self.ports = {service: stored.pick(service) for service in self.services}
        for service in self.services:
            hint = "End that process, or move all services with --port-base."
            require(self.ports[service], purpose=service, hint=hint)

    def _prepare_token(self) -> None:
        """Make an admin token once, readable by its owner only, and the file that tells services of it."""
        if not self.token_path.exists():
            self.token_path.touch(mode=0o600)
            self.token_path.write_text(f"cxl_{secrets.token_urlsafe(32)}\n", encoding="utf-8")
        self.token = self.token_path.read_text(encoding="utf-8").strip()
        tokens = self.data_dir / "tokens.yaml"
        tokens.touch(mode=0o600)
        tokens.write_text(
            'tokens:\n  - name: admin\n    token_file: token\n    scopes: [admin]\n    sources: ["*"]\n',
            encoding="utf-8",
        )

    def _service_env(self) -> dict[str, str | None]:
        return {
            **dict.fromkeys(OURS_ALONE),
            "CXLOOP_KAFKA_BOOTSTRAP": self.bootstrap,
            "CXLOOP_DATABASE_URL": self.database_url,
            "CXLOOP_API_TOKENS_FILE": str(self.data_dir / "tokens.yaml"),
            **{f"CXLOOP_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
            **self._env,
        }

    def _spec(self, service: str) -> ServiceSpec:
        argv = [sys.executable, "-m", f"cxloop_{service}", "--role", "all"]
        return ServiceSpec(service, argv, env=self._service_env())

    def _prepare_services(self) -> None:
        """Create the topics and migrate every schema, side by side; raises StackError."""
        commands = {
            "creating the topics": ["-m", "cxloop_common.topics", "create"],
            **{
                f"migrating the schema of {name}": ["-m", f"cxloop_{name}", "--role", "migrate"]
                for name in self.services
            },
        }
        env = {**os.environ, **self._service_env()}
        given = {name: value for name, value in env.items() if value is not None}
        with contextlib.ExitStack() as running:
            started = {
                what: running.enter_context(
                    subprocess.Popen(  # noqa: S603 our own modules, no shell
                        [sys.executable, *arguments],
                        env=given,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                    )
                )
                for what, arguments in commands.items()
            }
            try:
                outputs = {what: process.communicate()[0] for what, process in started.items()}
            except BaseException:  # interrupted: leaving the block would wait for them
                for process in started.values():
                    process.kill()
                raise
        for what, process in started.items():
            if process.returncode != 0:
                said = _quoted(outputs[what].splitlines())
                raise StackError(f"Failed while {what} (exit code {process.returncode}).\n{said}")
        self._report("Topics and schemas are in place")

    def _refuse_given_up(self, waiting: Sequence[str]) -> None:
        for status in self.supervisor.statuses():
            if status.name in waiting and status.state is ServiceState.FATAL:
                lines = last_lines(self.logs()[status.name], 20)
                raise StackError(f"{status.name} died at every start.\n{_quoted(lines)}")

    def _not_ready(self, waiting: Sequence[str], said: Mapping[str, str], within_s: float) -> str:
        parts = [f"Not ready within {within_s:.0f} s: {', '.join(waiting)}."]
        for service in waiting:
            parts.append(f"{service} answered: {said[service]}\nThe end of {self.logs()[service]}:")
            parts.append(_quoted(last_lines(self.logs()[service], 20)))
        return "\n".join(parts)


def _readiness(client: httpx.Client, url: str) -> str | None:
    """None when the service is ready, else what it said."""
    try:
        answer = client.get(f"{url}/readyz")
    except httpx.HTTPError as error:
        return f"nothing ({type(error).__name__})"
    return None if answer.is_success else f"{answer.status_code} {answer.text[:500]}"


def _quoted(lines: list[str]) -> str:
    return "\n".join(f"  | {line}" for line in lines[-20:]) or "  | (it wrote nothing)"
