"""One run at a time in a data folder."""

import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

from cxloop_embedded.errors import FolderInUseError


def hold(folder: Path, name: str) -> FileLock:
    """Take `folder` for this process; raises FolderInUseError naming the process that has it.

    The lock is the kernel's and goes with its process, so one of a killed run is never in the way. The
    pid beside it is only there to be named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pid_path = folder / f".{name}.pid"
    lock = FileLock(folder / f".{name}.lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        pid: int | None = None
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_path.read_text(encoding="utf-8"))
        raise FolderInUseError(folder=folder, pid=pid) from error
    pid_path.write_text(f"{os.getpid()}\n", encoding="utf-8")
    return lock
