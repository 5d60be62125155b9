"""TCP ports on the loopback address that stay the same between runs of one data folder."""

import contextlib
import json
import random
import socket
from collections.abc import Collection
from pathlib import Path

import psutil

from cxloop_embedded.errors import NoFreePortError, PortInUseError

LOOPBACK = "127.0.0.1"

RANGE = range(20_000, 32_000)
"""Below what Linux and macOS hand out to outgoing connections, which could take a port between two runs."""


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def listener(port: int) -> str | None:
    """Who listens on `port`, as "java (pid 123)"; None where the system does not tell."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None


def require(port: int, *, purpose: str, hint: str) -> int:
    """Return `port` if it is free; raises PortInUseError, naming who has it."""
    if not is_free(port):
        raise PortInUseError(port=port, purpose=purpose, owner=listener(port), hint=hint)
    return port


def choose(*, purpose: str, among: range = RANGE, taken: Collection[int] = ()) -> int:
    """Return a free port out of `among`; raises NoFreePortError."""
    candidates = list(among) if len(among) <= 256 else random.sample(among, 256)  # noqa: PLR2004 enough tries
    for port in candidates:
        if port not in taken and is_free(port):
            return port
    raise NoFreePortError(purpose=purpose, first=among[0], last=among[-1])


class StoredPorts:
    """The ports of one data folder, by purpose, kept in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, int]:
        """Return what is stored; an unreadable file counts as empty, since a new port is always to be had."""
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(name): int(port) for name, port in stored.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def pick(self, purpose: str, *, among: range = RANGE) -> int:
        """Return the stored port if it is free, else choose another one and store it."""
        ports = self.read()
        stored = ports.get(purpose)
        if stored is not None and is_free(stored):
            return stored
        port = choose(purpose=purpose, among=among, taken=ports.values())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({**ports, purpose: port}, indent=2) + "\n", encoding="utf-8")
        return port

    def forget(self, purpose: str) -> None:
        """Drop a stored port, so that the next `pick` chooses another one."""
        ports = self.read()
        if ports.pop(purpose, None) is not None:
            self._path.write_text(json.dumps(ports, indent=2) + "\n", encoding="utf-8")
