"""`cxloop generate`: write what is generated from the code, or check that it is current."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: cxloop generate --check"
_HINT = (
    "A schema of a .v1 topic only grows: keep the field, or put the new shape into a topic of a new version "
    "(before a first release: delete the old file and generate again)."
)


def generate(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 naming the files that differ.")
    ] = False,
    root: Annotated[
        Path | None, typer.Option("--root", help="Checkout to write to; found upwards from here by default.")
    ] = None,
) -> None:
    """Write docs/generated, deploy/topics and the settings tables of the READMEs from the code.

    Needs neither Kafka nor PostgreSQL. Refuses a schema that took something away within its version.
    """
    # Imports all four services; other commands should not wait for that.
    from cxloop_cli.generate import documents  # noqa: PLC0415  # as above
    from cxloop_cli.generate.settings_tables import MarkerError  # noqa: PLC0415  # as above

    try:
        checkout = root or documents.find_checkout(Path.cwd())
        built = documents.documents(checkout)
    except (documents.CheckoutError, MarkerError) as error:
        typer.echo(f"generate: {error}", err=True)
        raise typer.Exit(2) from None
    found = documents.differences(checkout, built)
    if found.broken:
        for line in found.broken:
            typer.echo(f"incompatible  {line}", err=True)
        typer.echo(_HINT, err=True)
        raise typer.Exit(1)
    if check:
        for word, paths in (("missing", found.missing), ("differs", found.changed), ("stale", found.stale)):
            for path in paths:
                typer.echo(f"{word:8} {path}", err=True)
        if found.names:
            typer.echo("Run: cxloop generate", err=True)
            raise typer.Exit(1)
        typer.echo(f"{len(built)} generated files are current")
        return
    documents.write(checkout, built, found)
    for path in found.names:
        typer.echo(path)
    typer.echo(f"{len(found.names)} of {len(built)} generated files changed")
