"""The services of `cxloop up` under supervisord: restarted when they die, stopped together.

supervisord does the work (see the README for why it and not circus); this module writes its configuration,
talks to it over its XML-RPC socket, and makes sure that nothing outlives it.
"""

import contextlib
import http.client
import json
import os
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import psutil
from supervisor import xmlrpc as supervisor_xmlrpc

from cxloop_embedded.child import (
    LAUNCHER,
    OWNER_VARIABLE,
    Child,
    Program,
    end_leftovers,
    last_lines,
    owner_of,
)
from cxloop_embedded.errors import NotRunningError, SupervisorStartError

GROUP = "cxloop"
STOP_WITHIN_S = 15
START_TRIES = 20
"""supervisord waits 1, 2, 3 ... s between tries: 20 of them take 3.5 minutes, then it gives up (FATAL)."""

READY_WITHIN_S = 20.0
SOCKET_PATH_LIMIT = 85
"""bytes; macOS allows 104, and supervisord binds a longer name first."""

CONFIGURATION = """\
[supervisord]
nodaemon = true
silent = true
logfile = supervisor.log
logfile_maxbytes = 5MB
logfile_backups = 1
loglevel = info
pidfile = supervisor.pid
childlogdir = .
{user}
[unix_http_server]
file = {socket}
chmod = 0700
username = cxloop
password = {password}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[group:{group}]
programs = {names}
"""

PROGRAM = """
[program:{name}]
command = {command}
autostart = false
autorestart = true
startsecs = 1
startretries = {tries}
stopsignal = TERM
stopwaitsecs = {stop_within_s}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 2
"""


class ServiceState(StrEnum):
    """What supervisord says of a service."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    """It died within a second of its start, and is tried again after a pause."""
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    """It died at every one of the tries; it stays down."""
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class ServiceSpec:
    """One service to run; `env` goes on top of our own environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    """None removes a variable."""
    cwd: Path | None = None


@dataclass(frozen=True)
class ServiceStatus:
    """One service at one moment."""

    name: str
    state: ServiceState
    pid: int | None


