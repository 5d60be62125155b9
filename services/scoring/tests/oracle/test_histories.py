"""Tier two: histories through PostgreSQL, and every answer over HTTP beside the oracle's.

Eight histories share a database at a time, so that sums, buckets and joins hold more than one; each is told apart by
the dimension `history`, cases by their route. `CXLOOP_HISTORIES=2000` runs that many.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxloop_common.events import CloudEvent
from cxloop_scoring.app import SERVICE
from cxloop_scoring.domain.sentiment import polarity

from .answers import LENGTHS, Asking, same_ledger
from .drawing import NOW, START
from .histories import History, everything_once, examples, histories
from .installation import CALENDARS, INSTALLATION, METRICS
from .known import Known
from .world import World, clock

TOGETHER = 8
NAMES = [f"h{number}" for number in range(TOGETHER)]
FIRST_ARRIVALS = NOW - timedelta(hours=3)
LATER_ARRIVALS = NOW - timedelta(hours=1)
BETWEEN = NOW - timedelta(hours=2)

ENDS = (NOW, START + timedelta(days=8, minutes=17), START + timedelta(days=20), START + timedelta(days=4))
DIMENSIONS = (
    "team",
    "channel",
    "contact_type",
    "tag",
    "segment",
    "source",
    "agent",
    "plan",
    "severity",
    "survey",
)
FILTERS: Sequence[tuple[tuple[str, str], ...]] = (
    (("team", "billing"),),
    (("segment", "smb"), ("channel", "email")),
    (("history", "h0"),),
    (("tag", "a"),),
    (("history", "h1"), ("contact_type", "refund")),
    (("team", "nobody"),),
)
Start = Callable[..., AbstractAsyncContextManager[Any]]


@dataclass(frozen=True)
class Plan:
    """How records arrive, and what is asked."""

    seed: int
    largest: int
    """Records in a batch, at most."""
    at: datetime
    length: str
    where: tuple[tuple[str, str], ...]
    by: str


plans = st.builds(
    Plan,
    seed=st.integers(0, 2**32),
    largest=st.sampled_from((3, 20, 1000)),
    at=st.sampled_from(ENDS),
    length=st.sampled_from(sorted(LENGTHS)),
    where=st.sampled_from(FILTERS),
    by=st.sampled_from(DIMENSIONS),
)


@pytest.fixture
async def world(
    start_service: Start, worker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncGenerator[World]:
    files = {"metrics_file": tmp_path / "metrics.yaml", "calendars_file": tmp_path / "calendars.yaml"}
    files["metrics_file"].write_text(METRICS)
    files["calendars_file"].write_text(CALENDARS)
    settings = {"log_level": "warning", **{name: str(path) for name, path in files.items()}}
    async with start_service(SERVICE, role="api", now=clock, settings=settings) as running:
        world = World(worker, running.client)
        await world.empty()
        await world.deliver(everything_once(), NOW, 0, 1000)
        yield world
        if examples(0):
            with capsys.disabled():
                print(f"\n{world.told} histories, {world.asked} answers compared")  # noqa: T201 - asked for


@pytest.mark.timeout(7200 if examples(0) else 300)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(
    max_examples=examples(20, TOGETHER),
    # The same few every time: shrinking takes longer than a test may, so new ones are for `make histories`.
    derandomize=not examples(0),
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)
@given(told=st.tuples(*map(histories, NAMES)), plan=plans)
async def test_every_answer_is_the_one_that_the_definitions_give(
    world: World, told: tuple[History, ...], plan: Plan
) -> None:
    records = [record for history in told for record in history.records]
    parts: tuple[list[CloudEvent], list[CloudEvent]] = ([], [])
    for place, record in enumerate(records):
        parts[(place * 2654435761 + plan.seed) % 2].append(record)
    early, late = parts
    await world.empty()
    world.told += len(told)
    await world.deliver(early, FIRST_ARRIVALS, plan.seed, plan.largest)
    await world.deliver(late, LATER_ARRIVALS, plan.seed, plan.largest)
    known = Known.of(records, polarity, INSTALLATION)
    await same_ledger(world, known)
    now = Asking(world, known, plan.at, plan.length)
    then = Asking(world, Known.of(early, polarity, INSTALLATION), plan.at, plan.length, BETWEEN)
    wrong = [
        *await now.scorecard(),
        *await now.scorecard(plan.where),
        *await now.groups("history"),
        *await now.groups(plan.by, plan.where),
        *await now.series(),
        *await now.relationship(plan.where),
        *await now.compared(plan.where[0] if plan.seed % 2 else None),
        *await now.drivers("team" if plan.by == "tag" else plan.by),
        *await then.scorecard(),
    ]
    assert not wrong, "\n" + "\n".join(wrong)
