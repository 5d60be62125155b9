"""What the embedded broker and database have in common: a child process, a folder, a port that stays."""

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from filelock import FileLock

from cxloop_embedded.child import Child, owner_of
from cxloop_embedded.errors import NotRunningError
from cxloop_embedded.ports import StoredPorts, require


class EmbeddedServer(ABC):
    """A server on 127.0.0.1 with its data in `data_dir`, which it holds as long as it runs.

    Its port is chosen once and kept with the data; one that is given by number must be free. It ends with this
    process, however that ends; what an earlier run left behind is ended at the start. Not safe for use from
    several threads at once.
    """

    TITLE: ClassVar[str]
    """Its name for people."""
    KEY: ClassVar[str]
    """Its name in files: of its log, its port and its lock."""

    def __init__(self, data_dir: Path, port: int | None) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.log = self.data_dir / f"{self.KEY}.log"
        self.ready_s = 0.0
        self._port = port
        self._ports = StoredPorts(self.data_dir / "ports.json")
        self._owner = owner_of(self.KEY, self.data_dir)
        self._lock: FileLock | None = None
        self._child: Child | None = None

    @abstractmethod
    def start(self) -> str:
        """Start the server, wait until it answers, and return its address; at once if it runs already."""

    @property
    def pid(self) -> int:
        """Pid of the server's first process."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether that process is there."""
        return self._child is not None and self._child.running

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the server's processes; what they share counts in each that touched it."""
        return self._running().resident_bytes

    def stop(self) -> None:
        """Stop in good order (SIGKILL after 15 s) and let go of the folder."""
        if self._child is not None:
            self._child.stop()
        self._release()

    def kill(self) -> None:
        """SIGKILL, as a power cut would; `restart` brings it back on the same port and data."""
        self._running().kill()

    def restart(self) -> str:
        """Start again on the same port and data, stopping first what still runs."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        return self.start()

    def suspend(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._running().suspend()

    def resume(self) -> None:
        """SIGCONT after `suspend`."""
        self._running().resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> Child:
        if self._child is None or not self._child.running:
            raise NotRunningError(f"{self.TITLE} is not running.")
        return self._child

    def _release(self) -> None:
        self._child = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _choose_port(self, bound: int | None) -> int:
        """Choose the port to listen on; `bound` is the one that clients of this object know already."""
        if self._port is not None:
            hint = "End that process, or leave the port out: a free one is chosen."
            return require(self._port, purpose=self.TITLE, hint=hint)
        if bound is not None:
            # Clients hold the address: after a kill it has to be this one.
            return require(bound, purpose=self.TITLE, hint="End that process, then start again.")
        return self._ports.pick(self.KEY)
