"""The whole service on Kafka and PostgreSQL, asked over HTTP."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cxloop_common.events import (
    SurveyResponded,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketMerged,
    TicketReplied,
    TicketStatusChanged,
    decode_event,
)
from cxloop_common.kafka.records import Message
from cxloop_common.testing.harness import make_topics
from cxloop_common.topics import SCORE_EVENT, SCORES, SCORING_LINKS, SURVEYS, TICKETS, TopicNames
from cxloop_scoring.app import SERVICE
from cxloop_scoring.generations import rules_of

GENERATION = rules_of(None).generation
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 12, 9, 30, tzinfo=UTC)
Start = Callable[..., AbstractAsyncContextManager[Any]]


def answer(number: int, score: float, *, metric: str = "nps", team: str = "billing", **more: Any) -> Any:
    low, high = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}[metric]
    fields: dict[str, Any] = {
        "id": f"{metric}-{number}",
        "source": "survey",
        "time": NOON + timedelta(minutes=number),
        "response_id": f"{metric}{number}",
        "metric": metric,
        "score": score,
        "scale": {"min": low, "max": high},
        "dimensions": {"team": team},
        "identifiers": (f"email:c{number}@example.com",),
        **more,
    }
    return SurveyResponded(**fields)


def ticket(number: int, *, team: str = "billing", reply_after: int = 30, solve_after: int = 120) -> list[Any]:
    def at(minutes: int) -> dict[str, Any]:
        return {
            "id": f"t{number}-{minutes}",
            "source": "zendesk-eu",
            "ticket_id": str(number),
            "time": NOON + timedelta(minutes=minutes),
        }

    return [
        TicketCreated(**at(0), channel="email", created_by="customer"),
        TicketAssigned(**at(1), team=team),
        TicketReplied(**at(2), message_id="m", author="bot", public=True),
        TicketReplied(**at(3), message_id="m", author="agent", public=False),
        TicketReplied(**at(reply_after), message_id="m", author="agent", public=True),
        TicketStatusChanged(**at(solve_after), status="solved"),
    ]


SCORES_GIVEN = [10, 9, 9, 8, 7, 3, 10, 2, 9, 10]


@pytest.fixture
async def service(start_service: Start, kafka: str, topic_names: TopicNames) -> Any:
    # A worker that joins before its topics exist learns of them a metadata refresh later.
    await make_topics(kafka, topic_names, [TICKETS, SURVEYS, SCORING_LINKS])
    async with start_service(SERVICE, now=lambda: NOW) as running:
        events: list[Any] = [
            answer(n, score, team="billing" if n % 2 else "returns") for n, score in enumerate(SCORES_GIVEN)
        ]
        events += [answer(n, score, metric="csat") for n, score in enumerate([5, 4, 4, 3, 1, 5])]
        events += [answer(n, score, metric="ces") for n, score in enumerate([7, 6, 5, 4, 2])]
        for number in range(6):
            events += ticket(number, team=["billing", "returns"][number % 2], reply_after=20 + 10 * number)
        await running.produce(events)
        await running.settle(TICKETS, SURVEYS, SCORING_LINKS)
        yield running


async def get(service: Any, path: str, **params: Any) -> Any:
    found = await service.client.get(path, params=params)
    assert found.status_code == 200, found.text
    return found.json()


async def test_a_value_carries_what_is_needed_to_judge_it(service: Any) -> None:
    found = await get(service, "/v1/metrics/nps", window="7d")
    assert found["value"] == 40
    assert found["n"] == 10
    assert found["ci_low"] == pytest.approx(-12.59, abs=0.01)
    assert found["ci_high"] == pytest.approx(74.12, abs=0.01)
    assert found["status"] == "low_confidence"
    assert found["window"] == {"from": "2026-03-05T09:30:00Z", "to": "2026-03-12T09:30:00Z"}
    assert (found["where"], found["as_of"], found["formula_version"]) == ([], None, 1)
    time = await get(service, "/v1/metrics/first_response_time")
    assert time["value"] == pytest.approx(45 * 60, rel=0.01)
    assert time["p90"] == pytest.approx(65 * 60, rel=0.01)
    effort = await get(service, "/v1/metrics/ces")
    assert (effort["value"], effort["top_box"]) == (4.8, 60)


async def test_a_window_ends_before_its_end(service: Any) -> None:
    last = (NOON + timedelta(minutes=9)).isoformat()
    assert (await get(service, "/v1/metrics/nps", at=last, window="9m"))["n"] == 9
    after = (NOON + timedelta(minutes=9, microseconds=1)).isoformat()
    assert (await get(service, "/v1/metrics/nps", at=after, window="9m"))["n"] == 9
    assert (await get(service, "/v1/metrics/nps", at=after, window="10m"))["n"] == 10


async def test_few_observations_are_withheld_unless_asked_for(service: Any) -> None:
    params = {"window": "3m", "at": (NOON + timedelta(minutes=3)).isoformat()}
    found = await get(service, "/v1/metrics/nps", **params)
    assert (found["value"], found["ci_low"], found["n"], found["status"]) == (None, None, 3, "suppressed")
    shown = await get(service, "/v1/metrics/nps", **params, unsuppress="true")
    assert (shown["value"], shown["n"], shown["status"]) == (100, 3, "suppressed")
    nothing = await get(service, "/v1/metrics/nps", window="15m", unsuppress="true")
    assert (nothing["value"], nothing["n"]) == (None, 0)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("metrics/nps", {}),
        ("metrics/nps/series", {}),
        ("metrics/nps/groups", {"by": "team"}),
        ("scorecard", {}),
    ],
)
async def test_a_value_that_was_never_seen_is_named(service: Any, path: str, params: dict[str, str]) -> None:
    for where, unknown in (
        ([], []),
        (["team:billing"], []),
        (["team:nope"], ["team:nope"]),
        (["team:billing", "source:nope", "channel:nope:no"], ["source:nope", "channel:nope:no"]),
    ):
        answer = await get(service, f"/v1/{path}", where=where, **params)
        assert (answer["where"], answer["unknown_values"]) == (where, unknown)


async def test_filters_and_groups_agree_and_the_worst_comes_first(service: Any) -> None:
    groups = (await get(service, "/v1/metrics/nps/groups", by="team"))["groups"]
    assert [group["key"] for group in groups] == ["billing", "returns"]
    for group in groups:
        one = await get(service, "/v1/metrics/nps", where=f"team:{group['key']}")
        assert (one["value"], one["n"]) == (group["value"], group["n"])
    both = await get(service, "/v1/metrics/nps", where=["team:billing", "source:survey"])
    assert both["n"] == 5
    slow = (await get(service, "/v1/metrics/full_resolution_time/groups", by="team", unsuppress="true"))[
        "groups"
    ]
    assert {group["key"]: group["n"] for group in slow} == {"billing": 3, "returns": 3}


async def test_a_series_covers_its_window(service: Any) -> None:
    found = await get(service, "/v1/metrics/nps/series", window="3d", step="1d")
    assert [point["n"] for point in found["points"]] == [0, 10, 0, 0]
    assert found["points"][0]["from"] == found["window"]["from"]
    assert found["points"][-1]["to"] == found["window"]["to"]


async def test_explained_observations_add_up_to_the_value(service: Any) -> None:
    items: list[Any] = []
    cursor = None
    while True:
        params = {"limit": 4, **({"cursor": cursor} if cursor else {})}
        page = await get(service, "/v1/metrics/nps/explain", **params)
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [item["value"] for item in items] == SCORES_GIVEN
    assert items[0]["document"] == "response:survey:nps0"
    assert items[0]["event_ids"] == ["nps-0"]
    assert items[0]["dimensions"] == {"source": "survey", "team": "returns"}
    bands = [item["band"] for item in items]
    assert 100 * (bands.count("high") - bands.count("low")) / len(bands) == 40


async def test_the_scorecard_shows_service_beside_experience(service: Any) -> None:
    card = await get(service, "/v1/scorecard", window="7d")
    assert {item["metric"] for item in card["experience"]} >= {"nps", "csat", "ces", "response_rate"}
    assert {item["metric"] for item in card["outcome"]} >= {"retention", "closed_loop_rate"}
    for item in (*card["service"], *card["experience"], *card["outcome"]):
        assert item == await get(service, f"/v1/metrics/{item['metric']}", window="7d")
    times = {item["metric"]: item for item in card["service"]}
    assert times["ticket_volume"]["value"] == 6
    assert (times["reopen_rate"]["value"], times["reopen_rate"]["n"]) == (0, 6)
    assert times["full_resolution_time"]["value"] == pytest.approx(7200, rel=0.01)


async def test_the_catalogue_names_metrics_and_dimensions(service: Any) -> None:
    items = (await get(service, "/v1/metrics"))["items"]
    assert [item["name"] for item in items][:2] == ["nps", "csat"]
    assert {"team", "tag", "survey"} <= set(items[0]["dimensions"])


@pytest.mark.parametrize(
    ("path", "params", "says"),
    [
        ("/v1/metrics/nsp", {}, "ticket_volume"),
        ("/v1/metrics/nps", {"window": "401d"}, "400d"),
        ("/v1/metrics/nps", {"at": "2025-03-01T00:00:00Z"}, "kept for 400 days"),
        ("/v1/metrics/nps", {"at": "9999-12-31T00:00:00Z"}, "within 3660 days"),
        ("/v1/metrics/ticket_volum", {}, "Did you mean ticket_volume?"),
        ("/v1/metrics/nps", {"where": "taem:billing"}, "Did you mean team?"),
        ("/v1/metrics/nps", {"compare": "rest"}, "for groups"),
        ("/v1/metrics/nps", {"compare": "before"}, "previous"),
        ("/v1/metrics/nps", {"compare": "colour:red"}, "contact_type"),
        ("/v1/metrics/nps/series", {"zone": "Berlin"}, "Europe/Berlin"),
        ("/v1/metrics/nps/series", {"step": "2w"}, "1mo"),
        ("/v1/metrics/nps/restatements", {"since": NOW.isoformat()}, "transactions of the last"),
        ("/v1/metrics/backlog/restatements", {"since": NOON.isoformat()}, "had ended by then"),
        ("/v1/metrics/churn/restatements", {"since": NOON.isoformat()}, "across documents"),
        ("/v1/metrics/nps/drivers", {"by": "tag"}, "any number of tags"),
        ("/v1/metrics/nps/drivers", {"by": "team", "against": NOW.isoformat()}, "before the window"),
        ("/v1/divergence", {"by": "segment", "service": "nps", "experience": "nps"}, "service"),
        ("/v1/metrics/nps", {"window": "fortnight"}, "30d"),
        ("/v1/metrics/nps", {"where": "colour:red"}, "contact_type"),
        ("/v1/metrics/nps", {"where": "team"}, "dimension:value"),
        ("/v1/metrics/nps/groups", {"by": "colour"}, "contact_type"),
        ("/v1/metrics/csat", {"population": "relationship"}, "only nps"),
        ("/v1/metrics/nps", {"population": "everyone"}, "transactional or relationship"),
        ("/v1/metrics/nps/series", {"window": "90d", "step": "5m"}, "at most 2000 points"),
        ("/v1/metrics/nps/series", {"window": "1d", "step": "1w"}, "no longer than the window"),
        ("/v1/metrics/nps", {"as_of": NOW.isoformat()}, "transactions of the last"),
        ("/v1/metrics/nps", {"windwo": "1d"}, "window"),
    ],
)
async def test_a_question_that_cannot_be_answered_says_what_is_possible(
    start_service: Start, path: str, params: dict[str, str], says: str
) -> None:
    async with start_service(SERVICE, now=lambda: NOW, role="api") as running:
        found = await running.client.get(path, params=params)
        assert found.status_code == 400
        assert says in found.text


async def test_answers_need_a_token(service: Any) -> None:
    assert (await service.anonymous.get("/v1/scorecard")).status_code == 401


async def test_an_edited_response_restates_the_metric_and_is_published_again(service: Any) -> None:
    await service.produce([answer(5, 10, id="edit", time=NOON + timedelta(hours=1))])
    await service.settle(SURVEYS)
    assert (await get(service, "/v1/metrics/nps"))["value"] == 60
    scores = [decode_event(SCORE_EVENT, r.headers, r.value) for r in await service.read(SCORES)]
    of_one = [score for score in scores if score.document == "response:survey:nps5"]
    assert [(score.revision, score.raw, score.band) for score in of_one] == [
        ((GENERATION, 1), 3, "low"),
        ((GENERATION, 2), 10, "high"),
    ]
    assert of_one[1].event_ids == ("edit", "nps-5")
    assert of_one[1].customer_hint == "email:c5@example.com"
    assert of_one[1].event_time == of_one[1].time == NOON + timedelta(hours=1)
    card = await get(service, "/v1/responses/survey:nps5")
    assert (card["document"], card["revision"], card["score"]) == (
        "response:survey:nps5",
        [GENERATION, 2],
        10,
    )


async def test_a_relationship_counts_each_customer_once(service: Any) -> None:
    await service.produce(
        [answer(20, 0, identifiers=("email:c0@example.com",)), answer(21, 0, identifiers=())]
    )
    await service.settle(SURVEYS)
    assert (await get(service, "/v1/metrics/nps"))["n"] == 12
    assert (await get(service, "/v1/metrics/nps", population="relationship"))["n"] == 10


async def test_a_ticket_shows_its_clocks_and_leaves_when_deleted(service: Any) -> None:
    card = await get(service, "/v1/tickets/zendesk-eu:0")
    assert card == await get(service, "/v1/tickets/ticket:zendesk-eu:0")
    assert card["clocks"]["first_reply_at"] == "2026-03-10T12:20:00Z"
    assert {item["metric"] for item in card["observations"]} >= {"first_response_time", "ticket_volume"}
    fields: dict[str, Any] = {"id": "gone", "source": "zendesk-eu", "ticket_id": "0", "time": NOON}
    gone = TicketDeleted(**fields)
    await service.produce([gone])
    await service.settle(TICKETS)
    assert (await get(service, "/v1/metrics/ticket_volume"))["n"] == 5
    assert (await get(service, "/v1/tickets/zendesk-eu:0"))["state"] == "deleted"
    assert (await service.client.get("/v1/tickets/zendesk-eu:99")).status_code == 404


async def test_a_merged_ticket_passes_its_messages_on_to_the_survivor(service: Any) -> None:
    base: dict[str, Any] = {"source": "zendesk-eu", "time": NOON + timedelta(minutes=50)}
    lone = TicketCreated(
        **base, id="lone", ticket_id="survivor", channel="email", created_by="customer", subject=None, tags=()
    )
    merged = TicketMerged(**base, id="merge", ticket_id="3", into_ticket_id="survivor")
    await service.produce([merged, lone])
    await service.settle(TICKETS, SCORING_LINKS)
    assert (await get(service, "/v1/metrics/ticket_volume"))["n"] == 6
    survivor = await get(service, "/v1/tickets/zendesk-eu:survivor")
    assert survivor["clocks"]["waiting_since"] == "2026-03-10T12:00:00Z"
    assert survivor["clocks"]["first_reply_at"] == "2026-03-10T12:50:00Z"
    assert (await get(service, "/v1/tickets/zendesk-eu:3"))["state"] == "merged"


async def test_an_unreadable_record_is_parked_and_its_neighbours_count(service: Any) -> None:
    bad = Message(service.names.name(TICKETS), b"k", b"{", (("ce_id", b"x"),))
    await service.send([bad])
    await service.produce([answer(30, 10)])
    await service.settle(TICKETS, SURVEYS)
    parked = (await get(service, "/v1/dead-letters"))["items"]
    assert [item["reason"] for item in parked] == ["unreadable"]
    assert (await get(service, "/v1/metrics/nps"))["n"] == 11
