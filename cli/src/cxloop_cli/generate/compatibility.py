"""Whether a schema only grew: within a topic's version, old readers and old records must go on working.

A field may be added, and a field may take more than before. Nothing may be taken away: a reader of yesterday
meets records of today, and a reader of today meets records of the last 30 days.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

Schema = Mapping[str, Any]

_LEAST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT: Final = ("pattern", "format", "multipleOf", "uniqueItems")


@dataclass(frozen=True, slots=True)
class _Sides:
    """The two documents that a comparison walks; references are looked up in their own."""

    old: Schema
    new: Schema


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Name what a schema took away, a line each; empty where it only grew."""
    return list(_compare(old, new, "", _Sides(old, new), frozenset()))


def _compare(
    old: Schema, new: Schema, where: str, sides: _Sides, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    pair = (str(old.get("$ref", "")), str(new.get("$ref", "")))
    if any(pair):
        if pair in seen:
            return
        seen |= {pair}
    old, new = _resolved(old, sides.old), _resolved(new, sides.new)
    if "anyOf" in old or "anyOf" in new:
        yield from _compare_branches(old, new, where, sides, seen)
        return
    yield from _narrowed(old, new, where)
    yield from _compare_fields(old, new, where, sides, seen)
    for name in ("items", "additionalProperties"):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            mark = "[]" if name == "items" else ".*"
            yield from _compare(cast("Schema", before), cast("Schema", after), where + mark, sides, seen)
        elif before != after and after not in (None, True):
            yield f"{where or 'the value'}: {name} was narrowed"
    before, after = old.get("prefixItems"), new.get("prefixItems")
    if before is not None or after is not None:
        yield from _compare_places(before or [], after or [], where, sides, seen)


def _compare_places(
    old: list[Schema], new: list[Schema], where: str, sides: _Sides, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    if len(old) != len(new):
        yield f"{where}: has {len(new)} places instead of {len(old)}"
        return
    for place, (before, after) in enumerate(zip(old, new, strict=True)):
        yield from _compare(before, after, f"{where}[{place}]", sides, seen)


def _compare_branches(
    old: Schema, new: Schema, where: str, sides: _Sides, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    """Ask of each old branch that some new branch takes all of it."""
    branches = _branches(new)
    for branch in _branches(old):
        verdicts = [list(_compare(branch, one, where, sides, seen)) for one in branches]
        if all(verdicts):
            closest = min(verdicts, key=len)
            yield from (
                closest if len(branches) == 1 else [f"{where}: no longer takes {_shown(branch, sides.old)}"]
            )


def _branches(schema: Schema) -> list[Schema]:
    return cast("list[Schema]", schema["anyOf"]) if "anyOf" in schema else [schema]


def _compare_fields(
    old: Schema, new: Schema, where: str, sides: _Sides, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    before = cast("Mapping[str, Schema]", old.get("properties", {}))
    after = cast("Mapping[str, Schema]", new.get("properties", {}))
    for name, schema in before.items():
        place = f"{where}.{name}" if where else name
        if name not in after:
            yield f"{place}: was removed"
        else:
            yield from _compare(schema, after[name], place, sides, seen)
    was, now = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(now - was):
        yield f"{where}.{name}: became required".lstrip(".")
    for name in sorted((was - now) & after.keys()):
        yield f"{where}.{name}: is no longer always there".lstrip(".")


def _narrowed(old: Schema, new: Schema, where: str) -> Iterator[str]:
    place = where or "the value"
    yield from _fewer_types(old, new, place)
    yield from _fewer_choices(old, new, place)
    for name in _LEAST:
        if name in new and new[name] > old.get(name, float("-inf")):
            yield f"{place}: {name} was raised"
    for name in _MOST:
        if name in new and new[name] < old.get(name, float("inf")):
            yield f"{place}: {name} was lowered"
    for name in _EXACT:
        if name in new and new[name] != old.get(name):
            yield f"{place}: {name} was changed"


def _fewer_types(old: Schema, new: Schema, place: str) -> Iterator[str]:
    types = _types(new)
    if types is None:
        return
    missing = (_types(old) or {"anything"}) - types
    if "number" in types:  # takes whole numbers too
        missing -= {"integer"}
    if missing:
        yield f"{place}: no longer takes {', '.join(sorted(missing))}"


def _fewer_choices(old: Schema, new: Schema, place: str) -> Iterator[str]:
    choices, before = _choices(new), _choices(old)
    if choices is None:
        return
    if before is None:
        yield f"{place}: takes only listed values now"
    elif gone := before - choices:
        yield f"{place}: no longer takes {', '.join(sorted(gone))}"


def _types(schema: Schema) -> set[str] | None:
    written = schema.get("type")
    if written is None:
        return None
    return {written} if isinstance(written, str) else set(cast("list[str]", written))


def _choices(schema: Schema) -> set[str] | None:
    """Give the listed values as JSON; a constant is a list of one, so that it may grow into an enumeration."""
    if "const" in schema:
        return {json.dumps(schema["const"])}
    if "enum" in schema:
        return {json.dumps(value) for value in cast("list[Any]", schema["enum"])}
    return None


def _resolved(schema: Schema, document: Schema) -> Schema:
    while (reference := schema.get("$ref")) is not None:
        target: Any = document
        for part in str(reference).removeprefix("#/").split("/"):
            target = target[part]
        schema = cast("Schema", target)
    return schema


def _shown(schema: Schema, document: Schema) -> str:
    reference = schema.get("$ref")
    if reference is not None:
        return str(reference).rpartition("/")[2]
    return str(_resolved(schema, document).get("type", "what it took"))
