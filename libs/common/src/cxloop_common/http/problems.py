"""RFC 9457 problem answers: every error of a service's API is one, with nothing of the request in it."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

PROBLEM_JSON: Final = "application/problem+json"
_LONGEST_POINTER: Final = 200
_MOST_ERRORS: Final = 50

# Sentences for answers that Starlette gives itself, whose own detail is the bare phrase.
_DETAILS: Final[Mapping[int, str]] = {
    404: "There is nothing at this path.",
    405: "This path does not take that method; the Allow header names those it takes.",
    500: "Something went wrong on our side. The log has the story under this answer's X-Request-Id.",
}


class Problem(Exception):  # noqa: N818 - RFC 9457's own word, and it is raised all over the APIs
    """An answer other than the one asked for; raise it anywhere below an endpoint.

    ``detail`` says what was wrong and what to do, and never quotes what was sent. ``errors`` holds one
    mapping a fault: ``pointer`` (JSON pointer into the body) or ``parameter``, and ``detail``.
    """

    def __init__(
        self,
        status: int,
        title: str | None = None,
        detail: str | None = None,
        *,
        type: str = "about:blank",  # noqa: A002 - the member's name in RFC 9457
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.title = title if title is not None else _phrase(status)
        self.detail = detail
        self.type = type
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(f"{status} {self.title}")

    def body(self) -> dict[str, Any]:
        """Give the members of the answer; empty ones are left out."""
        members: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail:
            members["detail"] = self.detail
        if self.errors:
            members["errors"] = [dict(error) for error in self.errors]
        return members

    def response(self) -> Response:
        """Give the answer itself, for code outside of FastAPI's reach."""
        return Response(
            msgspec.json.encode(self.body()), self.status, headers=self.headers, media_type=PROBLEM_JSON
        )


# RFC 9110's phrases; Python took them over in 3.13 only.
_PHRASES: Final[Mapping[int, str]] = {413: "Content Too Large", 422: "Unprocessable Content"}


def _phrase(status: int) -> str:
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def json_pointer(parts: Sequence[int | str]) -> str:
    """Write a path into a JSON document as an RFC 6901 pointer, shortened: keys are the caller's."""
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return pointer[:_LONGEST_POINTER]


def validation_problem(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Turn pydantic's errors into one problem: 400 for parameters and broken JSON, 422 for a body's content.

    Uses type, location and message only; the input and its context stay out.
    """
    faults = [_fault(error) for error in errors[:_MOST_ERRORS]]
    if any(error["type"] == "json_invalid" for error in errors):
        return Problem(400, detail="The body is not valid JSON.", errors=faults)
    if any(error["loc"][0] != "body" for error in errors):
        return Problem(400, detail="A parameter is missing or not of its form.", errors=faults)
    return Problem(422, detail="The body does not fit this call's schema.", errors=faults)


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    place, *path = cast("tuple[int | str, ...]", error["loc"])
    detail = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if error["type"] == "json_invalid":
        return {"pointer": "", "detail": "JSON decode error"}
    if place == "body":
        return {"pointer": json_pointer(path), "detail": detail}
    return {"parameter": ".".join(str(part) for part in path)[:_LONGEST_POINTER], "detail": detail}


async def _on_problem(_: Request, error: Exception) -> Response:
    return cast("Problem", error).response()


async def _on_http_exception(_: Request, error: Exception) -> Response:
    raised = cast("HTTPException", error)
    # Starlette fills in the bare phrase where nobody wrote a detail.
    bare = raised.detail in {_phrase(raised.status_code), "Not Found", "Method Not Allowed"}
    detail = _DETAILS.get(raised.status_code) if bare else raised.detail
    return Problem(raised.status_code, detail=detail, headers=raised.headers).response()


async def _on_validation(_: Request, error: Exception) -> Response:
    return validation_problem(cast("RequestValidationError", error).errors()).response()


def internal_problem() -> Problem:
    """Give the answer for an error nobody foresaw."""
    return Problem(500, detail=_DETAILS[500])


def method_problem(allowed: Iterable[str]) -> Problem:
    """Give the answer for a path that does not take the request's method."""
    return Problem(405, detail=_DETAILS[405], headers={"Allow": ", ".join(sorted(allowed))})


async def _on_crash(_: Request, __: Exception) -> Response:
    return internal_problem().response()


def install_handlers(app: FastAPI) -> None:
    """Make every error of ``app`` a problem answer."""
    handlers: dict[type[Exception], ExceptionHandler] = {
        Problem: _on_problem,
        HTTPException: _on_http_exception,
        RequestValidationError: _on_validation,
        Exception: _on_crash,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


PROBLEM_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body"},
                    "parameter": {"type": "string", "description": "query, path or header parameter"},
                    "part": {"type": "string", "description": "part of the service that is not ready"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
"""JSON Schema of a problem, for the OpenAPI documents."""
