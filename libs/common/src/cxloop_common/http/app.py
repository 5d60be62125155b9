"""The FastAPI application every service starts from.

The outermost layer is plain ASGI: it names the request, keeps its trace, times it, logs it and turns a crash
into an answer. Routes that must be fast are answered from that layer and pass through nothing else.
"""

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Depends, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, Histogram
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as ASGIScope

from cxloop_common import telemetry as tracing
from cxloop_common.http.access import require
from cxloop_common.http.openapi import describe_problems
from cxloop_common.http.parameters import StrictQuery
from cxloop_common.http.problems import Problem, install_handlers, internal_problem, method_problem
from cxloop_common.http.readiness import Readiness
from cxloop_common.security import Scope, TokenStore
from cxloop_common.telemetry import Telemetry, child_traceparent, error_fields, get_logger

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
HotEndpoint = Callable[[Request], Awaitable[Response]]

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{8,128}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLIENT_LEFT: Final = 499  # nginx's number for it; nobody receives it, metrics and logs show it
BODY_DEADLINE_S: Final = 30.0
"""Time a request's body may take to arrive; hot routes set their own."""

_UNMATCHED: Final = "(no route)"
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_DOCUMENTS: Final = frozenset({"/openapi.json", "/docs"})


@dataclass(frozen=True, slots=True)
class _HotRoute:
    template: str
    pattern: re.Pattern[str]
    convertors: Mapping[str, Any]
    methods: frozenset[str]
    endpoint: HotEndpoint


