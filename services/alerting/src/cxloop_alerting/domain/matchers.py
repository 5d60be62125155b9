"""Matchers: one comparison of one label, written `name op value`.

Operators are `=` `!=` `=~` `!~` and, on numbers, `<` `<=` `>` `>=`. An absent label is the empty string.
Regular expressions are RE2, match the whole value and cannot be made slow by a sender. The text forms follow
Alertmanager's matchers, which people who route alerts already know.
"""

import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import re2

Labels = Mapping[str, str | tuple[str, ...]]
"""Name to value. A label with several values (`tag`) matches if any of them does."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_FORM: Final = re.compile(
    rf"\s*(?P<name>{NAME.pattern})\s*(?P<op>=~|!~|!=|<=|>=|=|<|>)\s*(?P<value>.*?)\s*", re.DOTALL
)
_NUMERIC: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_PatternError = cast("type[Exception]", cast("Any", re2).error)
_KEPT_ANSWERS: Final = 65_536


class MatcherError(ValueError):
    """A text that is no matcher; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One comparison. Made by `parse_matcher`, which has checked numbers and patterns."""

    name: str
    op: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.op}{json.dumps(self.value, ensure_ascii=False)}"

    def matches(self, labels: Labels) -> bool:
        """Tell whether the labels satisfy the matcher; `!=` and `!~` are the negations of `=` and `=~`."""
        got = labels.get(self.name, "")
        values = got if isinstance(got, tuple) else (got,)
        if self.op in _NUMERIC:
            return any(self._compares(value) for value in values)
        if self.op in ("=", "!="):
            hit = self.value in (values or ("",))
        else:
            hit = any(_full_match(self.value, value) for value in values or ("",))
        return hit == (self.op in ("=", "=~"))

    def _compares(self, value: str) -> bool:
        number = _number(value)
        bound = _number(self.value)
        return number is not None and bound is not None and _NUMERIC[self.op](number, bound)


def parse_matcher(text: str) -> Matcher:
    """Read one matcher. Raises MatcherError for a bad form, number, quote or pattern."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise MatcherError("not a matcher; write name=value, with one of = != =~ !~ < <= > >=")
    name, op, value = form["name"], form["op"], form["value"]
    if value.startswith('"'):
        value = _unquote(value)
    elif '"' in value or "\n" in value:
        raise MatcherError('a value with quotes or line breaks is written in quotes, with \\" inside')
    if op in _NUMERIC and _number(value) is None:
        raise MatcherError(f"{op} compares numbers, and the value is none")
    if op in ("=~", "!~"):
        try:
            _compiled(value)
        except _PatternError as error:
            raise MatcherError(f"not an RE2 pattern: {_reason(error)}") from None
    return Matcher(name, op, value)


def all_match(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Tell whether every matcher holds; true of none."""
    return all(matcher.matches(labels) for matcher in matchers)


def _unquote(value: str) -> str:
    out: list[str] = []
    inside = iter(value[1:])
    for character in inside:
        if character == '"':
            if next(inside, None) is not None:
                raise MatcherError("text follows the closing quote")
            return "".join(out)
        if character == "\\":
            escaped = next(inside, "")
            known = {"n": "\n", '"': '"', "\\": "\\"}
            # An unknown escape keeps its backslash: "\d+" is what people write for a pattern.
            out.append(known.get(escaped, "\\" + escaped))
        else:
            out.append(character)
    raise MatcherError("the closing quote is missing")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _reason(error: Exception) -> str:
    first: Any = error.args[0] if error.args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Any:
    options: Any = re2.Options()
    options.log_errors = False  # the error is raised; RE2 would print it to stderr besides
    return cast("Any", re2).compile(pattern, options)


@lru_cache(maxsize=_KEPT_ANSWERS)
def _full_match(pattern: str, value: str) -> bool:
    # Label values repeat: the answer is kept, a pattern costs microseconds only once a value.
    return _compiled(pattern).fullmatch(value) is not None
