"""Reading YAML by hand, so that every complaint names file, line and column, and all of them come at once."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from typing import Any, Final, TypeVar, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_DURATION: Final = re.compile(r"(?P<count>[1-9]\d{0,5})(?P<unit>[smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AMOUNT: Final = re.compile(r"(?P<whole>\d{1,9})(?:\.(?P<part>\d{1,2}))?", re.ASCII)
_TAG: Final = "tag:yaml.org,2002:"
_DEEPEST: Final = 40
ValueT = TypeVar("ValueT", bound=str)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with a file; line and column count from 1."""

    file: str
    line: int
    column: int
    path: str
    reason: str
    nearest: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: "
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{place}{self.path + ': ' if self.path else ''}{self.reason}{hint}"


class FaultyFilesError(Exception):
    """Files do not make a configuration; one line a problem, in the order of the files."""

    def __init__(self, problems: Collection[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class Source:
    """A file's name, as complaints show it, and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class At:
    """A node of the file and the path that led to it."""

    node: Any
    path: str

    def child(self, node: Any, name: str | int) -> "At":
        """Name a node below this one."""
        step = f"[{name}]" if isinstance(name, int) else name
        return At(node, f"{self.path}.{step}" if self.path and isinstance(name, str) else self.path + step)


@dataclass
class YamlReader:
    """Walks one file and collects what is wrong with it; a faulty value reads as None or empty."""

    file: str
    problems: list[Problem] = field(default_factory=list[Problem])

    def document(self, text: str) -> At | None:
        """Parse the text; None, with a problem noted, if it is no YAML or holds nothing."""
        yaml: Any = YAML(typ="safe", pure=True)
        try:
            node = cast("Node | None", yaml.compose(StringIO(text)))
        except MarkedYAMLError as error:
            raised: Any = error
            mark: Any = raised.problem_mark
            line, column = (int(mark.line), int(mark.column)) if mark is not None else (0, 0)
            self.problems.append(
                Problem(self.file, line + 1, column + 1, "", f"not valid YAML: {raised.problem}")
            )
            return None
        except YAMLError:
            self.problems.append(
                Problem(self.file, 1, 1, "", "not valid YAML: it holds characters YAML forbids")
            )
            return None
        if node is None:
            self.problems.append(Problem(self.file, 1, 1, "", "the file is empty"))
            return None
        return At(node, "")

    def complain(self, at: At, reason: str, nearest: str | None = None) -> None:
        """Note a problem at a node."""
        mark: Any = at.node.start_mark
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, at.path, reason, nearest))

    def complain_of_name(self, at: At, name: str, what: str, known: Iterable[str]) -> None:
        """Note an unknown name, with the nearest known one."""
        choices = sorted(known)
        close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
        self.complain(at, f"unknown {what} {_shown(name)}", close[0] if close else None)

    def mapping(self, at: At, known: Collection[str] | None = None) -> dict[str, At]:
        """Return a mapping's values by key; complain of duplicate, odd and (given `known`) unknown keys."""
        if not isinstance(at.node, MappingNode):
            self.complain(at, "expected a mapping, name: value")
            return {}
        found: dict[str, At] = {}
        pairs: list[tuple[Any, Any]] = cast("Any", at.node).value
        for key, value in pairs:
            if not isinstance(key, ScalarNode):
                self.complain(at.child(key, "?"), "a key is plain text")
                continue
            name = str(cast("Any", key).value)
            here = at.child(key, name)
            if name in found:
                self.complain(here, "this key stands twice; the first would silently lose")
            elif known is not None and name not in known:
                self.complain_of_name(here, name, "key", known)
            else:
                found[name] = At(value, here.path)
        return found

    def sequence(self, at: At) -> list[At]:
        """Return a list's items."""
        if not isinstance(at.node, SequenceNode):
            self.complain(at, "expected a list, [a, b]")
            return []
        nodes: list[Any] = cast("Any", at.node).value
        return [at.child(node, index) for index, node in enumerate(nodes)]

    def text(self, at: At) -> str | None:
        """Return a scalar as it is written, numbers and booleans included."""
        if not isinstance(at.node, ScalarNode) or cast("Any", at.node).tag == f"{_TAG}null":
            self.complain(at, "expected text")
            return None
        return str(cast("Any", at.node).value)

    def boolean(self, at: At) -> bool:
        """Return true or false."""
        node: Any = at.node
        if isinstance(node, ScalarNode) and cast("Any", node).tag == f"{_TAG}bool":
            return str(cast("Any", node).value).lower() == "true"
        self.complain(at, "expected true or false")
        return False

    def duration(self, at: At) -> timedelta | None:
        """Return a duration such as `90s`, `30m`, `4h` or `7d`."""
        text = self.text(at)
        if text is None:
            return None
        form = _DURATION.fullmatch(text)
        if form is None:
            self.complain(at, "expected a duration: a whole number above 0 and s, m, h or d, such as 30m")
            return None
        return timedelta(**{_UNITS[form["unit"]]: int(form["count"])})

    def texts(self, at: At) -> list[str]:
        """Return one text, or each of a list."""
        items = self.sequence(at) if isinstance(at.node, SequenceNode) else [at]
        return [text for item in items if (text := self.text(item)) is not None]

    def hundredths(self, at: At) -> int | None:
        """Return an amount of 0 or more with two decimals at most, such as `4.50`, in hundredths."""
        text = self.text(at)
        if text is None:
            return None
        form = _AMOUNT.fullmatch(text)
        if form is None:
            self.complain(at, "expected an amount of 0 or more with two decimals at most, such as 4.50")
            return None
        return int(form["whole"]) * 100 + int((form["part"] or "").ljust(2, "0"))

    def choice(self, at: At, choices: Collection[ValueT], what: str) -> ValueT | None:
        """Return one of the `choices`."""
        text = self.text(at)
        if text is None:
            return None
        found = next((choice for choice in choices if choice == text), None)
        if found is None:
            self.complain_of_name(at, text, what, choices)
        return found

    def require(self, at: At, entries: Mapping[str, At], *names: str) -> bool:
        """Complain of each missing key; tell whether all are there."""
        missing = [name for name in names if name not in entries]
        for name in missing:
            self.complain(at, f"{name} is missing")
        return not missing

    def is_too_deep(self, at: At) -> bool:
        """Tell, with a complaint, whether a node lies deeper than anybody means, as in an alias of itself."""
        if at.path.count(".") <= _DEEPEST:
            return False
        self.complain(at, "nested too deeply")
        return True


def _shown(name: str, longest: int = 60) -> str:
    return repr(name if len(name) <= longest else name[:longest] + "...")
