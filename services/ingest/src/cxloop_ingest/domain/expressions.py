"""Expressions of a source's mapping: a JMESPath, a constant, or a JMESPath with a table of values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError

from cxloop_ingest.domain.reading import Reason, UnreadableError

RECEIVED_AT: Final = "received_at"
"""The constant `{value: received_at}` of a rule's `time`: when the delivery came, for bodies without a time."""


class ExpressionError(ValueError):
    """A text that is no JMESPath; the message says where it breaks."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One value to be taken from a document. Exactly one of `constant` and `path` counts."""

    path: str | None = None
    constant: Any = None
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the sender writes, as text, to what we write; empty takes the sender's value as it is."""
    default: Any = None
    """Taken where the path finds nothing; with `values` also where the sender's value is not listed."""
    strict: bool = False
    """Whether a value that `values` does not list is an error instead of `default`."""
    _compiled: Any = None

    @classmethod
    def compile(cls, path: str, **options: Any) -> "Expression":
        """Make an expression from a JMESPath. Raises ExpressionError."""
        try:
            compiled: Any = jmespath.compile(path)
        except (JMESPathError, ValueError) as error:
            first = str(error).partition("\n")[0]
            raise ExpressionError(f"not a JMESPath expression: {first}") from None
        return cls(path=path, _compiled=compiled, **options)

    def evaluate(self, document: Any) -> Any:
        """Give the value for a document; None where there is none. Raises UnreadableError."""
        if self._compiled is None:
            return self.constant
        try:
            found: Any = self._compiled.search(document)
        except (JMESPathError, ValueError, TypeError, ArithmeticError, AttributeError, KeyError):
            # The last four: functions of the library on values they do not expect.
            raise UnreadableError(
                Reason.EXPRESSION_FAILED, f"the expression {self.path} does not fit the body"
            ) from None
        if found is None:
            return self.default
        if not self.values:
            return found
        key = _key(found)
        if key in self.values:
            return self.values[key]
        if self.strict:
            raise UnreadableError(
                Reason.UNKNOWN_VALUE, f"the values of {self.path} do not list what the sender wrote"
            )
        return self.default


def _key(found: Any) -> str:
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, float) and found.is_integer():
        return str(int(found))
    return str(found)


def truthy(value: Any) -> bool:
    """Tell whether JMESPath would take a value for true: not null, false, "", [] or {}; 0 is true."""
    return not (value is None or value is False or value in ("", [], {}))
