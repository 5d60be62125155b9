"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DataDir: TypeAlias = Annotated[
    Path, typer.Option("--data-dir", envvar="CXLOOP_DATA_DIR", help="Data folder of `cxloop up`.")
]
Prefix: TypeAlias = Annotated[
    str, typer.Option("--prefix", envvar="CXLOOP_TOPIC_PREFIX", help="Put before every topic's name.")
]
