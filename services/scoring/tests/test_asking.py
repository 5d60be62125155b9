"""Questions of every plan over HTTP: shares, levels, comparisons, restatements, drivers and what explains them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cxloop_common.events import (
    SurveyResponded,
    TicketAssigned,
    TicketCreated,
    TicketEscalated,
    TicketReplied,
    TicketStatusChanged,
)
from cxloop_common.testing.harness import make_topics
from cxloop_common.topics import (
    ALERTS,
    JOURNEYS,
    SCORING_LINKS,
    SURVEYS,
    TICKETS,
    TOUCHPOINTS,
    TopicNames,
)
from cxloop_scoring.app import SERVICE

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 12, 9, 30, tzinfo=UTC)
Start = Callable[..., AbstractAsyncContextManager[Any]]


class Clock:
    """The time as the test sets it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def answer(number: int, score: float, *, team: str = "billing", day: int = 0, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "id": f"nps-{number}",
        "source": "survey",
        "time": NOON + timedelta(days=day, minutes=number),
        "response_id": f"nps{number}",
        "metric": "nps",
        "score": score,
        "scale": {"min": 0, "max": 10},
        "dimensions": {"team": team},
        "identifiers": (f"email:c{number}@example.com",),
        **more,
    }
    return SurveyResponded(**fields)


class Story:
    """The events of one ticket, minutes after noon."""

    def __init__(self, number: int, *, team: str = "billing", day: int = 0, by: str = "customer") -> None:
        self.number = number
        self.team = team
        self.start = NOON + timedelta(days=day)
        self.events: list[Any] = [
            TicketCreated(**self.at(0), channel="email", created_by=by, team=team)  # type: ignore[arg-type]
        ]

    def at(self, minutes: int) -> dict[str, Any]:
        return {
            "id": f"t{self.number}-{minutes}",
            "source": "desk",
            "ticket_id": str(self.number),
            "time": self.start + timedelta(minutes=minutes),
        }

    def status(self, minutes: int, status: str) -> "Story":
        self.events.append(TicketStatusChanged(**self.at(minutes), status=status))  # type: ignore[arg-type]
        return self

    def reply(self, minutes: int, author: str = "agent") -> "Story":
        fields: dict[str, Any] = {
            **self.at(minutes),
            "message_id": f"m{minutes}",
            "author": author,
            "public": True,
        }
        self.events.append(TicketReplied(**fields))
        return self

    def hand_to(self, minutes: int, agent: str) -> "Story":
        self.events.append(TicketAssigned(**self.at(minutes), team=self.team, agent=agent))
        return self

    def escalate(self, minutes: int, level: str | None = None) -> "Story":
        self.events.append(TicketEscalated(**self.at(minutes), level=level))
        return self


def tickets() -> list[Any]:
    """Ten tickets: two reopened (one still open), three handed on (one of them twice), one escalated."""
    stories = [Story(n, team=["billing", "returns"][n % 2]) for n in range(10)]
    for story in stories:
        story.reply(10 + story.number)
    for story in stories[:6]:
        story.status(60 + story.number, "solved")
    stories[0].status(200, "open")
    stories[1].status(210, "open").status(300, "solved")
    for story in stories[2:5]:
        story.hand_to(1, "mia").hand_to(2, "ben")
    stories[4].hand_to(3, "mia")
    stories[7].escalate(5)
    return [event for story in stories for event in story.events]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def service(start_service: Start, kafka: str, topic_names: TopicNames, clock: Clock) -> Any:
    await make_topics(kafka, topic_names, [TICKETS, SURVEYS, SCORING_LINKS, TOUCHPOINTS, ALERTS, JOURNEYS])
    async with start_service(SERVICE, now=clock) as running:
        yield running


async def told(service: Any, events: list[Any]) -> None:
    await service.produce(events)
    await service.settle(TICKETS, SURVEYS)


async def get(service: Any, path: str, **params: Any) -> Any:
    found = await service.client.get(path, params=params)
    assert found.status_code == 200, found.text
    return found.json()


async def every_item(service: Any, path: str, limit: int, **params: Any) -> list[Any]:
    items: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await get(service, path, limit=limit, **params, **cursor)
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


