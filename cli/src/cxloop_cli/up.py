"""`cxloop up`: the whole product on one machine, until Ctrl-C."""

import os
import shlex
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cxloop_cli.stack import PORT_BASE, Stack, default_ports
from cxloop_embedded import EmbeddedError, LogStream, ServiceState, to_console

LOOK_EVERY_S = 1.0


def up(
    data_dir: Annotated[
        Path,
        typer.Option("--data-dir", envvar="CXLOOP_DATA_DIR", help="Folder that keeps the data."),
    ] = Path(".cxloop"),
    port_base: Annotated[
        int, typer.Option("--port-base", min=1024, max=65000, help="Port of ingest; the others follow it.")
    ] = PORT_BASE,
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the data of earlier runs first.")] = False,
) -> None:
    """Start Kafka, PostgreSQL and the four services, and keep them running until Ctrl-C.

    CXLOOP_KAFKA_BOOTSTRAP and CXLOOP_DATABASE_URL name a broker and a database of your own instead.
    """
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    stack = Stack(
        data_dir,
        ports=default_ports(port_base),
        kafka_bootstrap=os.environ.get("CXLOOP_KAFKA_BOOTSTRAP"),
        database_url=os.environ.get("CXLOOP_DATABASE_URL"),
        fresh=fresh,
        report=lambda line: err.print(Text("  · ", style="green") + Text(line)),
    )
    with signals_as_interrupts():
        try:
            err.print(Text(f"Starting CX Loop; its data is in {stack.data_dir}", style="bold"))
            stack.start()
            show_ready(stack, out)
            with LogStream(stack.logs(), to_console(out, list(stack.services))):
                watch(stack, err)
        except KeyboardInterrupt:
            err.print(Text("Stopping", style="bold"))
        except EmbeddedError as error:
            err.print(Text(str(error), style="red"), soft_wrap=True)
            raise typer.Exit(1) from error
        finally:
            ignore_signals()  # stopping is bounded in time; a second Ctrl-C must not cut it short
            stack.stop()
    err.print(Text("Stopped; run `cxloop up` again to go on where it ended.", style="dim"))


def show_ready(stack: Stack, out: Console) -> None:
    """Say where everything is; below it, free of borders and breaks, lines ready to paste."""
    places = Table.grid(padding=(0, 2))
    for service, url in stack.urls.items():
        places.add_row(Text(service, style="cyan"), url, Text(f"{url}/docs", style="dim"))
    places.add_row(Text("Kafka", style="cyan"), stack.bootstrap, "")
    places.add_row(Text("PostgreSQL", style="cyan"), _without_password(stack.database_url), "")
    title = f"CX Loop is ready after {stack.ready_s:.1f} s; Ctrl-C stops it"
    out.print(Panel(places, title=title, title_align="left", border_style="green", expand=False))
    curl = f'curl -H "Authorization: Bearer $(cat {shlex.quote(_relative(stack.token_path))})"'
    for name, command in (
        ("Service beside experience", f"{curl} {stack.urls['scoring']}/v1/scorecard"),
        ("Open cases", f"{curl} '{stack.urls['alerting']}/v1/cases?status=open'"),
        ("Alerts as they come", f"kcat -b {stack.bootstrap} -t cxloop.alerts.v1 -C -o end -f '%k %s\\n'"),
    ):
        out.print(Text(f"\n# {name}", style="bold"))
        out.print(Text(command), soft_wrap=True)
    out.print()


def watch(stack: Stack, err: Console) -> None:
    """Start Kafka and PostgreSQL again should they die, and say so when a service is given up."""
    given_up: set[str] = set()
    while True:
        time.sleep(LOOK_EVERY_S)
        for name, server in (("Kafka", stack.kafka), ("PostgreSQL", stack.postgres)):
            if server is not None and not server.running:
                err.print(Text(f"{name} has ended; starting it again. Its log: {server.log}", style="yellow"))
                server.restart()
        if not stack.supervisor.running:
            raise EmbeddedError(
                f"The supervisor of the services has ended; its log is {stack.data_dir}/run/supervisor.log."
            )
        for status in stack.supervisor.statuses():
            if status.state is ServiceState.FATAL and status.name not in given_up:
                given_up.add(status.name)
                text = f"{status.name} dies at every start and is left down; see {stack.logs()[status.name]}"
                err.print(Text(text, style="red"))


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    scheme, separator, credentials = head.partition("://")
    return f"{scheme}{separator}{credentials.split(':')[0]}{at}{tail}" if at else url


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@contextmanager
def signals_as_interrupts() -> Generator[None, None, None]:
    """Let SIGTERM and a closed terminal end us as Ctrl-C does, with everything stopped."""
    before = {number: signal.signal(number, _interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def ignore_signals() -> None:
    """Let no further signal interrupt us: stopping is bounded in time."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
