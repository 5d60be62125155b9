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

SPEC (and the content of FILE) is a JSON object: argv, cwd, env (added to ours), and for guard also
log (a path), stop_signal (a number), grace_s, uid, gid.
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
    os.environ.update(cast("dict[str, str]", spec["env"]))
    die_with_parent(signal.SIGTERM, os.getppid())
    os.execvp(argv[0], argv)  # noqa: S606 the point of this function: no shell, same pid


def _in_child(number: int, parent: int) -> Callable[[], None]:
    def run() -> None:
        # After setuid: changing the user clears the parent-death signal.
        die_with_parent(number, parent)

    return run


def guard(spec: dict[str, Any]) -> int:
    """Run the program of `spec` until it ends or its owner does; return its exit code."""
    number = int(spec["stop_signal"])
    argv = cast("list[str]", spec["argv"])
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_w, False)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    for caught in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(caught, lambda *_: None)

    log_fd = os.open(spec["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    user: dict[str, Any] = {}
    if spec.get("uid") is not None:
        user = {"user": spec["uid"], "group": spec["gid"], "extra_groups": []}
    child = subprocess.Popen(  # noqa: S603 argv comes from our owner, over no trust boundary
        argv,
        cwd=spec["cwd"],
        env={**os.environ, **spec["env"]},
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        start_new_session=True,
        preexec_fn=_in_child(number, os.getpid()),  # noqa: PLW1509 this process has one thread
        **user,
    )
    os.close(log_fd)
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.close()

    stopping_since: float | None = None
    owner: list[int] = [sys.stdin.fileno()]
    while child.poll() is None:
        timeout = None
        if stopping_since is not None:
            timeout = max(0.0, stopping_since + float(spec["grace_s"]) - time.monotonic())
            if timeout == 0:
                child.kill()
        readable, _, _ = select.select([*owner, wake_r], [], [], timeout)
        commands = b""
        if wake_r in readable:
            caught = set(os.read(wake_r, 64))
            if caught & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
                commands += STOP
        if owner and owner[0] in readable:
            received = os.read(owner[0], 16)
            if not received:
                owner = []
            commands += received or STOP
        for command in (bytes([byte]) for byte in commands):
            if command == STOP and stopping_since is None:
                child.send_signal(signal.SIGCONT)
                child.send_signal(number)
                stopping_since = time.monotonic()
            elif command == KILL:
                child.kill()
            elif command == SUSPEND:
                child.send_signal(signal.SIGSTOP)
            elif command == RESUME:
                child.send_signal(signal.SIGCONT)
    # Whatever it started and left behind in its own group goes with it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    code = child.returncode
    return code if code >= 0 else 128 - code


def main() -> int:
    """Run `guard` or `exec`, as the first argument says."""
    way, argument = sys.argv[1:]
    if way == "exec":
        become(json.loads(Path(argument).read_text(encoding="utf-8")))
    return guard(json.loads(argument))


if __name__ == "__main__":
    sys.exit(main())