async def test_a_share_counts_what_it_is_a_share_of(service: Any) -> None:
    await told(service, tickets())
    reopened = await get(service, "/v1/metrics/reopen_rate")
    assert (reopened["value"], reopened["n"]) == (pytest.approx(100 * 2 / 6), 6)
    escalated = await get(service, "/v1/metrics/escalation_rate")
    assert (escalated["value"], escalated["n"]) == (10, 10)
    handed = await get(service, "/v1/metrics/handoffs")
    assert (handed["value"], handed["n"], handed["two_or_more"]) == (0.4, 10, 10)
    groups = await get(service, "/v1/metrics/escalation_rate/groups", by="team")
    assert [(g["key"], g["value"], g["n"]) for g in groups["groups"]] == [
        ("returns", 20, 5),
        ("billing", 0, 5),
    ]
    assert (await get(service, "/v1/metrics/escalation_rate", where="team:billing"))["n"] == 5


async def test_a_backlog_is_what_was_open_at_the_end_of_each_step(service: Any) -> None:
    await told(service, tickets())
    assert (await get(service, "/v1/metrics/backlog"))["value"] == 5
    at = {minutes: (NOON + timedelta(minutes=minutes)).isoformat() for minutes in (1, 66, 205, 250, 305)}
    for minutes, level in ((1, 10), (66, 4), (205, 5), (250, 6), (305, 5)):
        assert (await get(service, "/v1/metrics/backlog", window="1m", at=at[minutes]))["value"] == level
    points = await get(service, "/v1/metrics/backlog/series", window="24h", step="1h", at=NOW.isoformat())
    assert {point["value"] for point in points["points"]} == {5}
    evening = (NOON + timedelta(hours=6)).isoformat()
    hourly = await get(service, "/v1/metrics/backlog/series", window="6h", step="1h", at=evening)
    assert [point["value"] for point in hourly["points"]] == [10, 4, 4, 6, 6, 5]
    tomorrow = (NOW + timedelta(days=2)).isoformat()
    ahead = await get(service, "/v1/metrics/backlog/series", window="3d", step="1d", at=tomorrow)
    assert [point["value"] for point in ahead["points"]] == [5, 5, None, None]
    groups = await get(service, "/v1/metrics/backlog/groups", by="team", unsuppress="true")
    assert {g["key"]: g["value"] for g in groups["groups"]} == {"billing": 3, "returns": 2}
    one = await get(service, "/v1/metrics/backlog", where=["team:billing", "channel:email"])
    assert (one["value"], one["n"]) == (3, 5)


async def test_what_explains_a_share_or_a_level_adds_up_to_it(service: Any) -> None:
    await told(service, tickets())
    items = await every_item(service, "/v1/metrics/reopen_rate/explain", limit=3)
    of_n = [item for item in items if item["counts"] == "n"]
    of_value = [item for item in items if item["counts"] == "value"]
    assert (len(of_n), {item["metric"] for item in of_n}) == (6, {"first_resolution_time"})
    assert [(item["metric"], item["value"]) for item in of_value] == [("reopen_rate", 1)] * 2
    assert [item["at"] for item in items] == sorted(item["at"] for item in items)
    assert items[0]["deliveries"] == [
        f"/v1/deliveries?event_id={event_id}" for event_id in items[0]["event_ids"]
    ]
    open_ = await every_item(service, "/v1/metrics/backlog/explain", limit=2)
    assert {item["document"] for item in open_} == {f"ticket:desk:{n}" for n in (0, 6, 7, 8, 9)}
    assert sum(item["value"] for item in open_) == (await get(service, "/v1/metrics/backlog"))["value"]


async def test_a_page_of_explanations_never_loses_what_happened_at_one_moment(service: Any) -> None:
    await told(service, [answer(n, 9, time=NOON) for n in range(23)] + [answer(23, 1)])
    items = await every_item(service, "/v1/metrics/nps/explain", limit=4)
    assert len({item["document"] for item in items}) == len(items) == 24


@pytest.mark.parametrize("listing", ["explain", "restatements"])
async def test_a_next_page_has_the_window_of_the_first_though_time_goes_on(
    service: Any, clock: Clock, listing: str
) -> None:
    since = (NOW - timedelta(hours=1)).isoformat()
    await told(service, [answer(n, 9) for n in range(6)])
    params: dict[str, Any] = {"window": "7d", "limit": 4, "since": since}
    if listing == "explain":
        del params["since"]
    path = f"/v1/metrics/nps/{listing}"
    first = await get(service, path, **params)
    clock.now += timedelta(minutes=7)
    second = await get(service, path, **params, cursor=first["next_cursor"])
    assert second["next_cursor"] is None
    items = first["items"] + second["items"]
    assert len({item["document"] for item in items}) == len(items) == 6
    assert first.get("window") == second.get("window")


