"""Processes under measurement: started on chosen CPUs, their CPU time and memory read, and ended again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

OURS = "CXLOOP_"
"""Variables that the caller's environment may hold for other purposes; a measured process gets only ours."""

STOP_WITHIN_S = 20.0
READY_WITHIN_S = 60.0
MIB = 1024 * 1024


class BenchError(Exception):
    """A benchmark could not be run; the message says which part failed and what it said."""


@dataclass(frozen=True)
class Cpus:
    """CPUs of the process under test, and of everything else; None leaves both to the system."""

    tested: frozenset[int] | None
    rest: frozenset[int] | None

    @property
    def sentence(self) -> str:
        """Say where things run."""
        if self.tested is None:
            return "CPUs are not pinned on this system."
        return (
            "Pinned: the server under test has one CPU, load generator, Kafka and PostgreSQL have the rest."
        )


def split_cpus() -> Cpus:
    """Give one CPU to the process under test, where there are two or more and the system can pin."""
    if not hasattr(os, "sched_getaffinity"):
        return Cpus(None, None)
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:  # noqa: PLR2004 one for each side
        return Cpus(None, None)
    return Cpus(frozenset(usable[:1]), frozenset(usable[1:]))


@contextmanager
def running_on(cpus: frozenset[int] | None) -> Generator[None]:
    """Pin this process, and what it starts meanwhile, to CPUs."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def python(*arguments: str) -> list[str]:
    """Give the command that runs a module of ours."""
    return [sys.executable, *arguments]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Give the caller's environment without its settings for CX Loop, and with `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**inherited, **extra}


@contextmanager
def started(
    command: Sequence[str], *, env: Mapping[str, str], log: Path, cpus: frozenset[int] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run a command, its output in `log`; it is ended on leaving, by force if need be."""
    with running_on(cpus), log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment(env), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process we started: SIGTERM, then SIGKILL."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(command: Sequence[str], *, env: Mapping[str, str]) -> None:
    """Run a command to its end. Raises BenchError with what it said."""
    done = subprocess.run(command, env=environment(env), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise BenchError(f"{' '.join(command[1:])} ended with {done.returncode}:\n{said}")


def wait_until(
    happened: Callable[[], bool],
    what: str,
    *,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
    within_s: float = READY_WITHIN_S,
    every_s: float = 0.05,
) -> None:
    """Wait for something. Raises BenchError, with the end of the log, when time is up or the process ended."""
    deadline = time.monotonic() + within_s
    while not happened():
        gone = process is not None and process.poll() is not None
        if gone or time.monotonic() > deadline:
            tail = "" if log is None else "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise BenchError(
                f"{what}: {'the process ended' if gone else f'not within {within_s:.0f} s'}{tail}"
            )
        time.sleep(every_s)


def answers(url: str) -> bool:
    """Whether a GET is answered 200."""
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """Give the CPU time a process has used, with its children's, the ended ones included, if asked."""
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        used = times.user + times.system
        if with_children:
            used += times.children_user + times.children_system
            used += sum(cpu_seconds(child.pid) for child in process.children())
    except psutil.NoSuchProcess:
        return 0.0
    return used


def own_cpu_seconds() -> float:
    """Give the CPU time that this process has used itself."""
    return time.process_time()


def memory_mib(pids: Iterable[int]) -> float:
    """Give the memory of processes in MiB; pages they share are counted once (PSS), where the system tells."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            full = psutil.Process(pid).memory_full_info()
            total += getattr(full, "pss", full.rss)
    return total / MIB


def tree(pid: int) -> list[int]:
    """Give a process and its descendants."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
