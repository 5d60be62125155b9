"""Query parameters: refusing unknown and repeated ones, reading windows and instants."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args, get_origin

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from starlette.requests import Request

from cxloop_common.http.problems import Problem

_WINDOW: Final = re.compile(r"(?P<count>[1-9]\d{0,5})(?P<unit>[mhd])", re.ASCII)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_INSTANT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?(?P<zone>[Zz]|[+-]\d{2}:\d{2})?", re.ASCII
)
_FRACTION: Final = re.compile(r"(\.\d{6})\d+")
_LONGEST_WINDOW: Final = timedelta(days=3660)
_LONGEST_NAME: Final = 64
_MOST_ERRORS: Final = 20


class StrictQuery:
    """Refuses what the matched route would overlook or choke on; one an app, as an app-wide dependency.

    A filter that is ignored answers a question nobody asked, and looks right: parameters that the route does not
    declare are refused, and second values of those that take one. So is U+0000, which no name here holds and
    PostgreSQL does not take.
    """

    def __init__(self) -> None:
        # By identity, because Dependant is unhashable; the object is kept so that its id stays its own.
        self._declared: dict[int, tuple[Dependant, Mapping[str, bool]]] = {}

    async def __call__(self, request: Request) -> None:
        """Raise Problem 400 naming each parameter at fault, and for an unknown one the nearest that is known."""
        if "\0" in request.scope["path"]:
            raise Problem(400, detail="The path holds the character U+0000, and nothing here does.")
        if not request.scope["query_string"]:
            return
        declared = self._names(request)
        sent = request.query_params.multi_items()
        names = [name for name, _ in sent]
        unknown = [name for name in dict.fromkeys(names) if name not in declared]
        if unknown:
            raise Problem(
                400,
                title="Unknown query parameter",
                detail=_known(declared),
                errors=[
                    {"parameter": name[:_LONGEST_NAME], "detail": _hint(name, declared)}
                    for name in unknown[:_MOST_ERRORS]
                ],
            )
        for name, value in sent:
            if "\0" in value:
                raise parameter_problem(name, "it holds the character U+0000, and nothing here does")
            if not declared[name] and names.count(name) > 1:
                raise parameter_problem(name, "it takes one value; give it once")

    def _names(self, request: Request) -> Mapping[str, bool]:
        """Give the declared names, and of each whether it may be repeated."""
        dependant = _dependant(request)
        if dependant is None:
            return {}
        cached = self._declared.get(id(dependant))
        if cached is None:
            names = dict(_declared_names(dependant))
            cached = self._declared[id(dependant)] = (dependant, names)
        return cached[1]


def _dependant(request: Request) -> Dependant | None:
    """Give the matched route's parameters; a route of an included router has them in a context of its own."""
    own: dict[str, Any] = request.scope.get("fastapi") or {}
    matched: Any = own.get("effective_route_context") or request.scope.get("route")
    dependant = getattr(matched, "dependant", None)
    return dependant if isinstance(dependant, Dependant) else None


def _declared_names(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    for field in dependant.query_params:
        kind: object = field.field_info.annotation
        if isinstance(kind, type) and issubclass(
            kind, BaseModel
        ):  # a model of parameters: Annotated[M, Query()]
            for name, member in kind.model_fields.items():
                yield member.alias or name, _takes_many(member.annotation)
        else:
            yield field.alias, _takes_many(kind)
    for below in dependant.dependencies:
        yield from _declared_names(below)


def _takes_many(kind: Any) -> bool:
    """Tell whether a type, or one of those it is a union of, is a sequence of values."""
    origin: Any = get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        return not issubclass(origin, str | bytes)
    return any(_takes_many(part) for part in get_args(kind))


def _known(declared: Mapping[str, bool]) -> str:
    if not declared:
        return "This call takes no query parameters."
    return f"This call takes: {', '.join(sorted(declared))}."


def _hint(name: str, declared: Mapping[str, bool]) -> str:
    nearest = difflib.get_close_matches(name[:_LONGEST_NAME], sorted(declared), n=1, cutoff=0.5)
    return f"unknown; did you mean {nearest[0]}?" if nearest else "unknown"


def parse_window(text: str, *, parameter: str = "window", longest: timedelta = _LONGEST_WINDOW) -> timedelta:
    """Read a window such as ``15m``, ``24h`` or ``90d``. Raises Problem 400 naming the parameter."""
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise parameter_problem(parameter, "write a number and m, h or d, such as 15m, 24h or 30d")
    window = timedelta(**{_UNITS[match["unit"]]: int(match["count"])})
    if window > longest:
        raise parameter_problem(parameter, f"the longest is {longest.days}d")
    return window


def parse_instant(text: str, *, parameter: str = "at") -> datetime:
    """Read an RFC 3339 time and give it in UTC. Raises Problem 400 naming the parameter, also without zone.

    Digits beyond microseconds are cut off.
    """
    match = _INSTANT.fullmatch(text)
    if match is None or match["zone"] is None:
        hint = "write an RFC 3339 time with its zone, such as 2026-03-06T16:30:00Z"
        if " " in text:
            hint += "; in a URL, + is written %2B"
        raise parameter_problem(parameter, hint)
    try:
        return datetime.fromisoformat(_FRACTION.sub(r"\1", text.upper())).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise parameter_problem(parameter, "there is no such date or time") from error


def parameter_problem(parameter: str, detail: str) -> Problem:
    """Give the 400 for one query, path or header parameter."""
    return Problem(
        400,
        detail=f"The parameter {parameter} cannot be taken: {detail}.",
        errors=[{"parameter": parameter, "detail": detail}],
    )