async def test_values_are_compared_with_the_window_before_and_with_another_team(service: Any) -> None:
    good = [answer(n, 9 + n % 2) for n in range(40)]
    bad = [answer(100 + n, n % 7, day=-7) for n in range(40)]
    others = [answer(200 + n, 3 + n % 4, team="returns") for n in range(40)]
    await told(service, good + bad + others)
    params = {"window": "7d", "where": "team:billing"}
    found = await get(service, "/v1/metrics/nps", **params, compare="previous")
    before = found["comparison"]
    assert (before["against"], before["value"], before["n"]) == ("previous", -100, 40)
    assert (before["difference"], before["significant"]) == (200, True)
    assert before["ci_low"] <= 200
    assert before["p_value"] < 0.001
    other = (await get(service, "/v1/metrics/nps", **params, compare="team:returns"))["comparison"]
    assert (other["against"], other["value"], other["n"]) == ("team:returns", -100, 40)
    assert "comparison" not in await get(service, "/v1/metrics/nps", **params)
    groups = (await get(service, "/v1/metrics/nps/groups", by="team", window="7d", compare="rest"))["groups"]
    assert [group["key"] for group in groups] == ["returns", "billing"]
    assert [group["comparison"]["difference"] for group in groups] == [-200, 200]
    assert all(group["comparison"]["q_value"] < 0.001 for group in groups)
    billing = (await get(service, "/v1/metrics/nps/groups", by="team", window="7d", compare="team:billing"))[
        "groups"
    ]
    assert {group["key"]: "comparison" in group for group in billing} == {"returns": True, "billing": False}


async def test_restatements_tell_each_late_change_and_add_up(service: Any, clock: Clock) -> None:
    await told(service, [answer(n, score) for n, score in enumerate([10, 9, 9, 8, 3, 2])])
    clock.now = NOW + timedelta(hours=2)
    since = (NOW + timedelta(hours=1)).isoformat()
    await told(service, [answer(5, 10, id="edit", time=NOON + timedelta(hours=1)), answer(6, 0)])
    await told(service, [answer(7, 9)])
    clock.now = NOW + timedelta(hours=3)
    params = {"window": "7d", "since": since}
    found = await get(service, "/v1/metrics/nps/restatements", **params)
    assert found["believed"] == {"value": pytest.approx(100 / 6, abs=1e-6), "n": 6}
    now = await get(service, "/v1/metrics/nps", window="7d")
    assert found["now"] == {"value": now["value"], "n": now["n"]} == {"value": 37.5, "n": 8}
    edits = {item["document"]: item for item in found["items"]}
    edit = edits["response:survey:nps5"]
    assert [change["value"] for change in edit["withdrawn"]] == [2]
    assert [change["value"] for change in edit["booked"]] == [10]
    assert edit["event_ids"] == ["edit", "nps-5"]
    assert round(sum(item["effect"] for item in found["items"]), 6) == found["difference"]
    assert found["items"][-1]["value"] == found["now"]["value"]
    paged = await every_item(service, "/v1/metrics/nps/restatements", limit=1, **params)
    assert paged == found["items"]
    believed = await get(service, "/v1/metrics/nps", window="7d", at=clock.now.isoformat(), as_of=since)
    assert (believed["value"], believed["n"]) == (found["believed"]["value"], 6)


async def test_late_changes_of_shares_levels_and_durations_add_up_too(service: Any, clock: Clock) -> None:
    events = tickets()
    await told(service, [event for event in events if int(event.ticket_id) < 6])
    clock.now = NOW + timedelta(hours=2)
    since = (NOW + timedelta(hours=1)).isoformat()
    await told(service, [event for event in events if int(event.ticket_id) >= 6])
    await told(service, Story(2).status(500, "open").events[1:])
    clock.now = NOW + timedelta(hours=3)
    at = NOW.isoformat()
    for name in ("reopen_rate", "backlog", "first_response_time", "handoffs", "ticket_volume"):
        params = {"window": "7d", "at": at, "unsuppress": "true"}
        found = await get(service, f"/v1/metrics/{name}/restatements", since=since, **params)
        now = await get(service, f"/v1/metrics/{name}", **params)
        then = await get(service, f"/v1/metrics/{name}", as_of=since, **params)
        assert (found["now"]["value"], found["now"]["n"]) == (now["value"], now["n"]), name
        assert (found["believed"]["value"], found["believed"]["n"]) == (then["value"], then["n"]), name
        assert round(sum(item["effect"] for item in found["items"]), 6) == found["difference"], name
        assert found["items"], name


