"""The mapping part of sources.yaml: expressions and rules."""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final, cast, get_args

from cxloop_common.events import (
    CanonicalEventBase,
    CustomerErased,
    SurveyResponded,
    SurveySent,
    TouchpointRecorded,
)
from cxloop_common.identifiers import IdentifierError, IdentifierReason
from cxloop_common.identifiers import normalise as normalise_identifier
from cxloop_common.topics import TICKET_EVENTS
from cxloop_ingest.configuration.nodes import Node, nearest
from cxloop_ingest.domain.expressions import Expression, ExpressionError
from cxloop_ingest.domain.sources import Rule
from cxloop_ingest.domain.times import Unit

MODELS: Final[Mapping[str, type[CanonicalEventBase]]] = {
    model.TYPE: cast("type[CanonicalEventBase]", model)
    for model in (*TICKET_EVENTS, SurveyResponded, SurveySent, TouchpointRecorded, CustomerErased)
}
_RULE_FIELDS: Final = (
    "name",
    "when",
    "each",
    "ignore",
    "type",
    "id",
    "time",
    "identifiers",
    "data",
    "dimensions",
)
_EXPRESSION_FIELDS: Final = ("value", "from", "property", "values", "default", "unit")
_SHARED_FIELDS: Final = frozenset({"id", "source", "type", "time", "identifiers", "dimensions"})
_PROPERTY_PATH: Final = "event_data.person_properties"


def read_expression(node: Node) -> Expression | None:
    """Read an expression; reports faults and gives None.

    It is a JMESPath, `{value: ...}`, `{from: ..., values: {...}, default: ...}`, or `{property: ...}` for a
    person's property at Delighted.
    """
    if isinstance(node.value, str):
        return _compiled(node, str(node.value))
    if not isinstance(node.value, dict):
        node.problem("expected a JMESPath expression, or a constant as {value: ...}")
        return None
    fields = node.fields(_EXPRESSION_FIELDS)
    origins = [name for name in ("value", "from", "property") if name in fields]
    if len(origins) != 1:
        node.problem("give exactly one of value, from, property")
        return None
    if origins == ["value"]:
        for name in ("values", "default", "unit"):
            if name in fields:
                fields[name].problem("has no meaning beside value, which is a constant")
        return Expression(constant=fields["value"].plain())
    origin = fields[origins[0]]
    path = origin.text()
    if path is None:
        return None
    path = _property_path(path) if origins == ["property"] else path
    return _compiled(origin, path, **_options(fields))


def _options(fields: Mapping[str, Node]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if "default" in fields:
        options["default"] = fields["default"].plain()
    if "values" in fields:
        table = fields["values"].entries("a table of values")
        options["values"] = {_spelt(name): entry.plain() for name, entry in table.items()}
        options["strict"] = "default" not in fields
    return options


def read_property(node: Node) -> Expression | None:
    """Read the name of a person's property at Delighted."""
    name = node.text()
    return _compiled(node, _property_path(name)) if name is not None else None


def _property_path(name: str) -> str:
    # A quoted identifier of JMESPath is a JSON string.
    return f"{_PROPERTY_PATH}.{json.dumps(name)}"


def _spelt(name: str) -> str:
    # YAML reads true as a boolean, and the sender's JSON writes it so.
    return {"True": "true", "False": "false"}.get(name, name)


def _compiled(node: Node, path: str, **options: Any) -> Expression | None:
    try:
        return Expression.compile(path, **options)
    except ExpressionError as error:
        node.problem(str(error))
        return None


def read_expressions(node: Node) -> dict[str, Expression]:
    """Read a mapping of names to expressions."""
    return {
        name: expression
        for name, entry in node.entries("names and their expressions").items()
        if (expression := read_expression(entry)) is not None
    }


def read_rules(node: Node, source: str, *, given: Collection[str]) -> tuple[Rule, ...]:
    """Read a mapping's rules. `given` names the fields that the source's own defaults provide."""
    rules: list[Rule] = []
    for number, item in enumerate(node.items("a list of rules"), start=1):
        rule = _rule(item, number, source, given)
        if rule is not None:
            rules.append(rule)
    if node.value == []:
        node.problem("has no rules")
    return tuple(rules)


def _rule(node: Node, number: int, source: str, given: Collection[str]) -> Rule | None:
    fields = node.fields(_RULE_FIELDS, "a rule")
    name = (fields["name"].text() if "name" in fields else None) or str(number)
    ignore = fields["ignore"].boolean() if "ignore" in fields else False
    common: dict[str, Any] = {
        "name": name,
        "when": read_expression(fields["when"]) if "when" in fields else None,
        "each": read_expression(fields["each"]) if "each" in fields else None,
        "ignore": ignore,
    }
    if ignore:
        return Rule(type="", **common)
    if "type" not in fields:
        node.problem(f"type is missing; known: {', '.join(sorted(MODELS))}")
        return None
    kind = fields["type"].text()
    if kind is None:
        return None
    if kind not in MODELS:
        fields["type"].problem(f"unknown event type; {nearest(kind, MODELS)}")
        return None
    if "time" not in fields:
        node.problem("time is missing; {value: received_at} takes the time of the delivery")
    data = read_expressions(fields["data"]) if "data" in fields else {}
    _check_data(fields.get("data") or node, kind, data, given)
    return Rule(
        type=kind,
        id=read_expression(fields["id"]) if "id" in fields else None,
        time=read_expression(fields["time"]) if "time" in fields else None,
        time_unit=_unit(fields["time"]) if "time" in fields else None,
        identifiers=_identifiers(fields["identifiers"], source) if "identifiers" in fields else (),
        data=data,
        dimensions=read_expressions(fields["dimensions"]) if "dimensions" in fields else {},
        **common,
    )


def _unit(node: Node) -> Unit | None:
    entry = node.entries().get("unit") if isinstance(node.value, dict) else None
    if entry is None:
        return None
    if entry.value in get_args(Unit):
        return cast("Unit", str(entry.value))
    entry.problem("unknown unit; known: ms, s")
    return None


def _identifiers(node: Node, source: str) -> tuple[tuple[str, Expression], ...]:
    found: list[tuple[str, Expression]] = []
    for scheme, entry in node.entries("schemes and their expressions").items():
        try:
            normalise_identifier(f"{scheme}:a1", source)
        except IdentifierError as error:
            if error.reason is IdentifierReason.UNKNOWN_SCHEME:
                entry.problem(f"unknown scheme; use email, phone, user, account or {source}.<kind>")
                continue
        expression = read_expression(entry)
        if expression is not None:
            found.append((scheme, expression))
    return tuple(found)


def _check_data(node: Node, kind: str, data: Mapping[str, Expression], given: Collection[str]) -> None:
    model = MODELS[kind]
    known = {field.alias or name for name, field in model.model_fields.items() if name not in _SHARED_FIELDS}
    entries = node.entries() if isinstance(node.value, dict) else {}
    for name in data:
        top, dot, _ = name.partition(".")
        place = entries.get(name, node)
        if top not in known:
            place.problem(f"{kind} has no field {top}; {nearest(top, known)}")
        elif dot and top in data:
            place.problem(f"{top} is given as a whole already")
    required = {
        field.alias or name
        for name, field in model.model_fields.items()
        if field.is_required() and name not in _SHARED_FIELDS
    }
    missing = required - {name.partition(".")[0] for name in data} - set(given)
    if missing:
        node.problem(f"{kind} needs {', '.join(sorted(missing))}")
