"""Starts one program so that it never outlives whoever asked for it.

Run as a script with nothing but the standard library (`python -I -S launcher.py ...`), in two ways:

`guard SPEC`
    Start the program and stay beside it. Standard input is a pipe from the owner: each byte is a
    command (below), and its end means that the owner is gone, however it went, SIGKILL included; the
    program is then stopped. The program's pid goes to standard output, and its exit code becomes ours.
    A pipe, and not the kernel's parent-death signal alone: that one fires when the *thread* that
    started the child ends, and does not exist on macOS.

`exec FILE`
    Become the program: same pid, so that a process manager sees the real one. On Linux the kernel
    ends it when that process manager dies; elsewhere the next start finds and ends it.

SPEC (and the content of FILE) is a JSON object: argv, cwd, env (added to ours; under exec null removes a
variable), and for guard also log (a path), stop_signal (a number), grace_s, uid, gid.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

STOP, KILL, SUSPEND, RESUME = b"t", b"k", b"s", b"c"

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: int, parent: int) -> None:
    """Ask the kernel to send us signal `number` when `parent` dies; nothing where it cannot."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died between our fork and the line above
        os.kill(os.getpid(), number)


def become(spec: dict[str, Any]) -> None:
    """Replace this process by the program of `spec`; returns never."""
    argv = cast("list[str]", spec["argv"])
    os.chdir(spec["cwd"])
    for name, value in cast("dict[str, str | None]", spec["env"]).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    die_with_parent(signal.SIGTERM, os.getppid())
    os.execvp(argv[0], argv)  # noqa: S606 the point of this function: no shell, same pid


def _in_child(number: int, parent: int) -> Callable[[], None]:
    def run() -> None:
        # After setuid: changing the user clears the parent-death signal.
        die_with_parent(number, parent)

    return run


def _noticed(_number: int, _frame: object) -> None:
    """Do nothing: the wakeup descriptor carries the news."""


class Guard:
    """The program of a spec, and the loop beside it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Start the program and write its pid to standard output."""
        self._stop_signal = int(spec["stop_signal"])
        self._grace_s = float(spec["grace_s"])
        self._stopping_since: float | None = None
        self._owner: list[int] = [sys.stdin.fileno()]
        self._wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for caught in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(caught, _noticed)
        self._child = self._start(spec)
        sys.stdout.write(f"{self._child.pid}\n")
        sys.stdout.close()

    def _start(self, spec: dict[str, Any]) -> "subprocess.Popen[Any]":
        log = os.open(spec["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        user: dict[str, Any] = {}
        if spec["uid"] is not None:
            user = {"user": spec["uid"], "group": spec["gid"], "extra_groups": []}
        try:
            return subprocess.Popen(  # noqa: S603 argv comes from our owner, over no trust boundary
                cast("list[str]", spec["argv"]),
                cwd=spec["cwd"],
                env={**os.environ, **spec["env"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_in_child(self._stop_signal, os.getpid()),  # noqa: PLW1509 we have one thread
                **user,
            )
        except OSError as error:
            os.write(log, f"{spec['argv'][0]} could not be started: {error}\n".encode())
            raise SystemExit(127) from error
        finally:
            os.close(log)

    def run(self) -> int:
        """Wait for the program to end, or end it when told so or alone; return its exit code."""
        while self._child.poll() is None:
            timeout = None
            if self._stopping_since is not None:
                timeout = max(0.0, self._stopping_since + self._grace_s - time.monotonic())
                if timeout == 0:
                    self._child.kill()
            for command in self._commands(timeout):
                self._obey(bytes([command]))
        # Whatever it started and left behind in its own group goes with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        code = self._child.returncode
        return code if code >= 0 else 128 - code

    def _commands(self, timeout: float | None) -> bytes:
        readable, _, _ = select.select([*self._owner, self._wake], [], [], timeout)
        commands = b""
        if self._wake in readable:
            caught = set(os.read(self._wake, 64))
            if caught & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
                commands += STOP
        if self._owner and self._owner[0] in readable:
            received = os.read(self._owner[0], 16)
            if not received:  # the owner is gone
                self._owner = []
            commands += received or STOP
        return commands

    def _obey(self, command: bytes) -> None:
        if command == STOP and self._stopping_since is None:
            self._child.send_signal(signal.SIGCONT)  # a suspended program cannot end
            self._child.send_signal(self._stop_signal)
            self._stopping_since = time.monotonic()
        elif command == KILL:
            self._child.kill()
        elif command == SUSPEND:
            self._child.send_signal(signal.SIGSTOP)
        elif command == RESUME:
            self._child.send_signal(signal.SIGCONT)


def main() -> int:
    """Run `guard` or `exec`, as the first argument says."""
    way, argument = sys.argv[1:]
    if way == "exec":
        become(json.loads(Path(argument).read_text(encoding="utf-8")))
    return Guard(json.loads(argument)).run()


if __name__ == "__main__":
    sys.exit(main())
