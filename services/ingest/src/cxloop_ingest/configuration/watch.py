"""The sources in force: reloaded when their file or a secret's file changes, kept when the new file is wrong."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from cxloop_common.service import ConfigurationError
from cxloop_common.telemetry import get_logger
from cxloop_ingest.configuration.sources import LoadedSources, load_sources
from cxloop_ingest.domain.sources import Source

_Stamp = tuple[tuple[int, int], ...]


class SourceRegistry:
    """The sources in force. A change of the file takes effect within `poll_s`, without a restart."""

    def __init__(self, path: str | None, registry: CollectorRegistry, *, poll_s: float) -> None:
        """Load the file. Raises ConfigurationError with a line a fault."""
        self._path = path
        self._poll_s = poll_s
        self._log = get_logger(__name__)
        self._valid = Gauge(
            "cxloop_sources_file_valid",
            "1 while the sources file is as it was loaded, 0 while a changed one is wrong and the old is kept",
            registry=registry,
        )
        self._reloads = Counter(
            "cxloop_sources_reloads", "Changes of the sources file that took effect", registry=registry
        )
        self._count = Gauge("cxloop_sources", "Sources in force", registry=registry)
        self.current: Mapping[str, Source] = {}
        self._files: tuple[Path, ...] = ()
        self._right = True
        if path is None:
            self._log.warning("no_sources_file", hint="set CXLOOP_INGEST_SOURCES_FILE; webhooks answer 404")
            self._valid.set(1)
            self._stamp: _Stamp = ()
            return
        loaded = load_sources(path)
        if loaded.problems:
            raise ConfigurationError("\n".join(str(problem) for problem in loaded.problems))
        self._take(loaded)
        self._stamp = _stamp(self._files)

    def check(self) -> bool:
        """Reload if a file changed; tell whether what is on the disk is in force."""
        if self._path is None:
            return True
        stamp = _stamp(self._files)
        if stamp == self._stamp:
            return self._right
        loaded = load_sources(self._path)
        # What was read may be newer than the stamp: then the next look finds another stamp and reads again.
        self._stamp = stamp
        if loaded.problems:
            self._right = False
            self._valid.set(0)
            for problem in loaded.problems:
                self._log.error("sources_file_wrong", problem=str(problem), kept="the sources as they were")
            return False
        self._take(loaded)
        if len(self._files) != len(stamp):
            self._stamp = _stamp(self._files)
        self._reloads.inc()
        self._log.info("sources_reloaded", sources=len(self.current))
        return True

    async def run(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            self.check()

    def _take(self, loaded: LoadedSources) -> None:
        self.current = loaded.sources
        self._files = loaded.files
        self._count.set(len(loaded.sources))
        self._valid.set(1)
        self._right = True


def _stamp(files: tuple[Path, ...]) -> _Stamp:
    stamps: list[tuple[int, int]] = []
    for path in files:
        try:
            state = path.stat()
            stamps.append((state.st_mtime_ns, state.st_size))
        except OSError:
            stamps.append((0, -1))
    return tuple(stamps)
