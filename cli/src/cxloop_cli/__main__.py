"""The `cxloop` command."""

import logging

import typer

from cxloop_cli.checks import metrics_app, rules_app, sources_app
from cxloop_cli.demo.command import EXAMPLE as DEMO_EXAMPLE
from cxloop_cli.demo.command import demo
from cxloop_cli.generate.command import EXAMPLE as GENERATE_EXAMPLE
from cxloop_cli.generate.command import generate
from cxloop_cli.rebuild import rebuild_app
from cxloop_cli.send import EXAMPLE as SEND_EXAMPLE
from cxloop_cli.send import send
from cxloop_cli.tail import EXAMPLE as TAIL_EXAMPLE
from cxloop_cli.tail import tail
from cxloop_cli.up import up

app = typer.Typer(
    name="cxloop",
    help="CX Loop: every low score becomes a case with an owner, once, in whatever order events arrive.",
    epilog="Start with: cxloop demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command(epilog="Example: cxloop up --data-dir .cxloop --port-base 9101")(up)
app.command(epilog=DEMO_EXAMPLE)(demo)
app.command(epilog=SEND_EXAMPLE)(send)
app.command(epilog=TAIL_EXAMPLE)(tail)
app.command(epilog=GENERATE_EXAMPLE)(generate)
app.add_typer(sources_app, name="sources")
app.add_typer(rules_app, name="rules")
app.add_typer(metrics_app, name="metrics")
app.add_typer(rebuild_app, name="rebuild")


def main() -> None:
    """Run the command line."""
    # What its client logs of a broker's start is told by our own messages where it matters.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    app(prog_name="cxloop")


if __name__ == "__main__":
    main()