class Supervisor:
    """Runs services until `stop`, each with a log file of its own in `folder`/logs.

    A service that dies is started again, at once if it had been up for a second, else after a growing
    pause. All of them end when this process does; what a killed run left behind is ended at `start`.
    """

    def __init__(
        self, folder: Path, services: Sequence[ServiceSpec], *, stop_within_s: int = STOP_WITHIN_S
    ) -> None:
        """Describe the services; nothing is started or written yet.

        `stop_within_s` is how long a service may take to end before it is killed.
        """
        self._stop_within_s = stop_within_s
        self.folder = folder.expanduser().resolve()
        self.services = tuple(services)
        self._owner = owner_of("services", self.folder)
        self._run = self.folder / "run"
        self._logs = self.folder / "logs"
        self._child: Child | None = None
        self._socket_folder: Path | None = None
        self._address: tuple[str, str] | None = None

    @property
    def pid(self) -> int:
        """Pid of supervisord itself."""
        if self._child is None or not self._child.running:
            raise NotRunningError("The supervisor is not running.")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether supervisord is there."""
        return self._child is not None and self._child.running

    def log(self, name: str) -> Path:
        """Where a service's output goes."""
        return self._logs / f"{name}.log"

    def start(self) -> None:
        """Start supervisord and then every service; raises SupervisorStartError.

        Returns when the services' processes have been asked for, not when they are ready.
        """
        try:
            self._start_idle()
            for service in self.services:
                self.start_service(service.name)
        except BaseException:
            self.stop()
            raise

    def end_leftovers(self) -> list[int]:
        """End what a killed run left behind (`start` does it too), and return the pids."""
        return end_leftovers(self._owner)

    def _start_idle(self) -> None:
        """Start supervisord with every service still stopped."""
        end_leftovers(self._owner)
        for path in (self._run, self._logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        configuration, socket, password = self._write_configuration()
        log = self._run / "supervisor.out"
        self._child = Child(
            Program(
                name="supervisor",
                argv=[sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration)],
                cwd=self._run,
                log=log,
                owner=self._owner,
                env={},
                grace_s=self._stop_within_s + 5.0,
            )
        )
        self._address = (password, f"unix://{socket}")
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
                self._call("getState")
                return
            if not self._child.running or time.monotonic() > deadline:
                raise SupervisorStartError(
                    "The supervisor did not start.",
                    log=self._run / "supervisor.log",
                    lines=last_lines(self._run / "supervisor.log", 10) + self._child.last_lines(),
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop everything: SIGTERM, SIGKILL after `stop_within_s`, and then whatever is left of the process groups."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        end_leftovers(self._owner, grace_s=1.0)
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_folder = None

    def statuses(self) -> list[ServiceStatus]:
        """Every service's state and pid, in the order they were given."""
        by_name = {
            info["name"]: info for info in cast("list[dict[str, Any]]", self._call("getAllProcessInfo"))
        }
        return [
            ServiceStatus(
                name=service.name,
                state=ServiceState(by_name[service.name]["statename"]),
                pid=by_name[service.name]["pid"] or None,
            )
            for service in self.services
        ]

    def status(self, name: str) -> ServiceStatus:
        """One service's state and pid; raises NotRunningError for a name that is not ours."""
        for status in self.statuses():
            if status.name == name:
                return status
        names = ", ".join(service.name for service in self.services)
        raise NotRunningError(f"There is no service {name!r} here, only {names}.")

    def service_pid(self, name: str) -> int:
        """Pid of a service; raises NotRunningError while it has none."""
        pid = self.status(name).pid
        if pid is None:
            raise NotRunningError(f"{name} is not running.")
        return pid

    def start_service(self, name: str) -> None:
        """Start a service that was stopped or has been given up; returns at once."""
        try:
            wait = False
            self._call("startProcess", f"{GROUP}:{name}", wait)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise NotRunningError(f"{name} could not be started: {fault.faultString}") from fault
            return
        self._await_exec(name)

    def _await_exec(self, name: str) -> None:
        """Wait until the new process is more than a fork of supervisord.

        A SIGTERM in that moment would be caught by supervisord's own handler and lost, and a stop right
        after a start would take until SIGKILL.
        """
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.status(name).pid or 0)
            supervisor = psutil.Process(self.pid).cmdline()
            while process.cmdline() == supervisor:
                time.sleep(0.002)

    def stop_service(self, name: str) -> None:
        """Stop a service and keep it stopped; returns when it has ended."""
        try:
            wait = True
            self._call("stopProcess", f"{GROUP}:{name}", wait)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString:
                raise NotRunningError(f"{name} could not be stopped: {fault.faultString}") from fault

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a service and return the pid it went to.

        After SIGKILL it returns once that process is gone; the supervisor then starts another.
        """
        pid = self.service_pid(name)
        try:
            process = psutil.Process(pid)
            process.send_signal(number)
            if number is signal.SIGKILL:
                process.wait(10)
        except psutil.NoSuchProcess as error:
            raise NotRunningError(f"{name} is not running.") from error
        return pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _call(self, method: str, *arguments: object) -> object:
        if self._address is None:
            raise NotRunningError("The supervisor is not running.")
        # A connection for each call: its transport cannot be used again after an error, nor by two threads.
        transport = cast(
            "xmlrpc.client.Transport", supervisor_xmlrpc.SupervisorTransport("cxloop", *self._address)
        )
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(cast("Any", server).supervisor, method)(*arguments)

    def _write_configuration(self) -> tuple[Path, Path, str]:
        socket = self._run / "supervisor.sock"
        if len(os.fsencode(socket)) > SOCKET_PATH_LIMIT:
            self._socket_folder = Path(tempfile.mkdtemp(prefix="cxloop-"))
            socket = self._socket_folder / "supervisor.sock"
        password = secrets.token_hex(16)
        text = CONFIGURATION.format(
            socket=_literal(socket.name if socket.parent == self._run else socket),
            password=password,
            group=GROUP,
            names=",".join(service.name for service in self.services),
            # Says that root is meant; without it supervisord warns at every start.
            user="user = root\n" if os.geteuid() == 0 else "",
        )
        for service in self.services:
            # Environment and arguments go by file: supervisord's own quoting cannot carry every value, and
            # the file can be closed to others.
            spec = self._run / f"{service.name}.json"
            spec.touch(mode=0o600)
            spec.write_text(
                json.dumps(
                    {
                        "argv": list(service.argv),
                        "cwd": str(service.cwd or Path.cwd()),
                        "env": {**service.env, OWNER_VARIABLE: self._owner},
                    }
                ),
                encoding="utf-8",
            )
            command = shlex.join([sys.executable, "-I", "-S", str(LAUNCHER), "exec", spec.name])
            text += PROGRAM.format(
                name=service.name,
                command=_literal(command),
                tries=START_TRIES,
                stop_within_s=self._stop_within_s,
                log=_literal(f"../logs/{service.name}.log"),
            )
        path = self._run / "supervisor.conf"
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return path, socket, password


def _literal(value: str | Path) -> str:
    """Write a value for supervisord's configuration, where % means something.

    So do ; and # after a space, without any way to escape them: paths are relative to the working folder,
    which may be called anything.
    """
    return str(value).replace("%", "%%")
