"""Several log files as one stream of lines, each with the name of the service that wrote it."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from rich.console import Console
from rich.text import Text

POLL_S = 0.1
COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")

Sink = Callable[[str, str], None]
"""Called with a service's name and one line, without its line end."""


class LogStream:
    """Follows log files from where they end now, through their rotation, until it is left."""

    def __init__(self, files: Mapping[str, Path], sink: Sink) -> None:
        """Describe the stream; `sink` is called from one thread of its own."""
        self._followed = [_Followed(name, path) for name, path in files.items()]
        self._sink = sink
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-stream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read what is there to the end, then stop."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        ending = False
        while not ending:
            ending = self._end.wait(POLL_S)
            for followed in self._followed:
                for line in followed.lines(flush=ending):
                    self._sink(followed.name, line)
        for followed in self._followed:
            followed.close()


class _Followed:
    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        if path.exists():
            self._file = path.open("rb")
            self._file.seek(0, os.SEEK_END)

    def lines(self, *, flush: bool) -> list[str]:
        data = self._read()
        if self._rotated():
            data += self._read()  # written between our read and the rename
            self.close()
            data += self._read()
        *whole, self._rest = (self._rest + data).split(b"\n")
        if flush and self._rest:
            whole.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in whole]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> bytes:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return b""
        return self._file.read()

    def _rotated(self) -> bool:
        if self._file is None:
            return False
        ours = os.fstat(self._file.fileno())
        try:
            current = self._path.stat()
        except FileNotFoundError:
            return False
        return (current.st_dev, current.st_ino) != (ours.st_dev, ours.st_ino)


def to_console(console: Console, names: list[str]) -> Sink:
    """Return a sink that prints: coloured names on a terminal, the bare lines where output goes elsewhere."""
    width = max((len(name) for name in names), default=0)
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}

    def terminal(name: str, line: str) -> None:
        prefix = Text(f"{name:<{width}} │ ", style=colours.get(name, "white"))
        console.print(prefix + Text.from_ansi(line), soft_wrap=True, highlight=False)

    def plain(_name: str, line: str) -> None:
        console.file.write(line + "\n")
        console.file.flush()

    return terminal if console.is_terminal else plain
