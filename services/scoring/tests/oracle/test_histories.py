"""Tier two: histories through PostgreSQL, and every answer over HTTP beside the oracle's.

Eight histories share a database at a time, so that sums, buckets and joins hold more than one; each is told apart by
the dimension `history`, cases by their route. `CXLOOP_HISTORIES=2000` runs that many.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
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

from .asked import Asked
from .comparing import disagreements
from .drawing import NOW, START
from .folding import difference, expected
from .histories import History, everything_once, examples, histories
from .installation import CALENDARS, INSTALLATION, METRICS
from .known import Known
from .metrics import DEFINITIONS, Definition
from .rows import micros, moment
from .world import World, clock

TOGETHER = 8
NAMES = [f"h{number}" for number in range(TOGETHER)]
FIRST_ARRIVALS = NOW - timedelta(hours=3)
LATER_ARRIVALS = NOW - timedelta(hours=1)
BETWEEN = NOW - timedelta(hours=2)

ENDS = (NOW, START + timedelta(days=8, minutes=17), START + timedelta(days=20), START + timedelta(days=4))
LENGTHS = {"30d": 30, "7d": 7, "90d": 90, "1d": 1}
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
async def world(start_service: Start, worker: Any, tmp_path: Path) -> AsyncGenerator[World]:
    files = {"metrics_file": tmp_path / "metrics.yaml", "calendars_file": tmp_path / "calendars.yaml"}
    files["metrics_file"].write_text(METRICS)
    files["calendars_file"].write_text(CALENDARS)
    settings = {"log_level": "warning", **{name: str(path) for name, path in files.items()}}
    async with start_service(SERVICE, role="api", now=clock, settings=settings) as running:
        world = World(worker, running.client)
        await world.empty()
        await world.deliver(everything_once(), NOW, 0, 1000)
        yield world
        print(f"\n{world.told} histories, {world.asked} answers compared")  # noqa: T201 - read with -s


@pytest.mark.timeout(7200 if examples(0) else 300)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(
    max_examples=examples(10, TOGETHER),
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
        *await then.scorecard(),
    ]
    assert not wrong, "\n" + "\n".join(wrong)


async def same_ledger(world: World, known: Known) -> None:
    """Compare the net ledger, row by row."""
    found = await world.worker.net_ledger()
    service = {tuple(key[:7]): times for key, times in found.items()}
    oracle = {(*key[:4], moment(key[4]), *key[5:]): times for key, times in expected(known.rows).items()}
    assert not (text := difference(Counter(service), Counter(oracle))), text


class Asking:
    """The same questions to the service and to the oracle."""

    def __init__(
        self, world: World, known: Known, at: datetime, length: str, as_of: datetime | None = None
    ) -> None:
        self.world = world
        self.known = known
        self.parameters: dict[str, Any] = {"at": at.isoformat(), "window": length}
        if as_of is not None:
            self.parameters["as_of"] = as_of.isoformat()
        since = at - timedelta(days=LENGTHS[length])
        self.asked = Asked(micros(since), micros(at), micros(as_of or NOW))
        self.label = f"{at:%m-%dT%H:%M} {length}{' as of' if as_of else ''}"

    async def scorecard(self, where: tuple[tuple[str, str], ...] = ()) -> list[str]:
        """All metrics over the window."""
        found = await self.world.get("/v1/scorecard", **self.parameters, where=_written(where))
        asked = self._with(where)
        values = {one["metric"]: one for kind in ("service", "experience", "outcome") for one in found[kind]}
        assert values.keys() == DEFINITIONS.keys()
        return [
            line
            for name, definition in DEFINITIONS.items()
            for line in self._compared(name, values[name], asked, definition)
        ]

    async def groups(self, by: str, where: tuple[tuple[str, str], ...] = ()) -> list[str]:
        """All metrics by the values of a dimension."""
        wrong: list[str] = []
        for name, definition in DEFINITIONS.items():
            found = await self.world.get(
                f"/v1/metrics/{name}/groups", **self.parameters, where=_written(where), by=by
            )
            groups = {one["key"]: one for one in found["groups"]}
            keys = {
                value
                for row in self.known.of_metrics(*definition.metrics)
                for dimension, value in row.dimensions
                if dimension == by
            }
            for key in sorted(keys | groups.keys()):
                asked = self._with((*where, (by, key)))
                wanted = definition.of(self.known, asked)
                if key in groups:
                    wrong += self._compared(f"{name} of {key}", groups[key], asked, definition)
                elif wanted.n:
                    wrong.append(f"{self.label} {where}: {name} of {key} is missing: {wanted}")
        return wrong

    async def series(self) -> list[str]:
        """All metrics day by day."""
        wrong: list[str] = []
        for name, definition in DEFINITIONS.items():
            found = await self.world.get(f"/v1/metrics/{name}/series", **self.parameters, step="1d")
            for point in found["points"]:
                edges = [micros(datetime.fromisoformat(point[edge])) for edge in ("from", "to")]
                asked = Asked(edges[0], edges[1], self.asked.now)
                wrong += self._compared(f"{name} on {point['from']}", point, asked, definition)
        return wrong

    async def relationship(self, where: tuple[tuple[str, str], ...]) -> list[str]:
        """NPS by the latest response of each customer."""
        asked = Asked(self.asked.since, self.asked.until, self.asked.now, where, relationship=True)
        found = await self.world.get(
            "/v1/metrics/nps", **self.parameters, where=_written(where), population="relationship"
        )
        return list(self._compared("relationship nps", found, asked, DEFINITIONS["nps"]))

    def _with(self, where: tuple[tuple[str, str], ...]) -> Asked:
        return Asked(self.asked.since, self.asked.until, self.asked.now, where)

    def _compared(
        self, name: str, found: Mapping[str, Any], asked: Asked, definition: Definition
    ) -> Iterator[str]:
        wanted = definition.of(self.known, asked)
        for line in disagreements(found, wanted, duration=definition.tolerant):
            yield f"{self.label} {asked.where}: {name}: {line}"


def _written(where: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{name}:{value}" for name, value in where]
