"""A child process that does not outlive us, and the search for those of a run that was killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from cxloop_embedded import launcher
from cxloop_embedded.errors import NotRunningError

OWNER_VARIABLE = "_CXLOOP_OWNER"
"""Environment variable of every process we start: which data folder it works for.

This is the proof that a leftover is ours. A pid alone is none (they are used again), and a command line
can be anyone's. The leading underscore keeps it out of the services' check for misspelt settings.
"""

LAUNCHER = Path(launcher.__file__)
LOG_LIMIT_BYTES = 20 * 1024 * 1024


class User(NamedTuple):
    """The operating system's user to run as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    """What to run, and how to end it."""

    name: str
    argv: Sequence[str]
    cwd: Path
    log: Path
    owner: str
    env: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 15.0
    user: User | None = None


def owner_of(kind: str, folder: Path) -> str:
    """Return the mark of processes of one kind that work for `folder`."""
    return f"{kind}:{folder.resolve()}"


class Child:
    """A running program, guarded by a launcher that ends it when we die (see `launcher`)."""

    def __init__(self, program: Program) -> None:
        """Start the program; raises OSError where the launcher itself cannot be started."""
        self.program = program
        program.log.parent.mkdir(parents=True, exist_ok=True)
        if program.log.exists() and program.log.stat().st_size > LOG_LIMIT_BYTES:
            program.log.replace(program.log.with_suffix(program.log.suffix + ".1"))
        spec = {
            "argv": list(program.argv),
            "cwd": str(program.cwd),
            "env": {**program.env, OWNER_VARIABLE: program.owner},
            "log": str(program.log),
            "stop_signal": int(program.stop_signal),
            "grace_s": program.grace_s,
            "uid": program.user.uid if program.user else None,
            "gid": program.user.gid if program.user else None,
        }
        self._log_start = program.log.stat().st_size if program.log.exists() else 0
        self._guard = subprocess.Popen(  # noqa: S603 our own interpreter and script
            [sys.executable, "-I", "-S", str(LAUNCHER), "guard", json.dumps(spec)],
            env={**os.environ, OWNER_VARIABLE: program.owner},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        if self._guard.stdout is None or self._guard.stdin is None:
            raise AssertionError
        line = self._guard.stdout.readline()
        self._guard.stdout.close()
        self._process: psutil.Process | None = None
        if line:
            with contextlib.suppress(psutil.NoSuchProcess):  # it may be gone already
                self._process = psutil.Process(int(line))

    @property
    def pid(self) -> int:
        """The program's own pid, not the launcher's."""
        if self._process is None:
            raise NotRunningError(f"{self.program.name} ended before it could be looked at.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program is there (a suspended one is)."""
        return self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit code of the program, 128 + n after signal n; None while it runs."""
        return self._guard.poll()

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the program and its own children, shared pages counted in each."""
        if self._process is None or not self.running:
            return 0
        total = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def stop(self) -> None:
        """Ask the program to end; the launcher kills it after the grace time. Returns when it is gone."""
        self._send(launcher.STOP)
        self._wait()

    def kill(self) -> None:
        """SIGKILL. Returns when the program, and what it started, is gone."""
        self._send(launcher.KILL)
        self._wait()

    def suspend(self) -> None:
        """SIGSTOP: alive, holding its sockets, answering nothing. Returns when it stands still."""
        self._send(launcher.SUSPEND)
        self._await_status(stopped=True)

    def resume(self) -> None:
        """SIGCONT. Returns when the program moves again."""
        self._send(launcher.RESUME)
        self._await_status(stopped=False)

    def last_lines(self, count: int = 15) -> list[str]:
        """Return the last lines that this run of the program wrote to its log."""
        return last_lines(self.program.log, count, start=self._log_start)

    def _send(self, command: bytes) -> None:
        if self._guard.stdin is None or not self.running:
            return
        with contextlib.suppress(BrokenPipeError):  # it ended at this very moment
            os.write(self._guard.stdin.fileno(), command)

    def _await_status(self, *, stopped: bool) -> None:
        while self.running and self._process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                if (self._process.status() == psutil.STATUS_STOPPED) == stopped:
                    return
            time.sleep(0.005)
        raise NotRunningError(f"{self.program.name} is not running.")

    def _wait(self) -> None:
        descendants: list[psutil.Process] = []
        if self._process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                descendants = [self._process, *self._process.children(recursive=True)]
        self._guard.wait(self.program.grace_s + 10)
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        # The guard can be killed on its own; the program then still needs a moment.
        _, alive = psutil.wait_procs(descendants, timeout=10)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def last_lines(path: Path, count: int, *, start: int = 0) -> list[str]:
    """Return the last `count` lines that are not empty, of a log's part from `start` bytes on."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start if start <= size else 0, size - 64 * 1024))
        text = file.read().decode("utf-8", "replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]


def leftovers(owner: str) -> list[psutil.Process]:
    """Find processes of an earlier run that carry the mark `owner`, never one of this process's own line."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        # Others' environments are not ours to read, and a process without one cannot be shown to be ours.
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in mine and process.environ().get(OWNER_VARIABLE) == owner:
                found.append(process)
    return found


def end_leftovers(
    owner: str, *, stop_signal: signal.Signals = signal.SIGTERM, grace_s: float = 10.0
) -> list[int]:
    """End what an earlier run left behind, and return the pids; asks first, kills after `grace_s`."""
    pids: list[int] = []
    deadline = time.monotonic() + grace_s
    while found := leftovers(owner):
        pids += [process.pid for process in found if process.pid not in pids]
        kill = time.monotonic() >= deadline
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL if kill else stop_signal)
                process.send_signal(signal.SIGCONT)  # a suspended one cannot end
        _, alive = psutil.wait_procs(found, timeout=max(1.0, deadline - time.monotonic()))
        if kill and alive:
            break  # in the kernel's hands: nothing more can be done from here
    return pids
