"""A worker process of the fault runs: the service as it is, with a failpoint, a mutant or a group of its own.

Everything else comes from the environment, as for any worker.
"""

import argparse
import os
import signal
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from cxloop_common.http import make_server
from cxloop_common.service import ROLES, Service, make_app, make_foundation
from cxloop_common.settings import load_settings
from cxloop_common.telemetry import configure_logging
from cxloop_common.topics import TopicNames
from tests.faults import mutants

SUBJECTS = {"scoring": "cxloop_scoring.app", "tally": "tests.faults.tally", "ingest": "cxloop_ingest.app"}


@dataclass(frozen=True)
class GroupNames(TopicNames):
    """The same topics, read by a group of its own: a clean replay beside the worker under test."""

    suffix: str = ""

    def group(self, service: str) -> str:
        """Return the consumer group of a service."""
        return super().group(service) + self.suffix


class Failpoint:
    """Sends a signal to this very process when a point of a batch is reached for the nth time."""

    def __init__(self, text: str) -> None:
        self._point, nth, action = text.split(":")
        self._left = int(nth)
        self._signal = signal.SIGKILL if action == "kill" else signal.SIGSTOP

    async def __call__(self, point: str) -> None:
        """Count a point."""
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)


def service_of(subject: str) -> Service[Any]:
    """Return the service that is put to the test."""
    return cast("Service[Any]", import_module(SUBJECTS[subject]).SERVICE)


def main() -> None:
    """Run one worker until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.worker")
    parser.add_argument("--subject", choices=sorted(SUBJECTS), default="scoring")
    parser.add_argument("--slot", default="dynamic", help="number of a static member, or dynamic")
    parser.add_argument("--role", choices=ROLES, default="worker")
    parser.add_argument("--mutant", type=mutants.Mutant, default=mutants.Mutant.NONE)
    parser.add_argument("--failpoint", help="point:nth:kill or point:nth:stop")
    parser.add_argument("--group-suffix", default="")
    given = parser.parse_args()
    service = service_of(given.subject)
    slot = None if given.slot == "dynamic" else int(given.slot)
    settings = load_settings(service.settings, worker_slot=slot)
    configure_logging(service.name, settings.log_level, settings.log_format)
    mutants.apply(given.mutant)
    failpoint = Failpoint(given.failpoint or "none:0:kill")
    foundation = make_foundation(service, settings, probe=failpoint)
    foundation.names = GroupNames(settings.topic_prefix, given.group_suffix)
    make_server(
        make_app(service, foundation, given.role),
        settings.host,
        settings.port,
        limit_concurrency=settings.limit_concurrency,
        shutdown_s=settings.shutdown_s,
    ).run()


if __name__ == "__main__":
    main()