async def test_drivers_add_up_to_the_change(service: Any) -> None:
    then = [answer(n, 9, day=-7) for n in range(30)]
    then += [answer(50 + n, 2, day=-7, team="returns") for n in range(30)]
    now = [answer(100 + n, 9) for n in range(30)]
    now += [answer(200 + n, 2 if n % 2 else 9, team="returns") for n in range(30)]
    now += [answer(300 + n, 7, dimensions={}) for n in range(10)]
    await told(service, then + now)
    found = await get(service, "/v1/metrics/nps/drivers", by="team", window="7d")
    assert found["value_then"] == 0
    assert found["value"] == pytest.approx(100 * (45 - 15) / 70)
    parts = [*found["drivers"], found["unattributed"]]
    assert sum(part["total"]["value"] for part in parts) == pytest.approx(found["change"]["value"])
    assert found["drivers"][0]["key"] == "returns"
    assert found["drivers"][0]["significant"]
    earlier = (NOW - timedelta(days=30)).isoformat()
    nothing = await get(service, "/v1/metrics/nps/drivers", by="team", window="7d", against=earlier)
    assert (nothing["change"], nothing["drivers"]) == (None, [])


async def test_a_segment_that_is_served_well_and_turns_away_stands_in_front(service: Any) -> None:
    scores = [answer(n, 9, day=-7, dimensions={"segment": "smb"}) for n in range(40)]
    scores += [answer(100 + n, 1, dimensions={"segment": "smb"}) for n in range(40)]
    scores += [
        answer(200 + n, 9, day=day, dimensions={"segment": "big"}, id=f"b{n}{day}", response_id=f"b{n}{day}")
        for n in range(40)
        for day in (-7, 0)
    ]
    contacts: list[Any] = []
    for number in range(20):
        story = Story(number)
        fields: dict[str, Any] = {**story.at(0), "channel": "email", "created_by": "customer"}
        segment = {"segment": "smb" if number % 2 else "big"}
        story.events = [TicketCreated(**fields, dimensions=segment)]
        contacts += story.reply(5 if number % 2 else 50).events
    await told(service, scores + contacts)
    found = await get(service, "/v1/divergence", by="segment", window="7d")
    assert [(one["key"], one["finding"]) for one in found["segments"]] == [
        ("smb", "good_service_worse_experience"),
        ("big", "experience_holds"),
    ]
    slow = await get(service, "/v1/divergence", by="segment", window="7d", threshold=60)
    assert slow["segments"][0]["finding"] != "good_service_worse_experience"


async def test_an_agent_who_begs_for_top_scores_is_named(service: Any) -> None:
    scores: list[Any] = []
    for agent, given in {
        "mia": [10] * 38 + [3] * 2,
        "ben": [10, 9, 8, 7] * 10,
        "eva": [9, 10, 7, 8] * 10,
    }.items():
        scores += [
            answer(len(scores) + n, score, dimensions={"agent": agent}) for n, score in enumerate(given)
        ]
    await told(service, scores)
    found = await get(service, "/v1/gaming", window="90d")
    reasons = {one["agent"]: one["reason"] for one in found["top_scores"]["nps"]}
    assert reasons == {"mia": "top_scores_stand_out", "ben": "as_others", "eva": "as_others"}
    assert (found["picked_surveys"], found["merged_away"]) == ([], [])
    nobody = await get(service, "/v1/gaming", where="team:nobody")
    assert nobody["top_scores"] == {"nps": [], "csat": [], "ces": []}


