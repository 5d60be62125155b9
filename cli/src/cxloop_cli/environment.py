"""Our own variables, hidden where a developer's environment must not show."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from cxloop_common.settings import PREFIX, TOOL_VARIABLES


@contextmanager
def without_settings() -> Generator[None]:
    """Hide every variable of the services, for what must come out the same on every machine.

    Where the embedded servers' jars are kept is no setting of a service and stays.
    """
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and name not in TOOL_VARIABLES
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
