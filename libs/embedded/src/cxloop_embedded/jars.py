"""The jars of Apache Kafka: named by a lock file, downloaded once by jgo, verified, kept in a cache.

The lock file is the whole resolution. No dependency graph is walked at start, so a run gets exactly the
files this version was tested with, and the first one needs 46 downloads instead of some 150.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext, PythonResolver

from cxloop_embedded.errors import CacheBusyError, CacheError, DownloadError, LockMismatchError
from cxloop_embedded.progress import Progress, silent

LOCK_NAME = "kafka.lock"
LOCK_WAIT_S = 900.0
PARALLEL_DOWNLOADS = 8
HTTP_TIMEOUT_S = 20
TEMPORARY = "unfinished-"


@dataclass(frozen=True)
class Jar:
    """One file as the lock names it."""

    group: str
    artifact: str
    version: str
    size: int
    """bytes"""
    sha256: str

    @property
    def filename(self) -> str:
        """Name of the file in the cache, the one its publisher gives it."""
        return f"{self.artifact}-{self.version}.jar"


@dataclass(frozen=True)
class Lock:
    """The lock file: which Kafka, and every jar that it needs."""

    version: str
    jars: tuple[Jar, ...]
    digest: str
    """Of the lock itself, so that another lock gets another folder of the cache."""

    @property
    def total_bytes(self) -> int:
        """Size of all jars."""
        return sum(jar.size for jar in self.jars)


def read_lock(text: str | None = None) -> Lock:
    """Parse a lock file, by default the one of this package."""
    if text is None:
        text = resources.files("cxloop_embedded").joinpath(LOCK_NAME).read_text(encoding="utf-8")
    parsed = tomllib.loads(text)
    jars: list[Jar] = []
    for entry in parsed["jar"]:
        group, artifact, version = str(entry["coordinates"]).split(":")
        jars.append(Jar(group, artifact, version, int(entry["size"]), str(entry["sha256"])))
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Lock(version=str(parsed["kafka"]), jars=tuple(jars), digest=digest)


def cache_root() -> Path:
    """Return the user's cache folder, or `CXLOOP_CACHE_DIR`."""
    chosen = os.environ.get("CXLOOP_CACHE_DIR")
    return Path(chosen).expanduser().resolve() if chosen else platformdirs.user_cache_path("cxloop")