async def test_cost_counts_contacts_and_repeats_by_group_and_channel(service: Any) -> None:
    contacts: list[Any] = []
    for number, hours in enumerate((0, 5, 30)):
        fields: dict[str, Any] = {**Story(number, day=-3).at(hours * 60), "channel": "email"}
        fields |= {"created_by": "customer", "contact_type": "refund", "team": "billing"}
        contacts.append(TicketCreated(**fields, identifiers=("email:a@example.com",)))
    await told(service, contacts)
    found = await get(service, "/v1/cost", by="team", window="7d")
    (item,) = found["items"]
    assert (item["group"], item["channel"], item["contacts"], item["repeated"]) == ("billing", "email", 3, 2)
    assert (found["currency"], item["contact_cost"], found["total"]["contacts"]) == (None, None, 3)
    one = await get(service, "/v1/cost", where="team:nobody")
    assert (one["items"], one["total"]["contacts"]) == ([], 0)


async def test_a_ticket_shows_cycles_handoffs_conflicts_and_its_revisions(service: Any, clock: Clock) -> None:
    story = Story(1).reply(10).reply(20, "customer").reply(50).hand_to(1, "mia").hand_to(2, "ben")
    story.escalate(60, "2")
    await told(service, story.events)
    clock.now = NOW + timedelta(hours=1)
    await told(service, [*story.status(90, "solved").events[-1:], Story(1).escalate(60, "3").events[-1]])
    card = await get(service, "/v1/tickets/desk:1")
    assert [(cycle["kind"], cycle["seconds"]) for cycle in card["cycles"][-1:]] == [("next_response", 1800)]
    assert (card["handoffs"], card["escalated"], card["handle_time"]) == (1, True, None)
    assert card["conflicts"] == {"lost": 1, "event_ids": ["t1-60"]}
    assert card["durations"]["first_resolution_time"] == {"seconds": 5400, "business_seconds": None}
    assert [revision["recorded_at"] for revision in card["revisions"]] == sorted(
        {revision["recorded_at"] for revision in card["revisions"]}
    )
    assert len(card["revisions"]) == 2
    booked = [row["metric"] for revision in card["revisions"] for row in revision["booked"]]
    assert {"ticket_volume", "next_response_time", "first_resolution_time"} <= set(booked)


async def test_one_metric_is_answered_alike_by_value_series_and_scorecard(service: Any) -> None:
    await told(service, [*tickets(), *(answer(n, n % 11) for n in range(22))])
    card = await get(service, "/v1/scorecard", window="7d", unsuppress="true")
    for item in (*card["service"], *card["experience"]):
        path = f"/v1/metrics/{item['metric']}"
        assert await get(service, path, window="7d", unsuppress="true") == item
        points = (await get(service, f"{path}/series", window="7d", step="1d"))["points"]
        if item["metric"] != "backlog":
            assert sum(point["n"] for point in points) == item["n"]


CALENDARS = """
calendars:
  office: {zone: Europe/Berlin, week: {mon-fri: "09:00-17:00"}}
default: office
"""
TARGETS = """
sla:
  - {first_response: 30m, resolution: 3d}
costs: {currency: EUR, per_contact: 6.00, avoidable: [refund]}
"""


@pytest.fixture
async def configured(
    start_service: Start, kafka: str, topic_names: TopicNames, clock: Clock, tmp_path: Path
) -> Any:
    """Start the service with office hours in Berlin, targets and costs."""
    for name, text in (("calendars.yaml", CALENDARS), ("metrics.yaml", TARGETS)):
        (tmp_path / name).write_text(text)
    files = {
        "metrics_file": str(tmp_path / "metrics.yaml"),
        "calendars_file": str(tmp_path / "calendars.yaml"),
    }
    await make_topics(kafka, topic_names, [TICKETS, SURVEYS, SCORING_LINKS, TOUCHPOINTS, ALERTS, JOURNEYS])
    async with start_service(SERVICE, now=clock, settings=files) as running:
        yield running


async def test_a_duration_is_told_in_business_hours_beside(configured: Any) -> None:
    # 12:00 UTC is 13:00 in Berlin; an answer 20 hours later comes at 09:00 of the next day, after four office hours.
    await told(configured, [event for n in range(6) for event in Story(n).reply(20 * 60 + n).events])
    found = await get(configured, "/v1/metrics/first_response_time", window="7d")
    assert found["value"] == pytest.approx(20 * 3600, rel=0.01)
    assert found["business"]["value"] == pytest.approx(4 * 3600, rel=0.02)
    assert (found["business"]["n"], found["n"]) == (6, 6)
    assert {"p90", "ci_low", "ci_high"} <= found["business"].keys()
    groups = await get(configured, "/v1/metrics/first_response_time/groups", by="team", window="7d")
    assert groups["groups"][0]["business"] == found["business"]
    card = await get(configured, "/v1/tickets/desk:0")
    assert card["durations"]["first_response_time"] == {"seconds": 72_000, "business_seconds": 14_400}
    whole = await get(configured, "/v1/metrics/ticket_volume", window="7d")
    assert "business" not in whole


