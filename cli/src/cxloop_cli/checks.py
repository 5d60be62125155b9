"""`cxloop sources check`, `rules check` and `metrics check`: the services' own checks, before they meet a file."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cxloop_common.configuration.reading import Problem

sources_app = typer.Typer(help="Sources of webhooks.", no_args_is_help=True, rich_markup_mode="markdown")
rules_app = typer.Typer(help="Rules and routes of cases.", no_args_is_help=True, rich_markup_mode="markdown")
metrics_app = typer.Typer(
    help="Targets, costs and calendars of metrics.", no_args_is_help=True, rich_markup_mode="markdown"
)

_AS_JSON = typer.Option("--json", help="Print one JSON object.")
_ROUTES_FILE = re.compile(r"^route\s*:", re.MULTILINE)
_CALENDARS_FILE = re.compile(r"^calendars\s*:", re.MULTILINE)


# One command alone would otherwise take the group's place.
@sources_app.callback()
def _sources() -> None:  # pyright: ignore[reportUnusedFunction]
    pass


@rules_app.callback()
def _rules() -> None:  # pyright: ignore[reportUnusedFunction]
    pass


@metrics_app.callback()
def _metrics() -> None:  # pyright: ignore[reportUnusedFunction]
    pass


@sources_app.command("check", epilog="Example: cxloop sources check sources.yaml --no-secrets")
def sources_check(
    file: Annotated[Path, typer.Argument(help="The sources.yaml.")],
    *,
    secrets: Annotated[
        bool,
        typer.Option("--secrets/--no-secrets", help="Whether a secret that this machine lacks is a fault."),
    ] = True,
    as_json: Annotated[bool, _AS_JSON] = False,
) -> None:
    """Check a sources.yaml as ingest does at its start; exit 1 with one line a fault."""
    from cxloop_ingest.sources_cli import check_sources  # noqa: PLC0415  # each command loads what it uses

    report = check_sources(file, secrets=secrets)
    problems = [
        {"file": one.file, "line": one.line, "column": one.column, "field": one.field, "message": one.message}
        for one in report.problems
    ]
    _answer(
        {"ok": report.ok, "file": report.file, "sources": list(report.sources), "problems": problems},
        [str(one) for one in report.problems],
        f"{file}: {len(report.sources)} sources ({', '.join(report.sources)})"
        if report.sources
        else f"{file}: right, but for secrets that this machine lacks",
        as_json=as_json,
    )


@rules_app.command("check", epilog="Example: cxloop rules check rules.yaml routes.yaml")
def rules_check(
    files: Annotated[
        list[Path],
        typer.Argument(help="rules.yaml, routes.yaml or both; the built-in text stands in for the other."),
    ],
    *,
    as_json: Annotated[bool, _AS_JSON] = False,
) -> None:
    """Check rules and routes as alerting does at its start; exit 1 with one line a fault."""
    from cxloop_alerting.config_files import check_rules  # noqa: PLC0415  # each command loads what it uses

    found = check_rules(*_two_of(files, _ROUTES_FILE, "rules", "routes"))
    _answer_files("alerting", files, found, as_json=as_json)


@metrics_app.command("check", epilog="Example: cxloop metrics check metrics.yaml calendars.yaml")
def metrics_check(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="metrics.yaml, calendars.yaml or both; without calendars there is no business time."
        ),
    ],
    *,
    as_json: Annotated[bool, _AS_JSON] = False,
) -> None:
    """Check metrics and calendars as scoring does at its start; exit 1 with one line a fault."""
    from cxloop_scoring.configuration import check_metrics  # noqa: PLC0415  # each command loads what it uses

    found = check_metrics(*_two_of(files, _CALENDARS_FILE, "metrics", "calendars"))
    _answer_files("scoring", files, found, as_json=as_json)


def _two_of(
    files: Sequence[Path], key: re.Pattern[str], one: str, other: str
) -> tuple[Path | None, Path | None]:
    """Tell which file is of which kind, the one that the command is called by and the other; exit 2 for two of one."""
    others = [file for file in files if _holds(file, key, other.removesuffix("s"))]
    ones = [file for file in files if file not in others]
    if len(others) > 1 or len(ones) > 1:
        typer.echo(f"{one} check: give at most one file of {one} and one of {other}", err=True)
        raise typer.Exit(2)
    return ones[0] if ones else None, others[0] if others else None


def _holds(file: Path, key: re.Pattern[str], word: str) -> bool:
    """Tell two kinds of files apart by a key that one of them has; one that cannot be read, by its name."""
    try:
        return key.search(file.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return word in file.name


def _answer_files(service: str, files: Sequence[Path], found: Sequence[Problem], *, as_json: bool) -> None:
    problems = [
        {"file": one.file, "line": one.line, "column": one.column, "field": one.path, "message": one.reason}
        for one in found
    ]
    _answer(
        {"ok": not found, "files": [str(file) for file in files], "problems": problems},
        [str(one) for one in found],
        f"{', '.join(map(str, files))}: a configuration that {service} would start with",
        as_json=as_json,
    )


def _answer(report: dict[str, Any], lines: Sequence[str], right: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report))
    elif lines:
        for line in lines:
            typer.echo(line, err=True)
    else:
        typer.echo(right)
    if lines:
        raise typer.Exit(1)
