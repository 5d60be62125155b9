import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import asyncpg
import psutil
import pytest
from embedded_harness import eventually, gone, write_script

from cxloop_embedded import EmbeddedPostgres
from cxloop_embedded.errors import EmbeddedError, FolderInUseError, PostgresStartError


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Generator[EmbeddedPostgres, None, None]:
    """One server for the tests that leave it as they found it; its folder is too deep for a unix socket."""
    folder = tmp_path_factory.mktemp("postgres").joinpath(*["a-folder-with-a-long-name"] * 6)
    assert len(str(folder)) > 150
    with EmbeddedPostgres(folder) as server:
        yield server


async def ask(url: str, query: str) -> Any:
    connection = cast("Any", await asyncpg.connect(url))  # asyncpg has no types
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_asyncpg_takes_the_url_and_finds_the_settings_of_production(postgres: EmbeddedPostgres) -> None:
    assert await ask(postgres.url, "SELECT current_database()") == "cxloop"
    for setting, value in {
        "fsync": "on",
        "synchronous_commit": "on",
        "max_connections": "200",
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "listen_addresses": "127.0.0.1",
    }.items():
        assert await ask(postgres.url, f"SHOW {setting}") == value, setting


async def test_a_wrong_password_is_refused(postgres: EmbeddedPostgres) -> None:
    password = postgres.url.split(":")[2].split("@")[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(postgres.url.replace(password, "guessed"), "SELECT 1")


async def test_a_committed_row_survives_sigkill_at_the_same_address(postgres: EmbeddedPostgres) -> None:
    await ask(postgres.url, "CREATE TABLE survivors AS SELECT 42 AS answer")
    url, processes = postgres.url, [postgres.pid, *server_processes(postgres.pid)]
    postgres.kill()
    assert [pid for pid in processes if not gone(pid)] == []
    assert postgres.restart() == url
    assert await ask(url, "SELECT answer FROM survivors") == 42


async def test_a_clean_stop_cuts_clients_off_and_keeps_port_password_and_data(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    url = server.start()
    idle = cast("Any", await asyncpg.connect(url))
    server.stop()
    assert not server.running
    idle.terminate()
    with EmbeddedPostgres(tmp_path) as again:
        assert again.url == url


def server_processes(postmaster: int) -> list[int]:
    return [process.pid for process in psutil.Process(postmaster).children(recursive=True)]


def test_a_second_server_on_the_same_folder_is_refused_naming_the_first(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(FolderInUseError, match=f"process {os.getpid()}"):
        EmbeddedPostgres(postgres.data_dir).start()
    assert postgres.running


def leave_a_suspended_postmaster(folder: Path) -> tuple[str, int]:
    """Start a server in a process of its own and kill that; returns the server's url and its pid."""
    script = write_script(
        folder.parent,
        "owner.py",
        "import sys, time\nfrom pathlib import Path\nfrom cxloop_embedded import EmbeddedPostgres\n"
        f"server = EmbeddedPostgres(Path({str(folder)!r}))\nserver.start()\n"
        "print(server.url, server.pid, flush=True)\ntime.sleep(600)\n",
    )
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)  # noqa: S603 ours
    assert owner.stdout is not None
    url, pid = owner.stdout.readline().split()
    os.kill(int(pid), signal.SIGSTOP)  # so that it cannot end by itself
    owner.kill()
    owner.communicate()
    return url, int(pid)


async def test_a_postmaster_left_by_a_killed_run_is_ended_and_its_data_kept(tmp_path: Path) -> None:
    url, pid = leave_a_suspended_postmaster(tmp_path / "postgres")
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        assert gone(pid)
        assert server.url == url
        assert await ask(url, "SELECT 1") == 1


def test_a_stale_postmaster_file_is_no_obstacle_even_if_its_pid_is_someone_elses(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.start()
    server.stop()
    stale = tmp_path / "cluster" / "postmaster.pid"
    stale.write_text(
        f"{os.getppid()}\n{tmp_path / 'cluster'}\n1\n1\n\n127.0.0.1\n\nready   \n", encoding="utf-8"
    )
    with server:
        assert server.running
    assert not gone(os.getppid())


def test_a_server_that_dies_at_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.start()
    server.stop()
    with (tmp_path / "cluster" / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("work_mem = enormous\n")
    with pytest.raises(PostgresStartError, match="work_mem"):
        server.start()
    assert eventually(lambda: not server.running)


def test_a_cluster_of_another_version_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "PG_VERSION").write_text("16\n", encoding="utf-8")
    with pytest.raises(EmbeddedError, match="--fresh"):
        EmbeddedPostgres(tmp_path).start()
