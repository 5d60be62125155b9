"""What can go wrong below `cxloop up`, each error with the way out in its own text.

EmbeddedError
├── CacheError                the jars of Kafka
│   ├── DownloadError         no cache, and the repository cannot be reached
│   ├── LockMismatchError     what was downloaded is not what the lock file names
│   └── CacheBusyError        another process has been filling the cache for too long
├── PortError
│   ├── PortInUseError        a port that was asked for is taken
│   └── NoFreePortError       none left in the range we choose from
├── FolderInUseError          the data folder belongs to a run that is still alive
├── StartError                a child process did not become ready
│   ├── KafkaStartError
│   ├── PostgresStartError
│   └── SupervisorStartError
└── NotRunningError           something was asked of a process that is not there
"""

from pathlib import Path

THREE_WAYS_OUT = """\
Any one of these gets you going:
  1. Go online once: the jars (some 45 MB) are then kept in {cache}.
     Behind a mirror, set CXLOOP_MAVEN_URL to its address.
  2. Use a broker that already runs: CXLOOP_KAFKA_BOOTSTRAP=host:9092 cxloop up
  3. Use Docker: docker compose up"""


class EmbeddedError(Exception):
    """Base of all errors of this package; `str()` is meant to be read by a person."""


class CacheError(EmbeddedError):
    """The jars of Kafka are not in the cache as the lock file wants them."""


class DownloadError(CacheError):
    """There is no usable cache, and the jars cannot be downloaded."""

    def __init__(self, *, repository: str, cache: Path, missing: int, reason: str) -> None:
        super().__init__(
            f"Kafka cannot be downloaded: {missing} of its jars are not in the cache, "
            f"and {repository} did not give them ({reason}).\n{THREE_WAYS_OUT.format(cache=cache)}"
        )


class LockMismatchError(CacheError):
    """The repository served other bytes than the lock file names, twice in a row."""

    def __init__(self, *, name: str, expected: str, found: str, repository: str) -> None:
        super().__init__(
            f"{name} from {repository} is not the file that this version of CX Loop was made with.\n"
            f"  expected sha256 {expected}\n"
            f"  received sha256 {found}\n"
            "Nothing of it was kept. A proxy or mirror that rewrites downloads is the usual cause: "
            "set CXLOOP_MAVEN_URL to another one, or use CXLOOP_KAFKA_BOOTSTRAP with a broker of your own."
        )


class CacheBusyError(CacheError):
    """Another process holds the cache's lock and does not finish."""

    def __init__(self, *, lock: Path, waited_s: float) -> None:
        super().__init__(
            f"Another process has been downloading Kafka for more than {waited_s:.0f} s and holds {lock}.\n"
            "Wait for it, or end it; the lock goes with its process, so there is no file to delete."
        )


class PortError(EmbeddedError):
    """A TCP port cannot be had."""


class PortInUseError(PortError):
    """A port that was asked for by number is taken."""

    def __init__(self, *, port: int, purpose: str, owner: str | None, hint: str) -> None:
        by = f" by {owner}" if owner else ""
        super().__init__(f"Port {port} on 127.0.0.1, meant for {purpose}, is already in use{by}.\n{hint}")
        self.port = port


class NoFreePortError(PortError):
    """No port of our range is free."""

    def __init__(self, *, purpose: str, first: int, last: int) -> None:
        super().__init__(
            f"No free port on 127.0.0.1 for {purpose}: {first} to {last} are all taken.\n"
            "Look for leftover processes (`ss -ltnp` or `lsof -iTCP -sTCP:LISTEN`), "
            "or name a free port yourself."
        )


class FolderInUseError(EmbeddedError):
    """The data folder belongs to a run that is still alive."""

    def __init__(self, *, folder: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        stop = f"Stop it first (kill {pid})" if pid else "Stop it first"
        super().__init__(
            f"{folder} is in use by {who}.\n"
            f"{stop}, or give this run a folder of its own: --data-dir or CXLOOP_DATA_DIR."
        )
        self.pid = pid


class StartError(EmbeddedError):
    """A child process ended, or did not become ready in time; holds the end of its log."""

    def __init__(self, what: str, *, log: Path, lines: list[str], advice: str = "") -> None:
        quoted = "\n".join(f"  | {line}" for line in lines) or "  | (it wrote nothing)"
        ending = f"\n{advice}" if advice else ""
        super().__init__(f"{what}\nThe end of {log}:\n{quoted}{ending}")
        self.log = log
        self.lines = lines


class KafkaStartError(StartError):
    """The broker did not start."""


class PostgresStartError(StartError):
    """PostgreSQL did not start, or its cluster could not be made."""


class SupervisorStartError(StartError):
    """The supervisor did not start."""


class NotRunningError(EmbeddedError):
    """Something was asked of a process that is not there."""
