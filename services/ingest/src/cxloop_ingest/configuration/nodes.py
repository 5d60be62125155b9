"""YAML with positions: every value knows its line and column, and every fault is reported at once."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from io import StringIO
from typing import Any, TypeVar, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


@dataclass(frozen=True, slots=True, order=True)
class SourceProblem:
    """One fault of a sources.yaml. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    field: str
    message: str
    about_secret: bool = False
    """Whether only this machine's environment is at fault: the file itself may be right."""

    def __str__(self) -> str:
        """Give one line in the form that editors jump to."""
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"


@dataclass
class Report:
    """The faults found so far in one file."""

    file: str
    problems: list[SourceProblem] = field(default_factory=list[SourceProblem])


def nearest(name: str, known: Collection[str]) -> str:
    """Say which known name was probably meant, or list them all."""
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"did you mean {found[0]}?" if found else f"known: {', '.join(sorted(known))}"


@dataclass(frozen=True)
class Node:
    """A value at its place in the file."""

    value: Any
    line: int
    column: int
    path: str
    report: Report

    def problem(self, message: str, *, about_secret: bool = False) -> None:
        """Report a fault of this value."""
        self.report.problems.append(
            SourceProblem(self.report.file, self.line, self.column, self.path, message, about_secret)
        )

    def entries(self, what: str = "a mapping") -> "dict[str, Node]":
        """Give the entries of a mapping; reports anything else and gives none."""
        mapping: Any = self.value
        if not _is(mapping, CommentedMap):
            self.problem(f"expected {what}, not {_kind(mapping)}")
            return {}
        found: dict[str, Node] = {}
        for key in cast("Iterable[Any]", mapping):
            line, column = mapping.lc.value(key)
            name = str(key)
            found[name] = Node(mapping[key], line + 1, column + 1, _join(self.path, name), self.report)
            if mapping[key] is None:
                line, column = mapping.lc.key(key)
                found[name] = Node(None, line + 1, column + 1, _join(self.path, name), self.report)
        return found

    def fields(self, known: Collection[str], what: str = "a mapping") -> "dict[str, Node]":
        """Give the entries of a mapping whose names are fixed; reports the others with the nearest name."""
        entries = self.entries(what)
        mapping: Any = self.value
        for name in [name for name in entries if name not in known]:
            entry = entries.pop(name)
            key = next(key for key in mapping if str(key) == name)
            line, column = mapping.lc.key(key)
            place = Node(None, line + 1, column + 1, entry.path, self.report)
            place.problem(f"unknown field; {nearest(name, known)}")
        return entries

    def items(self, what: str = "a list") -> "list[Node]":
        """Give the items of a list; reports anything else and gives none."""
        sequence: Any = self.value
        if not _is(sequence, CommentedSeq):
            self.problem(f"expected {what}, not {_kind(sequence)}")
            return []
        found: list[Node] = []
        for index in range(len(sequence)):
            line, column = sequence.lc.item(index)
            found.append(Node(sequence[index], line + 1, column + 1, f"{self.path}[{index}]", self.report))
        return found

    def text(self) -> str | None:
        """Give a text with something in it; reports anything else."""
        if isinstance(self.value, str) and self.value.strip():
            return str(self.value).strip()
        self.problem(f"expected a text, not {_kind(self.value)}")
        return None

    def boolean(self) -> bool:
        """Give true or false; reports anything else and gives false."""
        if not isinstance(self.value, bool):
            self.problem(f"expected true or false, not {_kind(self.value)}")
            return False
        return self.value

    def number(self) -> float | None:
        """Give a number; reports anything else."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.problem(f"expected a number, not {_kind(self.value)}")
            return None
        return float(self.value)

    def choice(self, kind: type[ChoiceT]) -> ChoiceT | None:
        """Give a member of an enumeration; reports anything else with the nearest member."""
        written = self.text()
        if written is None:
            return None
        try:
            return kind(written)
        except ValueError:
            self.problem(f"unknown value; {nearest(written, [member.value for member in kind])}")
            return None

    def plain(self) -> Any:
        """Give the value without positions, as JSON has it."""
        return _plain(self.value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in cast("list[Any]", value)]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


def _is(value: object, kind: type) -> bool:
    """Ask without narrowing: the library's own types are untyped inside."""
    return isinstance(value, kind)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, int | float) else "a text"


def parse_yaml(content: str, file: str, report: Report) -> Node | None:
    """Parse a YAML document; reports what is no YAML, such as a key that stands twice."""
    yaml: Any = YAML(typ="rt", pure=True)
    try:
        document: Any = yaml.load(StringIO(content))
    except MarkedYAMLError as raised:
        error: Any = raised  # the library types none of its members
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = " ".join(str(error.problem or "not valid YAML").split())
        report.problems.append(SourceProblem(file, line, column, "", f"not valid YAML: {what}"))
        return None
    except (YAMLError, ValueError) as error:
        report.problems.append(SourceProblem(file, 1, 1, "", f"not valid YAML: {type(error).__name__}"))
        return None
    return Node(document, 1, 1, "", report)
