"""Running an application under uvicorn: bounded in connections, headers, silence and shutdown."""

import os
import threading
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from cxloop_common.telemetry import get_logger

DEADLINE_S: Final = 14.0
"""Time from SIGTERM to the end of the process, whatever still runs: supervisors kill at 15 or later."""

_KEEP_ALIVE_S: Final = 15


class BoundedServer(uvicorn.Server):
    """A uvicorn server that is gone within `DEADLINE_S` of being told to stop.

    Ending hard loses nothing: state is committed with its offsets, and what was not is read again.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._deadline: threading.Timer | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown and start the clock that ends it."""
        if self._deadline is None:
            self._deadline = threading.Timer(DEADLINE_S, _end_process)
            self._deadline.daemon = True
            self._deadline.start()
        super().handle_exit(sig, frame)

    async def serve(self, sockets: list[Any] | None = None) -> None:
        """Serve until told to stop; the clock is stopped when the shutdown was in time."""
        try:
            await super().serve(sockets)
        finally:
            if self._deadline is not None:
                self._deadline.cancel()


def _end_process() -> None:
    get_logger(__name__).error("shutdown_overran", seconds=DEADLINE_S)
    os._exit(70)


def make_server(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 8100,
    *,
    limit_concurrency: int = 512,
    shutdown_s: float = 10,
    backlog: int = 2048,
) -> BoundedServer:
    """Configure the server; `run_server` runs it, and a task may ``await server.serve()``."""
    return BoundedServer(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="uvloop" if os.name == "posix" else "asyncio",
            http="httptools",
            ws="none",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limit_concurrency,
            backlog=backlog,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, int(shutdown_s)),
        )
    )


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
