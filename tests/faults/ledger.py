"""The load generator's ledger: what was acknowledged, on disk before anybody may count on it."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tests.faults.wire import LogRecord, Outgoing


class Ledger:
    """A file with one line for each acknowledged record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._waiting: list[str] = []
        self._file = path.open("a", encoding="ascii")

    def note(self, outgoing: Outgoing, partition: int, offset: int) -> None:
        """Take down an acknowledged record; it counts from the next `sync` on."""
        line = {
            "topic": outgoing.topic,
            "partition": partition,
            "offset": offset,
            "key": _text(outgoing.key),
            "value": _text(outgoing.value),
            "headers": {name: _text(value) for name, value in outgoing.headers},
            "poison": outgoing.poison,
        }
        self._waiting.append(json.dumps(line))

    def sync(self) -> None:
        """Force what was noted to the disk."""
        if self._waiting:
            self._file.write("".join(f"{line}\n" for line in self._waiting))
            self._file.flush()
            os.fsync(self._file.fileno())
            self.count += len(self._waiting)
            self._waiting.clear()

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        self._file.close()


def read(path: Path) -> Iterator[tuple[LogRecord, bool]]:
    """Read a ledger: each record, and whether it was meant to be poison."""
    with path.open(encoding="ascii") as file:
        for text in file:
            line = cast("dict[str, Any]", json.loads(text))
            headers = cast("dict[str, str]", line["headers"])
            yield (
                LogRecord(
                    line["topic"],
                    line["partition"],
                    line["offset"],
                    _bytes(line["key"]),
                    _bytes(line["value"]),
                    {name: _bytes(value) for name, value in headers.items()},
                ),
                line["poison"],
            )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
