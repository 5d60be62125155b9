"""What `cxloop sources check` calls: the faults of a sources.yaml as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxloop_ingest.configuration import SourceProblem, load_sources


@dataclass(frozen=True)
class SourcesReport:
    """The result of a check."""

    file: str
    sources: tuple[str, ...]
    """Names of the sources in force; empty unless the file is right."""
    problems: tuple[SourceProblem, ...]

    @property
    def ok(self) -> bool:
        """Whether a service would start with this file."""
        return not self.problems


def check_sources(
    path: Path | str, *, environ: Mapping[str, str] | None = None, secrets: bool = True
) -> SourcesReport:
    """Check a sources.yaml as the service does at its start; never raises.

    With `secrets=False`, secrets that this machine does not have are no fault: for a check in CI.
    """
    loaded = load_sources(path, environ)
    problems = tuple(problem for problem in loaded.problems if secrets or not problem.about_secret)
    return SourcesReport(str(path), tuple(loaded.sources), problems)
