import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from embedded_harness import eventually, gone, write_script

from cxloop_embedded import LogStream, ServiceSpec, ServiceState, Supervisor
from cxloop_embedded.child import leftovers, owner_of
from cxloop_embedded.errors import NotRunningError

SLEEPER = "import time\nprint('awake', flush=True)\nwhile True:\n    time.sleep(60)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER
PARENT = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print('child', child.pid, flush=True)\ntime.sleep(600)\n"
)


def service(name: str, text: str = SLEEPER, **env: str) -> ServiceSpec:
    return ServiceSpec(name, [sys.executable, "-c", text], env=env)


def awake(supervisor: Supervisor, name: str, times: int = 1) -> bool:
    log = supervisor.log(name)
    return log.exists() and log.read_text(encoding="utf-8").count("awake") >= times


def test_a_service_that_is_killed_is_started_again_with_another_pid(tmp_path: Path) -> None:
    with Supervisor(tmp_path, [service("scoring"), service("journey")]) as supervisor:
        assert eventually(lambda: supervisor.status("scoring").state is ServiceState.RUNNING)
        other = supervisor.service_pid("journey")
        killed = supervisor.signal("scoring", signal.SIGKILL)
        assert eventually(lambda: awake(supervisor, "scoring", times=2))
        assert supervisor.service_pid("scoring") != killed
        assert supervisor.service_pid("journey") == other


def test_a_service_that_dies_at_its_start_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    with Supervisor(tmp_path, [service("scoring", "print('awake'); raise SystemExit(3)")]) as supervisor:
        assert eventually(lambda: supervisor.status("scoring").state is ServiceState.BACKOFF)
        assert eventually(lambda: awake(supervisor, "scoring", times=2))


def test_a_stopped_service_stays_down_until_it_is_started(tmp_path: Path) -> None:
    with Supervisor(tmp_path, [service("scoring")]) as supervisor:
        assert eventually(lambda: awake(supervisor, "scoring"))
        supervisor.stop_service("scoring")
        supervisor.stop_service("scoring")
        assert supervisor.status("scoring").state is ServiceState.STOPPED
        with pytest.raises(NotRunningError, match="scoring"):
            supervisor.signal("scoring", signal.SIGKILL)
        with pytest.raises(NotRunningError, match="only scoring"):
            supervisor.status("scorring")
        supervisor.start_service("scoring")
        supervisor.start_service("scoring")
        assert eventually(lambda: awake(supervisor, "scoring", times=2))


def test_stopping_leaves_nothing_behind_not_even_the_stubborn_and_their_children(tmp_path: Path) -> None:
    services = [service("stubborn", STUBBORN), service("parent", PARENT)]
    supervisor = Supervisor(tmp_path, services, stop_within_s=1)
    supervisor.start()
    log = supervisor.log("parent")
    assert eventually(lambda: awake(supervisor, "stubborn") and "child" in log.read_text(encoding="utf-8"))
    pids = [supervisor.pid, *(supervisor.service_pid(spec.name) for spec in services)]
    pids.append(int(log.read_text(encoding="utf-8").split()[1]))
    supervisor.stop()
    assert [pid for pid in pids if not gone(pid)] == []


@pytest.mark.parametrize("how", ["owner", "supervisord"])
def test_after_a_kill_of_the_run_nothing_survives_the_next_start(tmp_path: Path, how: str) -> None:
    data = tmp_path / "data"
    script = write_script(
        tmp_path,
        "owner.py",
        "import sys, time\nfrom pathlib import Path\nfrom cxloop_embedded import ServiceSpec, Supervisor\n"
        f"services = [ServiceSpec(name, [sys.executable, '-c', {STUBBORN!r}]) for name in ('a', 'b')]\n"
        f"supervisor = Supervisor(Path({str(data)!r}), services, stop_within_s=1)\nsupervisor.start()\n"
        "print(supervisor.pid, *(status.pid for status in supervisor.statuses()), flush=True)\n"
        "time.sleep(600)\n",
    )
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)  # noqa: S603 ours
    assert owner.stdout is not None
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    if how == "supervisord":
        guard = psutil.Process(pids[0]).parent()
        assert guard is not None
        guard.kill()
        os.kill(pids[0], signal.SIGKILL)
    owner.kill()
    owner.communicate()
    with Supervisor(data, [service("a"), service("b")]) as supervisor:
        assert [pid for pid in pids if not gone(pid)] == []
        assert supervisor.service_pid("a") not in pids
    assert leftovers(owner_of("services", data)) == []


def test_folders_and_values_may_be_called_anything(tmp_path: Path) -> None:
    folder = tmp_path / "100 % ;odd #name" / ("deep-" * 30)
    value = "a\"b'c%d ;e #f\n$(g)"
    text = (
        "import os\nprint(repr(os.environ['CXLOOP_ODD']), 'CXLOOP_GONE' in os.environ, flush=True)\n"
        + SLEEPER
    )
    spec = ServiceSpec(
        "scoring", [sys.executable, "-c", text], env={"CXLOOP_ODD": value, "CXLOOP_GONE": None}, cwd=tmp_path
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXLOOP_GONE", "1")
        with Supervisor(folder, [spec]) as supervisor:
            assert eventually(lambda: awake(supervisor, "scoring"))
            said = supervisor.log("scoring").read_text(encoding="utf-8").splitlines()[0]
            assert said == f"{value!r} False"
            assert supervisor.log("scoring").parent.parent == folder.resolve()


def test_every_line_of_every_log_comes_through_rotation_included(tmp_path: Path) -> None:
    logs = {"scoring": tmp_path / "scoring.log", "journey": tmp_path / "journey.log"}
    logs["scoring"].write_text("from an earlier run\n", encoding="utf-8")
    seen: list[tuple[str, str]] = []
    with LogStream(logs, lambda name, line: seen.append((name, line))):
        with logs["scoring"].open("a", encoding="utf-8") as file:
            file.write("one\ntwo\nthr")
            file.flush()
            assert eventually(lambda: ("scoring", "two") in seen)
            file.write("ee\n")
        logs["scoring"].rename(tmp_path / "scoring.log.1")
        logs["scoring"].write_text("four\nlast, without an end", encoding="utf-8")
        logs["journey"].write_text("besides\n", encoding="utf-8")
        assert eventually(lambda: ("scoring", "four") in seen)
    assert [line for name, line in seen if name == "scoring"] == [
        "one",
        "two",
        "three",
        "four",
        "last, without an end",
    ]
    assert ("journey", "besides") in seen
