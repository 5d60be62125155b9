"""One run of the scenario: post, wait until the services have caught up, compare."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cxloop_cli.demo.comparing import Comparison, compare, newest_alert
from cxloop_cli.demo.playing import Alert, Json, Observed, Places, Player, Posted
from cxloop_cli.demo.schedule import Scenario
from cxloop_common.topics import ALERTS

CATCH_UP_WITHIN_S: Final = 180.0
NOTHING_MOVES_S: Final = 45.0
"""What differs after so long differs for ever. A worker that was killed is not behind, it is not there: its
partitions come back when its session ends, 30 s later."""
LOOK_EVERY_S: Final = 0.15

Tell = Callable[[str], None]
"""Hears what is going on, in a few words."""


@dataclass(frozen=True)
class Run:
    """What came of it. Times are on the monotonic clock."""

    posted: Posted
    observed: Observed
    comparison: Comparison
    case: Json | None
    """The case of the customer whose journey is shown."""
    alert: Alert | None
    """The newest record of that case."""
    low_score_at: float
    """When that customer's low score was acknowledged by intake."""
    opened_at: float | None
    """When the first record of that case was read from Kafka."""
    first_record_at: float | None
    """When any alert record was first read."""
    checked_at: float


async def run(scenario: Scenario, places: Places, source_secrets: Mapping[str, str], tell: Tell) -> Run:
    """Play the scenario to running services. Raises DemoError and KafkaError."""
    async with Player(scenario, places, source_secrets) as player:
        total = len(scenario.posts)
        posted = await player.post_all(lambda count: tell(f"Posting webhooks: {count} of {total}"))
        observed, comparison = await _catch_up(player, scenario, posted, tell)
    case = _shown_case(scenario, observed)
    mine = (
        []
        if case is None
        else [one for one in observed.alerts if one.value.get("case_id") == case["case_id"]]
    )
    return Run(
        posted,
        observed,
        comparison,
        case,
        None if case is None else newest_alert(observed.alerts, ALERTS.name, case["case_id"]),
        posted.at[_low_score(scenario)],
        min((one.at for one in mine), default=None),
        min((one.at for one in observed.alerts), default=None),
        time.monotonic(),
    )


async def _catch_up(
    player: Player, scenario: Scenario, posted: Posted, tell: Tell
) -> tuple[Observed, Comparison]:
    """Look until the workers are through and every figure agrees, or nothing moves any more.

    A figure that is right while records wait could still change, so agreement counts only without lag.
    """
    began = moved_at = time.monotonic()
    before: object = None
    while True:
        # Lag first: what is read after it was zero has seen everything.
        behind = await player.behind()
        observed = await player.observe()
        comparison = compare(scenario, posted, observed)
        counts = observed.counts()
        shown = ", ".join(f"{count} {name}" for name, count in counts.items())
        tell(f"Services catching up: {shown}")
        if not comparison.differences and behind == 0:
            return observed, comparison
        now = time.monotonic()
        state = (behind, counts, tuple(comparison.differences))
        if state != before:
            before, moved_at = state, now
        stands_still = behind == 0 and now - moved_at > NOTHING_MOVES_S
        if stands_still or now - began > CATCH_UP_WITHIN_S:
            if behind:
                comparison.differences.append(f"records that no worker has processed: {behind}")
            return observed, comparison
        await asyncio.sleep(LOOK_EVERY_S)


def _shown_case(scenario: Scenario, observed: Observed) -> Json | None:
    """Find the case of the first customer's low NPS."""
    found = observed.customers[scenario.stories.people[0].email]
    ids = {one["customer_id"] for one in found}
    return next((case for case in observed.cases if case["customer_id"] in ids), None)


def _low_score(scenario: Scenario) -> int:
    """Find the first post of that score."""
    person = scenario.stories.people[0]
    answer = next(one for one in scenario.stories.answers if one.person == person and one.metric == "nps")
    mark = f'"id":"{answer.id}"'.encode()
    return next(place for place, post in enumerate(scenario.posts) if mark in post.body)
