"""Reading what senders write: JSON within limits, and the many ways of saying nothing."""

from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final, cast

import msgspec

DEEPEST: Final = 64
"""Levels of nesting that a body may have; no sender's documented body reaches 10."""
_LONGEST_INTEGER_BITS: Final = 256
"""Far beyond any sender's id, and short enough to be written out again."""


class Reason(StrEnum):
    """Why a delivery, or one item of it, gave no event. Named in answers, tables and metrics."""

    BROKEN_JSON = "broken_json"
    INVALID_UTF8 = "invalid_utf8"
    TOO_DEEP = "too_deep"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    NUL_CHARACTER = "nul_character"
    UNKNOWN_SHAPE = "unknown_shape"
    UNKNOWN_VALUE = "unknown_value"
    MISSING_FIELD = "missing_field"
    TIME_UNREADABLE = "time_unreadable"
    TIME_WITHOUT_ZONE = "time_without_zone"
    TIME_BEFORE_2000 = "time_before_2000"
    TIME_IN_THE_FUTURE = "time_in_the_future"
    SCORE_OUT_OF_SCALE = "score_out_of_scale"
    SCALE_UNKNOWN = "scale_unknown"
    EXPRESSION_FAILED = "expression_failed"
    NO_RULE_MATCHED = "no_rule_matched"
    INVALID_EVENT = "invalid_event"
    SOURCE_UNKNOWN = "source_unknown"
    # Read and understood, and nothing of ours to tell:
    NOT_OURS = "not_ours"
    NO_ANSWER = "no_answer"
    IGNORED_BY_RULE = "ignored_by_rule"


class UnreadableError(ValueError):
    """An item that gives no event. `detail` says what to do and never quotes the item."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


def parse_json(body: bytes) -> Any:
    """Decode a body. Raises UnreadableError for what is not JSON or exceeds the limits."""
    try:
        document: Any = msgspec.json.decode(body)
    except RecursionError:
        raise UnreadableError(Reason.TOO_DEEP, f"the body nests deeper than {DEEPEST} levels") from None
    except UnicodeDecodeError:
        raise UnreadableError(Reason.INVALID_UTF8, "the body is not UTF-8") from None
    except msgspec.ValidationError:
        raise UnreadableError(
            Reason.NUMBER_OUT_OF_RANGE, "a number does not fit into 64-bit floating point"
        ) from None
    except msgspec.DecodeError:
        raise UnreadableError(Reason.BROKEN_JSON, "the body is not JSON") from None
    _check_limits(document)
    return document


def _check_limits(document: Any) -> None:
    # Without recursion: the point is to find what would exhaust the stack of those that come after.
    level: list[Any] = [document]
    depth = 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise UnreadableError(Reason.TOO_DEEP, f"the body nests deeper than {DEEPEST} levels")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(cast("dict[str, Any]", value).values())
            elif isinstance(value, list):
                below.extend(cast("list[Any]", value))
            elif isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER_BITS:
                raise UnreadableError(Reason.NUMBER_OUT_OF_RANGE, "an integer is longer than any id")
        level = below


def item_hash(item: Any) -> str:
    """Hash the content of an item (32 hex digits), whatever the order of its keys."""
    return blake2b(msgspec.json.encode(item, order="deterministic"), digest_size=16).hexdigest()


def as_object(value: Any, name: str) -> dict[str, Any]:
    """Give a JSON object, or raise UnreadableError naming where one was expected."""
    if not isinstance(value, dict):
        raise UnreadableError(Reason.UNKNOWN_SHAPE, f"{name} is not an object")
    return cast("dict[str, Any]", value)


def optional_object(value: Any) -> dict[str, Any]:
    """Give a JSON object, or an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def object_id(value: Any) -> str | None:
    """Give the id of a thing: text or number for the same field; null, "", "0", 0 and {} mean nobody."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        if not value.is_integer():
            return None
        value = int(value)
    text = str(value).strip()
    return None if text in ("", "0") else text


def required_id(value: Any, name: str) -> str:
    """Give an id, or raise UnreadableError naming the field."""
    found = object_id(value)
    if found is None:
        raise UnreadableError(Reason.MISSING_FIELD, f"{name} is missing or empty")
    return found


def text(value: Any) -> str | None:
    """Give a text with something in it, trimmed; None for anything else."""
    if not isinstance(value, str):
        return None
    return value.strip() or None


def texts(value: Any) -> list[str]:
    """Give the texts of a list; senders write null for no tags."""
    if not isinstance(value, list):
        return []
    return [item for item in cast("list[Any]", value) if isinstance(item, str) and item]


def contains_nul(value: Any) -> bool:
    """Tell whether any text or key of a value holds U+0000, which PostgreSQL cannot."""
    level: list[Any] = [value]
    while level:
        current = level.pop()
        if isinstance(current, str):
            if "\0" in current:
                return True
        elif isinstance(current, dict):
            level.extend(cast("dict[str, Any]", current).keys())
            level.extend(cast("dict[str, Any]", current).values())
        elif isinstance(current, list | tuple):
            level.extend(cast("list[Any]", current))
    return False
