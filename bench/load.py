"""An HTTP load generator that costs a fraction of what it measures.

Requests are signed and serialised beforehand; each connection is a protocol of a few lines that sends the next
one when the last is answered. A general client would spend more CPU on a request than the server does.
"""

import asyncio
import gc
import random
import re
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import uvloop

LOOPBACK = "127.0.0.1"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STATUS = slice(9, 12)
T = TypeVar("T")


@dataclass
class Load:
    """What one round of load found."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list[float])
    refused: dict[str, int] = field(default_factory=dict[str, int])
    """Answers other than the expected status, by status; `lost` counts broken connections."""

    @property
    def per_second(self) -> float:
        """Accepted requests a second."""
        return len(self.latencies_s) / self.seconds

    def quantile_ms(self, share: float) -> float:
        """Give a quantile of the time to the answer in milliseconds."""
        return quantile(self.latencies_s, share) * 1000


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` of all lie at or below; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Serialise a POST."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {LOOPBACK}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def __init__(
        self, on_answer: "Callable[[_Connection, bytes], None]", on_lost: Callable[[], None]
    ) -> None:
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.sent_at = 0.0
        self.tag = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, message: bytes) -> None:
        assert self._transport is not None
        self.sent_at = time.perf_counter()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        found = _LENGTH.search(self._received, 0, head)
        length = int(found[1]) if found else 0
        if len(self._received) >= head + 4 + length:
            status = self._received[_STATUS]
            self._received = b""
            self._on_answer(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._on_lost()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Round:
    """Connections and what they found; `expected` is the status that counts."""

    def __init__(self, expected: bytes) -> None:
        self.load = Load()
        self.closing = False
        self._expected = expected
        self._alive: list[_Connection] = []

    async def connect(
        self, port: int, connections: int, answered: Callable[[_Connection], None]
    ) -> list[_Connection]:
        def on_answer(connection: _Connection, status: bytes) -> None:
            if status == self._expected:
                self.load.latencies_s.append(time.perf_counter() - connection.sent_at)
            else:
                self._count(status.decode("latin-1"))
            answered(connection)

        def on_lost() -> None:
            if not self.closing:
                self._count("lost")

        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, made = await loop.create_connection(lambda: _Connection(on_answer, on_lost), LOOPBACK, port)
            self._alive.append(made)
        return self._alive

    def close(self) -> None:
        self.closing = True
        for connection in self._alive:
            connection.close()

    def _count(self, kind: str) -> None:
        self.load.refused[kind] = self.load.refused.get(kind, 0) + 1


async def saturate(
    port: int, messages: Iterator[bytes], *, connections: int, seconds: float, expected: bytes = b"202"
) -> Load:
    """Keep every connection busy for a while: a closed loop, which finds the server's throughput."""
    ended = False
    round_ = _Round(expected)

    def answered(connection: _Connection) -> None:
        if not ended:
            connection.send(next(messages))

    open_ = await round_.connect(port, connections, answered)
    began = time.perf_counter()
    for connection in open_:
        connection.send(next(messages))
    await asyncio.sleep(seconds)
    ended = True
    round_.load.seconds = time.perf_counter() - began
    counted = len(round_.load.latencies_s)
    await asyncio.sleep(0.2)  # those under way are answered, and belong to no round
    del round_.load.latencies_s[counted:]
    round_.close()
    return round_.load


async def pace(
    port: int,
    messages: Sequence[bytes],
    *,
    per_second: float,
    connections: int,
    on_answered: Callable[[int, float], None],
    expected: bytes = b"202",
) -> Load:
    """Send messages at a steady rate whatever the answers do: an open loop, which finds latency.

    Gaps are drawn from an exponential distribution, as independent senders make them. `on_answered` gets a
    message's index and the time of its answer (perf_counter).
    """
    # Each in its turn: the server closes a connection that idles for some seconds.
    idle: deque[_Connection] = deque()
    round_ = _Round(expected)
    missing = len(messages)
    done = asyncio.Event()

    def answered(connection: _Connection) -> None:
        nonlocal missing
        on_answered(connection.tag, time.perf_counter())
        idle.append(connection)
        missing -= 1
        if missing == 0:
            done.set()

    idle += await round_.connect(port, connections, answered)
    gaps = random.Random(1)  # noqa: S311 a schedule, not a secret
    began = due = time.perf_counter()
    for index, message in enumerate(messages):
        due += gaps.expovariate(per_second)
        while (wait := due - time.perf_counter()) > 0 or not idle:  # noqa: ASYNC110 it waits for a time
            await asyncio.sleep(max(wait, 0.0005))
        connection = idle.popleft()
        connection.tag = index
        connection.send(message)
    async with asyncio.timeout(30):
        await done.wait()
    round_.load.seconds = time.perf_counter() - began
    round_.close()
    return round_.load


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop with the garbage collector out of the way."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)
    finally:
        gc.enable()
        gc.unfreeze()
