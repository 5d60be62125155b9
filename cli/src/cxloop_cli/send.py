"""`cxloop send`: sign a body as its source's sender would, and post it."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast

import httpx
import typer

EXAMPLE = "Example: cxloop send response.json --source delighted --sources sources.yaml"
REFUSED = 1
NO_ANSWER = 3
TIMEOUT_S = 15.0


def send(  # noqa: PLR0917  # the command line passes them by name
    file: Annotated[Path, typer.Argument(help="The body, sent byte for byte; - reads standard input.")],
    source: Annotated[str, typer.Option("--source", help="Name of the source in sources.yaml.")],
    sources: Annotated[
        Path,
        typer.Option("--sources", envvar="CXLOOP_INGEST_SOURCES_FILE", help="The sources.yaml."),
    ] = Path("sources.yaml"),
    ingest_url: Annotated[
        str, typer.Option("--ingest-url", envvar="CXLOOP_CLI_INGEST_URL", help="Where ingest listens.")
    ] = "http://127.0.0.1:8101",
    content_type: Annotated[str, typer.Option("--content-type")] = "application/json",
    message_id: Annotated[
        str, typer.Option("--message-id", help="Id of the delivery, where the sender signs one.")
    ] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Sign a file as the source's sender would and post it; print the status and the delivery id.

    Exits 0 when it was taken, 1 when it was refused, 2 when something here is wrong, and 3 when ingest did
    not answer or asked to try again.
    """
    headers = {"Content-Type": content_type}
    try:
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        typer.echo(f"send: {file} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(2) from None
    headers |= _signature(source, sources, body, message_id)
    url = f"{ingest_url.rstrip('/')}/webhooks/{source}"
    try:
        answer = httpx.post(url, content=body, headers=headers, timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        typer.echo(f"send: no answer from {ingest_url} ({type(error).__name__})", err=True)
        raise typer.Exit(NO_ANSWER) from None
    _report(answer, as_json=as_json)
    if not answer.is_success:
        raise typer.Exit(NO_ANSWER if answer.is_server_error else REFUSED)


def _signature(source: str, sources: Path, body: bytes, message_id: str) -> dict[str, str]:
    from cxloop_ingest.configuration import load_sources  # noqa: PLC0415  # each command loads what it uses
    from cxloop_ingest.domain.signatures import sign  # noqa: PLC0415  # as above

    loaded = load_sources(sources)
    if loaded.problems:
        for problem in loaded.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(2)
    if source not in loaded.sources:
        typer.echo(f"send: {sources} has no source {source}; it has {', '.join(loaded.sources)}", err=True)
        raise typer.Exit(2)
    return sign(loaded.sources[source].credentials, body, datetime.now(UTC), message_id)


def _report(answer: httpx.Response, *, as_json: bool) -> None:
    told: Any
    try:
        told = answer.json()
    except ValueError:
        told = None
    if as_json:
        typer.echo(json.dumps({"status": answer.status_code, "answer": told}))
        return
    said = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    detail = said.get("delivery_id") or said.get("detail") or answer.reason_phrase
    typer.echo(f"{answer.status_code} {detail}", err=not answer.is_success)
