"""Explanations of metrics in which documents meet add up to their answers, whatever the history."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cxloop_common.events import CloudEvent
from cxloop_scoring.app import SERVICE
from cxloop_scoring.domain.metrics import CATALOGUE, Plan

from .drawing import NOW, START
from .histories import History, everything_once, examples, histories
from .installation import CALENDARS, METRICS
from .rows import BACKLOG, FIRST_RESOLUTION, VOLUME
from .world import World, clock

TOGETHER = 8
EARLY, BETWEEN, LATE = (NOW - timedelta(hours=hours) for hours in (3, 2, 1))
MET = {
    "first_contact_resolution": {"later_contact"},
    "repeat_contact_rate": {"earlier_contact"},
    "response_rate": {"answer"},
    "retention": {"state_at_start", "state_at_end"},
    "churn": {"state_at_start", "state_at_end"},
    "closed_loop_rate": {"case_closed", "superseding_case"},
    "recovery_rate": {"case_closed", "next_score", "superseding_case"},
    "recovery_lift": {"case_contacted", "next_score", "later_low_score"},
    "revenue_at_risk": {"case", "superseding_case"},
    "nps": {"replaced_score"},
}
"""What must have met at least once in all histories together, or a test would prove nothing."""
Start = Callable[..., AbstractAsyncContextManager[Any]]


@dataclass(frozen=True)
class Asking:
    """How records arrive, and what is asked."""

    seed: int
    at: datetime
    window: str
    where: str | None
    limit: int
    as_of: bool


askings = st.builds(
    Asking,
    seed=st.integers(0, 2**32),
    at=st.sampled_from((NOW, START + timedelta(days=8, minutes=17), START + timedelta(days=20))),
    window=st.sampled_from(("30d", "7d", "90d")),
    where=st.sampled_from((None, "team:billing", "segment:smb", "source:zd", "team:nobody")),
    limit=st.sampled_from((3, 20, 500)),
    as_of=st.booleans(),
)


@pytest.fixture
async def world(start_service: Start, worker: Any, tmp_path: Path) -> AsyncGenerator[World]:
    files = {"metrics_file": tmp_path / "metrics.yaml", "calendars_file": tmp_path / "calendars.yaml"}
    files["metrics_file"].write_text(METRICS)
    files["calendars_file"].write_text(CALENDARS)
    chosen = {"log_level": "warning", **{name: str(path) for name, path in files.items()}}
    async with start_service(SERVICE, role="api", now=clock, settings=chosen) as running:
        world = World(worker, running.client)
        await world.empty()
        await world.deliver(everything_once(), NOW, 0, 1000)
        yield world


async def explained(world: World, path: str, parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Collect all pages."""
    items: list[Mapping[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await world.get(f"{path}/explain", **parameters, **cursor)
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


def added_up(items: Sequence[Mapping[str, Any]], metric: str) -> tuple[int, float | None]:
    """Give n and the value that the items come to."""
    n = sum(item["n"] for item in items)
    if metric == "recovery_lift":
        rates = [
            _percent([item for item in items if item["arm"] == arm]) for arm in ("contacted", "uncontacted")
        ]
        return n, None if rates[0] is None or rates[1] is None else rates[0] - rates[1]
    if metric == "revenue_at_risk":
        return n, sum(item["hits"] for item in items) if n else None
    return n, _percent(items)


def _percent(items: Sequence[Mapping[str, Any]]) -> float | None:
    n = sum(item["n"] for item in items)
    return 100 * sum(item["hits"] for item in items) / n if n else None


def drawn(count: int) -> list[tuple[tuple[History, ...], Asking]]:
    """Draw histories and questions, the same ones every time."""
    found: list[tuple[tuple[History, ...], Asking]] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        derandomize=not examples(0),
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(told=st.tuples(*(histories(f"h{number}") for number in range(TOGETHER))), asking=askings)
    def draw(told: tuple[History, ...], asking: Asking) -> None:
        found.append((told, asking))

    draw()
    return found


@pytest.mark.timeout(7200 if examples(0) else 300)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
async def test_what_explains_each_metric_in_which_documents_meet_adds_up_to_it(world: World) -> None:
    assert MET.keys() == {name for name, metric in CATALOGUE.items() if metric.plan is Plan.JOINED} | {"nps"}
    roles: dict[str, set[str]] = {metric: set() for metric in MET}
    wrong: list[str] = []
    for told, asking in drawn(examples(24, TOGETHER)):
        await arrive(world, told, asking.seed)
        for metric, met in roles.items():
            for where in {None, asking.where}:
                wrong += await differences(world, metric, asking, where, met)
    assert not wrong, "\n".join(wrong)
    assert {metric: wanted - roles[metric] for metric, wanted in MET.items() if wanted - roles[metric]} == {}


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
async def test_open_tickets_are_listed_by_the_last_movement_that_is_in_force(world: World) -> None:
    listed = 0
    for told, asking in drawn(examples(12, TOGETHER)):
        await arrive(world, told, asking.seed)
        until = asking.at.isoformat()
        items = await explained(world, "/v1/metrics/backlog", {"at": until, "limit": asking.limit})
        movements: dict[str, list[tuple[datetime, int]]] = {}
        for row, times in (await world.worker.net_ledger()).items():
            document, metric, value, _, at = row[:5]
            if metric in _MOVEMENTS and at < asking.at:
                movements.setdefault(document, []).append((at, times * (_MOVEMENTS[metric] or value)))
        expected = sorted(
            (max(moved)[0], document)
            for document, moved in movements.items()
            if sum(weight for _, weight in moved) > 0
        )
        assert [(datetime.fromisoformat(item["at"]), item["document"]) for item in items] == expected
        listed += len(items)
    assert listed


_MOVEMENTS = {VOLUME: 1, FIRST_RESOLUTION: -1, BACKLOG: 0}
"""What a movement adds to the backlog; 0 for what its value says."""


async def differences(
    world: World, metric: str, asking: Asking, where: str | None, met: set[str]
) -> list[str]:
    """Compare an answer with what explains it, and collect what has met."""
    parameters: dict[str, Any] = {"at": asking.at.isoformat(), "window": asking.window}
    if metric == "nps":
        parameters["population"] = "relationship"
    if asking.as_of:
        parameters["as_of"] = BETWEEN.isoformat()
    if where is not None:
        parameters["where"] = where
    path = f"/v1/metrics/{metric}"
    answer = await world.get(path, **parameters)
    items = await explained(world, path, {**parameters, "limit": asking.limit})
    found = added_up(items, metric)
    wrong: list[str] = []
    if metric == "recovery_lift":
        arms = [
            sum(item["n"] for item in items if item["arm"] == arm) for arm in ("contacted", "uncontacted")
        ]
        if arms != [answer.get("contacted_n", 0), answer.get("uncontacted_n", 0)]:
            wrong.append(f"has arms of {arms}, not {answer}")
    if found != (answer["n"], pytest.approx(answer["value"], abs=1e-6)):
        wrong.append(f"adds up to {found}, not to {answer}: {items}")
    places = [
        (datetime.fromisoformat(item["at"]), item["document"], item["metric"], item["value"])
        for item in items
    ]
    times = [place[0] for place in places]
    if len(set(places)) < len(places) or times != sorted(times):
        wrong.append(f"out of order or twice: {places}")
    for item in items:
        met |= {one["role"] for one in item["by"]}
        if item["reason"] is None or not all(one["event_ids"] for one in (item, *item["by"])):
            wrong.append(f"has no reason or no events: {item}")
    return [f"{metric} {parameters}: {line}" for line in wrong]


async def arrive(world: World, told: Sequence[History], seed: int) -> None:
    """Deliver half of all records before `BETWEEN`, and half after."""
    parts: tuple[list[CloudEvent], list[CloudEvent]] = ([], [])
    for place, record in enumerate(record for history in told for record in history.records):
        parts[(place * 2654435761 + seed) % 2].append(record)
    await world.empty()
    await world.deliver(parts[0], EARLY, seed, 1000)
    await world.deliver(parts[1], LATE, seed, 1000)
