"""The files behind the configuration: reading them, the built-in ones, and the check for the command line."""

from importlib import resources
from pathlib import Path

from cxloop_alerting.domain.configuration import Configuration
from cxloop_alerting.domain.parsing import parse_configuration
from cxloop_common.configuration.files import read_source
from cxloop_common.configuration.reading import FaultyFilesError, Problem, Source

__all__ = ["FaultyFilesError", "Problem", "check_rules", "parse", "read_sources"]

_DEFAULTS = resources.files("cxloop_alerting") / "defaults"


def read_sources(rules_path: Path | str | None, routes_path: Path | str | None) -> tuple[Source, Source]:
    """Read rules and routes; the built-in text stands in for a path that is None.

    Raises FaultyFilesError for files that cannot be read, both at once.
    """
    problems: list[Problem] = []
    sources = [
        _read(path, default, problems)
        for path, default in ((rules_path, "rules.yaml"), (routes_path, "routes.yaml"))
    ]
    if problems:
        raise FaultyFilesError(problems)
    return sources[0], sources[1]


def parse(rules: Source, routes: Source) -> Configuration:
    """Make the configuration of two texts. Raises FaultyFilesError with everything that is wrong."""
    return parse_configuration(rules, routes)


def check_rules(rules_path: Path | str | None, routes_path: Path | str | None) -> list[Problem]:
    """Return what is wrong with the two files, in their order; empty for a configuration that would start."""
    try:
        parse(*read_sources(rules_path, routes_path))
    except FaultyFilesError as error:
        return list(error.problems)
    return []


def _read(path: Path | str | None, default: str, problems: list[Problem]) -> Source:
    if path is None:
        return Source(f"built-in {default}", (_DEFAULTS / default).read_text(encoding="utf-8"))
    return read_source(path, problems)
