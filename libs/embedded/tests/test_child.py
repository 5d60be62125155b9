import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from embedded_harness import eventually, gone, write_script

from cxloop_embedded.child import OWNER_VARIABLE, Child, Program, end_leftovers, leftovers, owner_of
from cxloop_embedded.errors import FolderInUseError, NotRunningError
from cxloop_embedded.folder import hold

SLEEPER = "import time\nprint('awake', flush=True)\nwhile True:\n    time.sleep(60)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER


def program(folder: Path, text: str = SLEEPER, *, grace_s: float = 5.0) -> Program:
    script = write_script(folder, "program.py", text)
    return Program(
        name="program",
        argv=[sys.executable, str(script)],
        cwd=folder,
        log=folder / "program.log",
        owner=owner_of("test", folder),
        env={},
        grace_s=grace_s,
    )


def awake(folder: Path) -> bool:
    log = folder / "program.log"
    return log.exists() and "awake" in log.read_text(encoding="utf-8")


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace_time(tmp_path: Path) -> None:
    child = Child(program(tmp_path, STUBBORN, grace_s=0.3))
    assert eventually(lambda: awake(tmp_path))
    pid = child.pid
    child.stop()
    assert gone(pid)
    assert child.exit_code == 128 + signal.SIGKILL


def test_a_suspended_program_can_be_resumed_and_stopped(tmp_path: Path) -> None:
    child = Child(program(tmp_path))
    child.suspend()
    assert psutil.Process(child.pid).status() == psutil.STATUS_STOPPED
    child.resume()
    assert psutil.Process(child.pid).status() != psutil.STATUS_STOPPED
    child.suspend()
    child.stop()
    assert not child.running
    with pytest.raises(NotRunningError):
        child.suspend()


def test_a_program_that_cannot_be_started_says_so_in_its_log(tmp_path: Path) -> None:
    described = program(tmp_path)
    child = Child(Program("program", ["/no/such/program"], tmp_path, described.log, described.owner, env={}))
    assert eventually(lambda: not child.running)
    child.stop()
    assert "/no/such/program could not be started" in child.last_lines()[-1]


def start_owner(folder: Path) -> "tuple[subprocess.Popen[str], int, int]":
    """Another process that starts a stubborn child; returns it with the pids of child and guard."""
    write_script(folder, "program.py", STUBBORN)
    script = write_script(
        folder,
        "owner.py",
        "import sys, time\nfrom pathlib import Path\nfrom cxloop_embedded.child import *\n"
        f"folder = Path({str(folder)!r})\n"
        "child = Child(Program('program', [sys.executable, str(folder / 'program.py')], folder,\n"
        "    folder / 'program.log', owner_of('test', folder), env={}, grace_s=0.3))\n"
        "print(child.pid, flush=True)\ntime.sleep(600)\n",
    )
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)  # noqa: S603 ours
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    parent = psutil.Process(child).parent()
    assert parent is not None
    assert eventually(lambda: awake(folder))
    return owner, child, parent.pid


def end(owner: "subprocess.Popen[str]") -> None:
    owner.kill()
    owner.communicate()


def test_when_the_owner_is_killed_even_a_stubborn_child_ends_by_itself(tmp_path: Path) -> None:
    owner, child, guard = start_owner(tmp_path)
    end(owner)
    assert eventually(lambda: gone(child) and gone(guard))


def test_what_survives_owner_and_guard_is_found_by_its_mark_and_ended(tmp_path: Path) -> None:
    owner, child, guard = start_owner(tmp_path)
    end_of_line = psutil.Process(child)
    os.kill(guard, signal.SIGKILL)
    end(owner)
    assert end_of_line.is_running()  # it ignores the SIGTERM that the kernel sent it
    assert child in [process.pid for process in leftovers(owner_of("test", tmp_path))]
    assert child in end_leftovers(owner_of("test", tmp_path), grace_s=0.2)
    assert gone(child)


def test_a_process_of_another_folder_or_without_a_mark_is_never_ended(tmp_path: Path) -> None:
    environments: tuple[dict[str, str], ...] = ({}, {OWNER_VARIABLE: owner_of("test", tmp_path / "other")})
    others = [
        subprocess.Popen([sys.executable, "-c", SLEEPER], env={**os.environ, **extra})  # noqa: S603 ours
        for extra in environments
    ]
    try:
        assert end_leftovers(owner_of("test", tmp_path), grace_s=0.2) == []
        assert [process.poll() for process in others] == [None, None]
    finally:
        for process in others:
            process.kill()
            process.wait()


def test_a_folder_in_use_names_its_process_and_a_stale_lock_is_no_obstacle(
    tmp_path: Path,
) -> None:
    (tmp_path / ".stack.lock").write_text("", encoding="utf-8")
    (tmp_path / ".stack.pid").write_text("1", encoding="utf-8")
    held = hold(tmp_path, "stack")
    with pytest.raises(FolderInUseError, match=f"process {os.getpid()}") as raised:
        hold(tmp_path, "stack")
    assert "--data-dir" in str(raised.value)
    held.release()
    hold(tmp_path, "stack").release()