async def test_a_target_is_breached_when_it_is_due_and_no_sooner(configured: Any, clock: Clock) -> None:
    clock.now = NOON + timedelta(minutes=10)
    await told(configured, [event for n in range(5) for event in Story(n).events])
    where = {
        "where": "target:first_response",
        "unsuppress": "true",
        "at": (NOON + timedelta(days=9)).isoformat(),
    }
    none = await get(configured, "/v1/metrics/sla_breach_rate", **where)
    assert (none["value"], none["n"]) == (None, 0)
    await told(configured, Story(0).reply(20).events[1:])
    clock.now = NOON + timedelta(minutes=40)
    found = await get(configured, "/v1/metrics/sla_breach_rate", **where)
    assert (found["value"], found["n"]) == (80, 5)
    as_of = (NOON + timedelta(minutes=25)).isoformat()
    before = await get(configured, "/v1/metrics/sla_breach_rate", **where, as_of=as_of)
    assert (before["value"], before["n"]) == (0, 1)
    both = await get(configured, "/v1/metrics/sla_breach_rate/groups", by="target", unsuppress="true")
    assert [(group["key"], group["n"]) for group in both["groups"]] == [("first_response", 5)]
    sla = {item["target"]: item for item in (await get(configured, "/v1/tickets/desk:1"))["sla"]}
    assert (sla["first_response"]["status"], sla["resolution"]["status"]) == ("breached", "running")
    assert sla["first_response"]["due_at"] == "2026-03-10T12:30:00Z"
    assert (await get(configured, "/v1/tickets/desk:0"))["sla"][0]["status"] == "met"


async def test_an_amount_names_its_currency_and_nothing_else_does(configured: Any) -> None:
    path = "/v1/metrics/revenue_at_risk"
    for answer_ in (await get(configured, path), await get(configured, f"{path}/series")):
        assert (answer_["unit"], answer_["currency"]) == ("money", "EUR")
    card = await get(configured, "/v1/scorecard")
    named = {
        one["metric"]: one["currency"]
        for kind in ("service", "experience", "outcome")
        for one in card[kind]
        if "currency" in one
    }
    assert named == {"revenue_at_risk": "EUR"}


async def test_cost_is_in_the_configured_currency(configured: Any) -> None:
    fields: dict[str, Any] = {**Story(1).at(0), "channel": "chat", "created_by": "customer"}
    await told(configured, [TicketCreated(**fields, contact_type="refund")])
    found = await get(configured, "/v1/cost", window="7d")
    assert (found["currency"], found["total"]["contact_cost"], found["total"]["avoidable_cost"]) == (
        "EUR",
        6,
        6,
    )
    assert found["total"]["handle_cost"] is None


async def test_a_question_that_takes_too_long_says_so_and_the_next_one_is_answered(
    start_service: Start, kafka: str, topic_names: TopicNames, clock: Clock, database_url: str
) -> None:
    await make_topics(kafka, topic_names, [TICKETS, SURVEYS, SCORING_LINKS, TOUCHPOINTS, ALERTS, JOURNEYS])
    async with start_service(SERVICE, now=clock, settings={"transaction_timeout_s": 1}) as service:
        holder = await asyncpg.connect(database_url)
        try:
            async with holder.transaction():
                # Every statement that reads the ledger waits for this lock.
                await holder.execute("LOCK TABLE scoring.ledger")
                found = await service.client.get("/v1/metrics/churn")
        finally:
            await holder.close()
        assert (found.status_code, found.headers["content-type"]) == (503, "application/problem+json")
        assert found.headers["retry-after"] == "30"
        assert found.json()["errors"] == [{"parameter": "window", "detail": "ask for a shorter one"}]
        assert (await get(service, "/v1/metrics/churn"))["n"] == 0
