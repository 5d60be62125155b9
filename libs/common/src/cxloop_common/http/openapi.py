"""The part of the OpenAPI documents that is the same for every service: problem answers."""

from typing import Any, Final

from cxloop_common.http.problems import PROBLEM_JSON, PROBLEM_SCHEMA

_ANSWER: Final[dict[str, Any]] = {
    "description": "A problem; `detail` says what was wrong and what to do.",
    "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "options", "head"})


def describe_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Say in an OpenAPI document that errors are problems; changes and returns ``document``.

    FastAPI announces a 422 of its own shape, which these services never send.
    """
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = dict(PROBLEM_SCHEMA)
    for path in document.get("paths", {}).values():
        for method, operation in path.items():
            if method in _METHODS:
                responses: dict[str, Any] = operation.setdefault("responses", {})
                responses.pop("422", None)
                responses.setdefault("default", _ANSWER)
    return document
