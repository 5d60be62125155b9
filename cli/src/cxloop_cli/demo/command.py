"""`cxloop demo`: bring everything up, play the scenario, show what came of it, and check every figure."""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Self

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from cxloop_cli.environment import without_settings
from cxloop_cli.stack import Stack, default_ports
from cxloop_cli.up import ignore_signals, show_ready, signals_as_interrupts, watch
from cxloop_embedded import EmbeddedError
from cxloop_embedded.ports import is_free

EXAMPLE = "Example: cxloop demo --exit --json | jq .scorecard"
CONFIG: Final = Path(__file__).parent / "config"
SEED: Final = 18
"""Its cases need all three routes."""
PLAIN_WIDTH: Final = 110
"""Columns of the story where it goes to a file; a terminal has its own."""


def demo(
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="Folder of the demo's own data; emptied at the start.")
    ] = Path(".cxloop/demo"),
    seed: Annotated[int, typer.Option("--seed", help="Another seed tells of other customers.")] = SEED,
    *,
    leave: Annotated[
        bool, typer.Option("--exit", help="End after the check, on a terminal too; otherwise it stays up.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of the story.")
    ] = False,
) -> None:
    """Run the whole loop: some 300 signed webhooks in; metrics, a journey and cases with owners out.

    Starts Kafka, PostgreSQL and the four services in a folder of its own, posts the webhooks of three senders
    over 40 customers and 30 days, and compares every figure with the scenario's own arithmetic. Exits 1 when
    one differs.
    """
    # What the story needs is loaded here: other commands should not wait for it.
    from cxloop_cli.demo.playing import DemoError  # noqa: PLC0415  # as above
    from cxloop_common.kafka.errors import KafkaError  # noqa: PLC0415  # as above

    began = time.monotonic()
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    if not out.is_terminal:
        out.width = PLAIN_WIDTH
    stays = sys.stdout.isatty() and not leave and not as_json
    good = False
    with signals_as_interrupts(), without_settings():
        secrets: dict[str, str] = {}
        stack: Stack | None = None
        try:
            with _Progress(err) as progress:
                stack, secrets = _stack(data_dir, progress)
                stack.start()
                good = _play(stack, secrets, seed, began, progress=progress, out=out, as_json=as_json)
            if stays:
                show_ready(stack, out)
                watch(stack, err)
        except KeyboardInterrupt:
            err.print(Text("Stopping", style="bold"))
        except (EmbeddedError, DemoError, KafkaError) as error:
            err.print(Text(str(error), style="red"), soft_wrap=True)
        finally:
            ignore_signals()
            if stack is not None:
                stack.stop()
    if not good:
        raise typer.Exit(1)


def _stack(data_dir: Path, progress: "_Progress") -> tuple[Stack, dict[str, str]]:
    from cxloop_cli.demo.playing import make_secrets  # noqa: PLC0415  # see demo()

    secrets = make_secrets()
    ports = default_ports()
    stack = Stack(
        data_dir,
        ports=ports if all(is_free(port) for port in ports.values()) else None,
        env=service_environment(secrets),
        fresh=True,
        report=progress.note,
    )
    return stack, secrets


def service_environment(secrets: Mapping[str, str]) -> dict[str, str]:
    """Give the variables that make the services those of the demo: its three files and its secrets."""
    return {
        "CXLOOP_INGEST_SOURCES_FILE": str(CONFIG / "sources.yaml"),
        "CXLOOP_SCORING_METRICS_FILE": str(CONFIG / "metrics.yaml"),
        "CXLOOP_ALERTING_RULES_FILE": str(CONFIG / "rules.yaml"),
        "CXLOOP_ALERTING_ROUTES_FILE": str(CONFIG / "routes.yaml"),
        **{f"CXLOOP_SECRET_{name.upper()}": secret for name, secret in secrets.items()},
    }


def _play(
    stack: Stack,
    secrets: Mapping[str, str],
    seed: int,
    began: float,
    *,
    progress: "_Progress",
    out: Console,
    as_json: bool,
) -> bool:
    """Run the scenario and print what came of it; whether every figure agrees."""
    from cxloop_cli.demo import showing  # noqa: PLC0415  # see demo()
    from cxloop_cli.demo.playing import Places  # noqa: PLC0415  # as above
    from cxloop_cli.demo.running import run  # noqa: PLC0415  # as above
    from cxloop_cli.demo.schedule import scenario  # noqa: PLC0415  # as above

    told = scenario(seed, datetime.now(UTC).replace(microsecond=0))
    places = Places(stack.urls, stack.headers, stack.bootstrap)
    ended = asyncio.run(run(told, places, secrets, progress.say))
    progress.stop()
    timing = showing.Timing.of(ended, began=began, ready_s=stack.ready_s)
    if as_json:
        print(json.dumps(showing.as_object(told, ended, timing), ensure_ascii=False))
    else:
        showing.show(told, ended, timing, out)
    if ended.comparison.differences:
        showing.show_differences(ended.comparison, Console(stderr=True, highlight=False))
        return False
    return True


class _Progress:
    """What is going on, on standard error: a spinner on a terminal, else a line a step."""

    def __init__(self, err: Console) -> None:
        self._err = err
        self._status = Status("Starting Kafka, PostgreSQL and the four services", console=err)

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def note(self, line: str) -> None:
        """Leave a line behind."""
        self._err.print(Text("  · ", style="green") + Text(line))

    def say(self, words: str) -> None:
        """Say what is going on at this moment; shown on terminals only, where it is overwritten."""
        self._status.update(words)

    def stop(self) -> None:
        """Take the spinner away."""
        self._status.stop()
