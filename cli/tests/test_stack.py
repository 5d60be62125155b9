import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from rich.console import Console

from cxloop_cli.stack import Stack, StackError, default_ports
from cxloop_cli.up import show_ready
from cxloop_embedded.child import leftovers, owner_of
from cxloop_embedded.errors import FolderInUseError, PortInUseError

SERVICES = ("probe", "other")


def eventually(holds: Callable[[], bool], *, within_s: float = 15.0) -> bool:
    """Wait for what another process does; the bound is for a failing test only."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def marked(data: Path) -> list[psutil.Process]:
    owners = (("services", data), ("kafka", data / "kafka"), ("postgres", data / "postgres"))
    return [process for kind, folder in owners for process in leftovers(owner_of(kind, folder))]


@pytest.mark.usefixtures("packages")
def test_a_stack_is_ready_restarts_what_dies_and_leaves_nothing_behind(tmp_path: Path) -> None:
    lines: list[str] = []
    data = tmp_path / "data"
    with Stack(data, services=SERVICES, report=lines.append) as stack:
        for url in stack.urls.values():
            assert httpx.get(f"{url}/readyz").status_code == 200
        assert stat.S_IMODE(stack.token_path.stat().st_mode) == 0o600
        assert f"probe listens for {stack.bootstrap}" in stack.logs()["probe"].read_text(encoding="utf-8")
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()}"):
            Stack(data, services=SERVICES).start()
        killed = stack.kill("probe")
        assert eventually(lambda: stack.pids()["probe"] not in (None, killed))
        stack.wait_ready(["probe"])
        stack.stop_service("other")
        with pytest.raises(httpx.ConnectError):
            httpx.get(stack.urls["other"])
        stack.start_service("other")
        token, urls = stack.token, stack.urls
    assert marked(data) == []
    assert any("Kafka is ready" in line for line in lines)
    with Stack(data, services=SERVICES) as again:
        assert (again.token, again.urls) == (token, urls)


@pytest.mark.usefixtures("packages")
def test_what_services_say_is_shown_when_they_cannot_start(tmp_path: Path) -> None:
    outside = partial(
        Stack, services=["probe"], kafka_bootstrap="127.0.0.1:1", database_url="postgresql://x@127.0.0.1:1/x"
    )
    with pytest.raises(StackError, match="migrating the schema of probe") as raised:
        outside(tmp_path / "a", env={"PROBE_MIGRATION": "fails"}).start()
    assert "relation is missing" in str(raised.value)
    stack = outside(tmp_path / "b", env={"PROBE_READY": "never"}, ready_within_s=1)
    with pytest.raises(StackError, match="503 kafka: no answer"):
        stack.start()
    assert marked(tmp_path / "b") == []


@pytest.mark.usefixtures("packages")
def test_a_port_in_use_stops_the_start_before_anything_runs(tmp_path: Path) -> None:
    with (
        Stack(
            tmp_path / "a",
            services=["probe"],
            kafka_bootstrap="127.0.0.1:1",
            database_url="postgresql://x@127.0.0.1:1/x",
        ) as first,
        pytest.raises(PortInUseError, match="--port-base"),
    ):
        Stack(tmp_path / "b", services=["probe"], ports=first.ports).start()
    assert not (tmp_path / "b" / "kafka").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_up_ends_with_everything_however_it_is_ended(
    packages: Path, tmp_path: Path, how: signal.Signals
) -> None:
    data = tmp_path / "data"
    script = packages / "run_up.py"
    script.write_text(
        "import typer, cxloop_cli.up as up, cxloop_cli.stack as stack\n"
        "class Two(stack.Stack):\n"
        "    def __init__(self, folder, *, ports, **rest):\n"
        "        super().__init__(folder, services=('probe', 'other'), **rest)\n"
        "up.Stack = Two\nup.show_ready = lambda stack, out: print('ready', stack.pids(), flush=True)\n"
        "typer.run(up.up)\n",
        encoding="utf-8",
    )
    running = subprocess.Popen(  # noqa: S603 our script
        [sys.executable, str(script), "--data-dir", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout is not None
    before: list[str] = []
    for line in running.stdout:
        before.append(line)
        if line.startswith("ready"):
            break
    else:
        pytest.fail("".join(before))
    assert len(marked(data)) > 5
    running.send_signal(how)
    rest, _ = running.communicate(timeout=30)
    assert eventually(lambda: marked(data) == [])
    if how != signal.SIGKILL:
        assert "Stopped" in rest
        assert running.returncode == 0


def test_the_summary_gives_lines_to_paste_and_hides_the_password(tmp_path: Path) -> None:
    stack = Stack(
        tmp_path / "my data",
        ports=default_ports(9001),
        kafka_bootstrap="127.0.0.1:9092",
        database_url="postgresql://cxloop:hidden@127.0.0.1:5432/cxloop",
    )
    console = Console(width=60, force_terminal=False)
    with console.capture() as captured:
        show_ready(stack, console)
    text = captured.get()
    assert "hidden" not in text
    assert "http://127.0.0.1:9004/v1/cases?status=open" in text
    assert f"$(cat '{stack.token_path}')" in text
    assert "kcat -b 127.0.0.1:9092 -t cxloop.alerts.v1" in text
