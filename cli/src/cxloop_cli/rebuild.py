"""`cxloop rebuild scoring`: bring ledger and buckets to what documents say, while the workers go on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cxloop_cli.options import DataDir, Prefix
from cxloop_embedded import LOOPBACK, StoredPorts

rebuild_app = typer.Typer(
    help="State that can be worked out again.", no_args_is_help=True, rich_markup_mode="markdown"
)


# One command alone would otherwise take the group's place.
@rebuild_app.callback()
def _rebuild() -> None:  # pyright: ignore[reportUnusedFunction]
    pass


@rebuild_app.command("scoring", epilog="Example: cxloop rebuild scoring --check --json")
def rebuild_scoring(
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            envvar=["CXLOOP_SCORING_DATABASE_URL", "CXLOOP_DATABASE_URL"],
            show_envvar=True,
            help="PostgreSQL of scoring; by default the one of `cxloop up` with the same data folder.",
        ),
    ] = None,
    data_dir: DataDir = Path(".cxloop"),
    prefix: Prefix = "",
    *,
    check: Annotated[bool, typer.Option("--check", help="Only look; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring scoring's ledger, buckets, links of cases and scales to what its documents say.

    Workers and questions go on meanwhile. Exits 0 when everything was right, 1 when something was wrong (and, but
    for `--check`, has been put right), 2 when no database is known, 3 when it does not answer, 4 when another
    rebuild is running, 5 when newer software registered the configuration in force: start the command of that
    version. Documents of an older configuration are booked anew and are no fault. Stopped at any time, it may be
    started again.
    """
    from cxloop_scoring.rebuild import RIGHT, WRONG, exit_code, run, told  # noqa: PLC0415  # each command loads what it uses

    url = database_url or _of_up(data_dir)
    if url is None:
        typer.echo(
            f"rebuild: no database is known in {data_dir}; start `cxloop up`, or give --database-url",
            err=True,
        )
        raise typer.Exit(2)
    with _bars(visible=not as_json) as bars:
        tasks = {phase: bars.add_task(phase, total=None) for phase in ("documents", "buckets")}

        def show(phase: str, done: int, total: int) -> None:
            bars.update(tasks[phase], completed=done, total=total)

        try:
            outcome = run(url, prefix, write=not check, progress=show)
        except Exception as error:
            known = exit_code(error)
            if known is None:
                raise
            bars.stop()
            typer.echo(f"rebuild: {known[1]}", err=True)
            raise typer.Exit(known[0]) from None
    typer.echo(json.dumps(asdict(outcome)) if as_json else told(outcome, write=not check))
    raise typer.Exit(RIGHT if outcome.was_right else WRONG)


def _bars(*, visible: bool) -> Progress:
    """Make progress bars on standard error; where that is no terminal, nothing of them is seen."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (visible and console.is_terminal),
    )


def _of_up(data_dir: Path) -> str | None:
    folder = data_dir / "postgres"
    port = StoredPorts(folder / "ports.json").read().get("postgres")
    if port is None or not (folder / "password").is_file():
        return None
    password = (folder / "password").read_text(encoding="utf-8").strip()
    return f"postgresql://cxloop:{password}@{LOOPBACK}:{port}/cxloop"