class ServiceApp(FastAPI):
    """A FastAPI application inside the layer described above; made by `create_app`."""

    def __init__(
        self, telemetry: Telemetry, max_request_bytes: int, body_deadline_s: float, **options: Any
    ) -> None:
        super().__init__(**options)
        self._telemetry_of_service = telemetry
        self._max_request_bytes = max_request_bytes
        self._body_deadline_s = body_deadline_s
        self._hot: list[_HotRoute] = []
        self._histograms: dict[tuple[str, str, int], Histogram] = {}
        self._hot_operations: dict[str, dict[str, Any]] = {}

    def add_hot_route(
        self,
        path: str,
        endpoint: HotEndpoint,
        *,
        methods: Sequence[str] = ("POST",),
        operation: Mapping[str, Any] | None = None,
    ) -> None:
        """Answer ``path`` from the outermost layer: request id, trace, timing, problem answers, no more.

        No size limit, no token, no query check, no access log: the endpoint sees to what it needs, and
        raises `Problem` as any other. ``path`` is a Starlette path (``/webhooks/{source}``); its parameters
        are in ``request.path_params``. ``operation`` is its OpenAPI operation object.
        """
        pattern, template, convertors = compile_path(path)
        self._hot.append(_HotRoute(template, pattern, convertors, frozenset(methods), endpoint))
        if operation is not None:
            self._hot_operations[template] = {method.lower(): dict(operation) for method in methods}

    def openapi(self) -> dict[str, Any]:
        """Give the OpenAPI document, hot routes and problem answers included."""
        if self.openapi_schema is None:
            document = super().openapi()
            document.setdefault("paths", {}).update(self._hot_operations)
            self.openapi_schema = describe_problems(document)
        return self.openapi_schema

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Answer one request; see the module's description."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        started = time.perf_counter()
        name, trace = _identify(scope)
        id_token = tracing.request_id.set(name)
        trace_token = tracing.traceparent.set(trace)
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", [])
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        hot = self._hot_route(scope)
        try:
            if hot is not None:
                await self._answer_hot(hot, scope, receive, named)
            else:
                await self._answer(super().__call__, scope, receive, named)
        except ClientDisconnect:
            get_logger(__name__).info("client_left", method=scope["method"])
        except Exception as error:  # noqa: BLE001 - the last place to log a crash under its request's id
            get_logger(__name__).error("request_crashed", method=scope["method"], **error_fields(error))
            if not status:
                await internal_problem().response()(scope, receive, named)
        finally:
            seconds = time.perf_counter() - started
            self._account(scope, hot, status or _CLIENT_LEFT, seconds)
            tracing.traceparent.reset(trace_token)
            tracing.request_id.reset(id_token)

    def _hot_route(self, scope: ASGIScope) -> _HotRoute | None:
        path: str = scope["path"]
        for route in self._hot:
            if match := route.pattern.match(path):
                scope["path_params"] = {
                    key: route.convertors[key].convert(value) for key, value in match.groupdict().items()
                }
                return route
        return None

    async def _answer_hot(self, route: _HotRoute, scope: ASGIScope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        try:
            if scope["method"] in route.methods:
                response = await route.endpoint(Request(scope, receive))
            else:
                response = method_problem(route.methods).response()
        except Problem as problem:
            response = problem.response()
        await response(scope, receive, send)

    async def _answer(self, app: ASGIApp, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Pass on to FastAPI with a body that ends, one way or the other, within its size and time."""
        limit = self._max_request_bytes
        too_large = f"The body is larger than this service takes ({limit} bytes)."
        if _announced_bytes(scope) > limit:
            await Problem(413, detail=too_large).response()(scope, receive, send)
            return
        taken = 0
        complete = False
        deadline = asyncio.get_running_loop().time() + self._body_deadline_s

        async def limited() -> Message:
            nonlocal taken, complete
            if complete:  # from here on it only waits for the client to leave
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, "The body took too long.") from error
            complete = not message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > limit:
                raise HTTPException(413, too_large)  # FastAPI would turn any other exception here into a 400
            return message

        await app(scope, limited, send)

    def _account(self, scope: ASGIScope, hot: _HotRoute | None, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        template = hot.template if hot is not None else _template(scope)
        key = (method, template, status)
        histogram = self._histograms.get(key)
        if histogram is None:
            histogram = self._histograms[key] = self._telemetry_of_service.http_seconds.labels(*key)
        histogram.observe(seconds)
        if hot is None and template not in _QUIET:
            # The template, not the path: paths and queries can name a customer.
            get_logger("cxloop.access").info(
                "request", method=method, route=template, status=status, ms=round(seconds * 1000, 2)
            )


def _identify(scope: ASGIScope) -> tuple[str, str]:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    given, parent = headers.get(b"x-request-id"), headers.get(b"traceparent")
    if parent is None:
        # One draw for both: this stands before every answer, the hottest included.
        fresh = os.urandom(40).hex()
        name, trace = fresh[:32], f"00-{fresh[32:64]}-{fresh[64:]}-00"
    else:
        name, trace = secrets.token_hex(16), child_traceparent(parent.decode("latin-1"))
    if given is not None and _REQUEST_ID.fullmatch(given):
        name = given.decode("ascii")
    return name, trace


def _announced_bytes(scope: ASGIScope) -> int:
    for key, value in scope["headers"]:
        if key == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _template(scope: ASGIScope) -> str:
    own: dict[str, Any] = scope.get("fastapi") or {}
    matched: Any = own.get("effective_route_context") or scope.get("route")
    path = getattr(matched, "path_format", None) or getattr(matched, "path", None)
    if isinstance(path, str):
        return path
    return scope["path"] if scope["path"] in _DOCUMENTS else _UNMATCHED


@asynccontextmanager
async def _no_lifespan(_: FastAPI) -> AsyncGenerator[None]:
    yield


def create_app(
    *,
    service: str,
    title: str,
    version: str,
    tokens: TokenStore,
    telemetry: Telemetry,
    lifespan: Lifespan | None = None,
    metrics_open: bool = False,
    max_request_bytes: int = 1_048_576,
    body_deadline_s: float = BODY_DEADLINE_S,
    description: str = "",
) -> ServiceApp:
    """Make a service's application, with health, readiness, metrics and problem answers in place.

    The service adds its routers, and its checks with ``app.state.readiness.register(name, check)``.
    ``app.state`` also holds ``tokens``, ``telemetry`` and ``service``.
    """
    app = ServiceApp(
        telemetry,
        max_request_bytes,
        body_deadline_s,
        title=title,
        version=version,
        description=description,
        lifespan=lifespan or _no_lifespan,
        dependencies=[Depends(StrictQuery())],
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.service = service
    app.state.tokens = tokens
    app.state.telemetry = telemetry
    app.state.readiness = checks = Readiness()
    install_handlers(app)

    @app.get("/healthz", tags=["operations"], summary="Whether the process is up")
    async def healthz() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        return {"status": "up", "service": service, "version": version}

    @app.get("/readyz", tags=["operations"], summary="Whether all parts work; 503 names those that do not")
    async def readyz() -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        return await checks.answer()

    access = [] if metrics_open else [Depends(require(Scope.READ))]

    @app.get(
        "/metrics",
        tags=["operations"],
        summary="Prometheus metrics",
        dependencies=access,
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(telemetry.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return app
