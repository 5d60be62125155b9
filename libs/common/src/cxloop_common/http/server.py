"""Running an application under uvicorn: bounded in connections, headers, silence and shutdown."""

import asyncio
import os
import socket
import threading
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cxloop_common.http.problems import PROBLEM_JSON, Problem
from cxloop_common.telemetry import get_logger

DEADLINE_S: Final = 14.0
"""Time from SIGTERM to the end of the process, whatever still runs: supervisors kill at 15 or later."""

HEAD_DEADLINE_S: Final = 10.0
"""Time from connecting, or from a later request's first byte, to its last header."""

_LARGEST_HEAD_BYTES: Final = 65_536
_KEEP_ALIVE_S: Final = 15
_BACKLOG: Final = 2048


class _Config(uvicorn.Config):
    """uvicorn's configuration with the bounds it lacks."""

    def __init__(self, app: ASGIApp, *, connections: int, head_deadline_s: float, **options: Any) -> None:
        super().__init__(app, **options)
        self.most_connections = connections
        self.head_deadline_s = head_deadline_s


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with a deadline and a size for headers, and a number of connections.

    uvicorn waits for headers for ever and keeps whatever arrives, so one idle client could hold a socket,
    and many of them the service.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn does
        super().connection_made(transport)
        if len(self.connections) > self._bounds.most_connections:
            self._refuse(Problem(503, detail="All connections are in use.", headers={"Retry-After": "1"}))
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._deadline is not None and self._head_bytes > _LARGEST_HEAD_BYTES:
            self._refuse(Problem(431, detail=f"The headers exceed {_LARGEST_HEAD_BYTES} bytes."))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._head_bytes = 0
            self._arm()

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()

    @property
    def _bounds(self) -> _Config:
        return cast("_Config", self.config)

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self._bounds.head_deadline_s, self._overdue)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _overdue(self) -> None:
        self._refuse(Problem(408, detail="The headers took too long."))

    def _refuse(self, problem: Problem) -> None:
        """Answer outside of the application and close; say nothing while an earlier answer is under way."""
        self._disarm()
        if self.cycle is None or self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison] - None until the first request
            body = problem.response().body
            head = [f"HTTP/1.1 {problem.status} {problem.title}", f"Content-Type: {PROBLEM_JSON}"]
            head += [f"{name}: {value}" for name, value in problem.headers.items()]
            head += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
            self.transport.write("\r\n".join(head).encode("ascii") + bytes(body))
        self.transport.close()


class BoundedServer(uvicorn.Server):
    """A uvicorn server whose process is gone within ``deadline_s`` of being told to stop.

    Ending hard loses nothing: state is committed with its offsets, and what was not is read again.
    """

    def __init__(self, config: uvicorn.Config, deadline_s: float = DEADLINE_S) -> None:
        super().__init__(config)
        self._deadline_s = deadline_s
        self._deadline: threading.Timer | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown and start the clock that ends it; a thread, since the loop may be what hangs."""
        if self._deadline is None:
            self._deadline = threading.Timer(self._deadline_s, self._end_process)
            self._deadline.daemon = True
            self._deadline.start()
        super().handle_exit(sig, frame)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        try:
            await super().serve(sockets)
        finally:
            if self._deadline is not None:
                self._deadline.cancel()

    def _end_process(self) -> None:
        get_logger(__name__).error("shutdown_overran", seconds=self._deadline_s)
        os._exit(70)


def make_server(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 8100,
    *,
    limit_concurrency: int = 512,
    shutdown_s: float = 10,
    head_deadline_s: float = HEAD_DEADLINE_S,
    deadline_s: float = DEADLINE_S,
) -> BoundedServer:
    """Configure the server; `run_server` runs it, and a task may ``await server.serve()``.

    ``limit_concurrency`` is the number of connections, each with one request at a time; the next ones are
    answered 503 and closed. ``shutdown_s`` is what open requests get to finish after SIGTERM.
    """
    config = _Config(
        app,
        connections=limit_concurrency,
        head_deadline_s=head_deadline_s,
        host=host,
        port=port,
        loop="uvloop" if os.name == "posix" else "asyncio",
        http=_BoundedProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(shutdown_s)),
    )
    return BoundedServer(config, deadline_s)


def run_server(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 8100,
    *,
    limit_concurrency: int = 512,
    shutdown_s: float = 10,
) -> None:
    """Serve ``app`` until SIGTERM or SIGINT; the process is gone within 15 s of either."""
    make_server(app, host, port, limit_concurrency=limit_concurrency, shutdown_s=shutdown_s).run()