def repository_url() -> str:
    """Where jars come from: Maven Central, or the mirror that `CXLOOP_MAVEN_URL` names."""
    return os.environ.get("CXLOOP_MAVEN_URL", MAVEN_CENTRAL_URL).rstrip("/")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class JarCache:
    """One folder of the cache, filled as one lock wants it."""

    def __init__(self, lock: Lock, *, root: Path | None = None, repository: str | None = None) -> None:
        self.lock = lock
        self.root = root or cache_root()
        self.repository = repository or repository_url()
        self.folder = self.root / f"kafka-{lock.version}-{lock.digest}"
        self._seen_path = self.folder / "verified.json"

    def class_path(self, progress: Progress = silent) -> list[Path]:
        """Return every jar, verified, downloading what is missing or damaged.

        Costs one `stat` a file where nothing changed. Raises the errors of `CacheError`.
        """
        if self._damaged():
            self._fill(progress)
        return [self.folder / jar.filename for jar in self.lock.jars]

    def _damaged(self) -> list[Jar]:
        """Jars that are missing or not what the lock says.

        Size is compared every time; the content only where size or modification time differ from when
        the content was last found right.
        """
        seen = self._read_seen()
        now = dict(seen)
        damaged: list[Jar] = []
        for jar in self.lock.jars:
            path = self.folder / jar.filename
            try:
                stat = path.stat()
            except OSError:
                damaged.append(jar)
                continue
            mark = [stat.st_size, stat.st_mtime_ns]
            if stat.st_size == jar.size and (seen.get(jar.filename) == mark or sha256_of(path) == jar.sha256):
                now[jar.filename] = mark
            else:
                damaged.append(jar)
        if now != seen:
            self._write_seen(now)
        return damaged

    def _read_seen(self) -> dict[str, list[int]]:
        try:
            return dict(json.loads(self._seen_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def _write_seen(self, seen: dict[str, list[int]]) -> None:
        # A cache that cannot be written to (shared, read-only) still serves; it is only verified more often.
        with contextlib.suppress(OSError):
            temporary = self._seen_path.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(seen), encoding="utf-8")
            temporary.replace(self._seen_path)

    def _fill(self, progress: Progress) -> None:
        lock_path = self.root / "kafka.lock"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(lock_path, timeout=LOCK_WAIT_S):
                damaged = self._damaged()  # again: whoever held the lock may have done it
                if damaged:
                    self._download(damaged, progress)
        except Timeout as error:
            raise CacheBusyError(lock=lock_path, waited_s=LOCK_WAIT_S) from error
        except PermissionError as error:
            raise CacheError(
                f"The cache folder {self.root} cannot be written to ({error.strerror}).\n"
                "Set CXLOOP_CACHE_DIR to a folder of your own."
            ) from error

    def _download(self, wanted: Sequence[Jar], progress: Progress) -> None:
        """Download into a temporary folder, verify, and only then rename into place."""
        for stale in self.root.glob(f"{TEMPORARY}*"):  # of a run that was killed: we hold the lock
            shutil.rmtree(stale, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=self.root) as name:
            temporary = Path(name)
            ready = temporary / "jars"
            ready.mkdir()
            title = f"Downloading Apache Kafka {self.lock.version}, once"
            with progress(title, sum(jar.size for jar in wanted)) as advance:
                self._fetch_all(wanted, temporary, ready, advance)
            if self.folder.exists():
                # File by file: a broker that runs from this folder keeps finding its jars by name.
                for jar in wanted:
                    (ready / jar.filename).replace(self.folder / jar.filename)
            else:
                ready.rename(self.folder)
        self._damaged()  # notes what was verified

    def _fetch_all(
        self, wanted: Sequence[Jar], temporary: Path, ready: Path, advance: Callable[[int], None]
    ) -> None:
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
            running = [pool.submit(self._fetch, jar, temporary, ready, advance) for jar in wanted]
            try:
                for future in running:
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _fetch(self, jar: Jar, temporary: Path, ready: Path, advance: Callable[[int], None]) -> None:
        """Download one jar and verify it; a wrong one is asked for once more, past any cut connection."""
        found = ""
        for attempt in (1, 2):
            context = MavenContext(
                resolver=PythonResolver(progress_callback=_reporter(advance)),
                repo_cache=temporary / f"try{attempt}",
                remote_repos={"central": self.repository},
                timeout=HTTP_TIMEOUT_S,
            )
            artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
            try:
                path = artifact.resolve()
            # requests' errors are OSErrors; jgo raises RuntimeError where no repository has the file.
            except (OSError, RuntimeError) as error:
                if attempt == 1 and not _is_refused(error):
                    continue
                raise DownloadError(
                    repository=self.repository,
                    cache=self.root,
                    missing=len(self._damaged()),
                    reason=_reason(error),
                ) from error
            found = sha256_of(path)
            if found == jar.sha256:
                path.replace(ready / jar.filename)
                return
        raise LockMismatchError(
            name=jar.filename, expected=jar.sha256, found=found, repository=self.repository
        )


def _reporter(
    advance: Callable[[int], None],
) -> Callable[[str, int], AbstractContextManager[Callable[[int], None]]]:
    @contextlib.contextmanager
    def one_file(_name: str, _total: int) -> Generator[Callable[[int], None], None, None]:
        yield advance

    return one_file


def _is_refused(error: BaseException) -> bool:
    """Whether nobody listens, or the name is unknown: asking again at once would not help."""
    text = repr(error)
    return "refused" in text or "NameResolution" in text or "not found in remote" in text


def _reason(error: BaseException) -> str:
    text = repr(error)
    for sign, reason in (
        ("refused", "connection refused"),
        ("NameResolution", "its name cannot be resolved: no network?"),
        ("Network is unreachable", "no network"),
        ("not found in remote", "it does not have them, or a proxy is in the way"),
        ("imeout", "no answer in time"),
        ("SSL", "its certificate is not trusted here"),
    ):
        if sign in text:
            return reason
    return type(error).__name__
