"""The server's bounds, over real sockets and with a real process."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from cxloop_common.http import create_app, make_server
from cxloop_common.security import TokenStore
from cxloop_common.telemetry import Telemetry

STUBBORN = """
import asyncio, sys
from contextlib import asynccontextmanager
from cxloop_common.http import create_app, make_server
from cxloop_common.security import TokenStore
from cxloop_common.telemetry import Telemetry

@asynccontextmanager
async def lifespan(app):
    print("up", flush=True)
    yield
    if sys.argv[1] == "hang":
        await asyncio.Event().wait()

telemetry = Telemetry("x")
app = create_app(
    service="x", title="X", version="1", tokens=TokenStore(), telemetry=telemetry, lifespan=lifespan
)
make_server(app, port=0, shutdown_s=1, deadline_s=1.5).run()
"""


@asynccontextmanager
async def serving(*, limit_concurrency: int = 8, head_deadline_s: float = 5) -> AsyncGenerator[int]:
    app = create_app(service="x", title="X", version="1", tokens=TokenStore(), telemetry=Telemetry("x"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = make_server(app, limit_concurrency=limit_concurrency, head_deadline_s=head_deadline_s)
        task = asyncio.create_task(server.serve([listener]))
        port: int = listener.getsockname()[1]
        try:
            await answers(port)
            yield port
        finally:
            server.should_exit = True
            await task


async def answers(port: int) -> None:
    """Wait until the server answers; the listener is bound, so connecting queues rather than fails."""
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=5)) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200


async def send(port: int, *parts: bytes) -> bytes:
    """Give all the server says until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_headers_that_never_end_are_cut_off() -> None:
    async with serving(head_deadline_s=0.2) as port:
        for parts in ((), (b"GET /healthz HTTP/1.1\r\nHost: x\r\n",)):
            answer = await send(port, *parts)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"application/problem+json" in answer


async def test_a_later_request_on_a_connection_has_the_same_deadline() -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving(head_deadline_s=0.2) as port:
        answer = await send(port, whole, whole + b"GET /")
        assert answer.count(b"HTTP/1.1 200 OK") == 2
        assert b"HTTP/1.1 408 " in answer


async def test_headers_without_end_are_refused_by_size() -> None:
    async with serving() as port:
        answer = await send(port, b"GET / HTTP/1.1\r\nX: ", b"a" * 70_000)
        assert answer.startswith(b"HTTP/1.1 431 ")


async def test_connections_beyond_the_limit_get_503_at_once() -> None:
    async with serving(limit_concurrency=2) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        answer = await send(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in answer
        for _, writer in held:
            writer.close()


async def test_what_is_not_http_gets_400() -> None:
    async with serving() as port:
        assert (await send(port, b"\x16\x03\x01\x02\x00\x01\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_answers_do_not_name_the_server() -> None:
    async with serving() as port, httpx.AsyncClient() as client:
        assert "server" not in (await client.get(f"http://127.0.0.1:{port}/healthz")).headers


@pytest.mark.parametrize(("behaviour", "code"), [("leave", {0, -signal.SIGTERM}), ("hang", {70})])
def test_the_process_is_gone_in_time_after_sigterm_even_if_its_shutdown_hangs(
    tmp_path: Path, behaviour: str, code: set[int]
) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    with subprocess.Popen([sys.executable, str(script), behaviour], stdout=subprocess.PIPE) as process:  # noqa: S603 - our own script
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in code
        assert time.monotonic() - started < 5
