"""The whole service on real Kafka and PostgreSQL: scores in, cases and alert records out, actions over HTTP."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cxloop_alerting.app import SERVICE
from cxloop_alerting.settings import AlertingSettings
from cxloop_common.events import (
    ContextCard,
    IdentifierVersion,
    JourneyChange,
    JourneyChanged,
    Scale,
    ScoreRecorded,
)
from cxloop_common.service import ConfigurationError, make_app, make_foundation
from cxloop_common.testing.harness import RunningService, make_topics
from cxloop_common.topics import ALERTS, JOURNEYS, SCORES, TopicNames, route_topic

StartService = Callable[..., AbstractAsyncContextManager[RunningService[Any]]]
ROUTES = """
people: {ana: {name: Ana}, ben: {}, lea: {name: Lea}}
teams: {care: {members: [ana, ben]}}
chains: {up: [{hand_over: person:lea}]}
root_causes: {billing: [wrong_invoice]}
fallback: person:lea
route:
  owner: team:care
  chain: up
  deadlines: {acknowledge: 1h, contact: 4h, resolve: 3d}
  routes:
    - {name: product, match: ['cause=~"prod.*"'], copy: true, continue: true}
    - {name: vip, match: [tier=gold], owner: person:lea}
"""


def scored(
    number: int, raw: int = 1, *, revision: int = 1, hint: str | None = "email:ana@example.com", **more: Any
) -> ScoreRecorded:
    at = more.pop("at", datetime.now(UTC) - timedelta(minutes=1))
    return ScoreRecorded(
        id=f"score-{number}-{revision}",
        source="scoring",
        time=at,
        document=f"response:typeform-eu:{number}",
        revision=(1, revision),
        event_time=at,
        event_ids=(f"e{number}",),
        metric="csat",
        raw=raw,
        scale=Scale(min=1, max=5),
        normalised=(raw - 1) * 2500,
        band="low" if raw <= 2 else "high",
        customer_hint=hint,
        identifiers=(hint,) if hint else (),
        **more,
    )


def journey(customer: str, version: int, *identifiers: str, card: bool = True, **more: Any) -> JourneyChanged:
    at = datetime.now(UTC)
    return JourneyChanged(
        id=f"{customer}-{version}",
        source="journey",
        time=at,
        customer_id=customer,
        version=version,
        change=JourneyChange.CARD,
        identifiers=tuple(IdentifierVersion(id=name, version=version) for name in identifiers),
        card=ContextCard(stage="renewal", first_seen=at, last_seen=at, touchpoints=3) if card else None,
        **more,
    )


async def records(service: RunningService[Any], route: str | None = None) -> list[dict[str, Any]]:
    topic = ALERTS if route is None else route_topic(route)
    found = await service.read(topic)
    decoded = [
        {"id": record.headers["ce_id"].decode(), **msgspec.json.decode(record.value or b"{}")}
        for record in found
    ]
    return sorted(decoded, key=lambda record: (record["case_id"], record["version"]))


async def only_case(service: RunningService[Any]) -> dict[str, Any]:
    items = (await service.client.get("/v1/cases")).json()["items"]
    assert len(items) == 1
    return items[0]


async def post(
    service: RunningService[Any], case: Mapping[str, Any], action: str, body: Any = None, **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(f"/v1/cases/{case['case_id']}/{action}", json=body, headers=named)


@pytest.fixture
def start_alerting(start_service: StartService, kafka: str, topic_names: TopicNames) -> StartService:
    """Topics are there before the service is: a consumer learns of new ones only after a minute."""

    @asynccontextmanager
    async def begin(**options: Any) -> AsyncGenerator[RunningService[Any]]:
        await make_topics(kafka, topic_names, [SCORES, JOURNEYS])
        async with start_service(SERVICE, **options) as service:
            yield service

    return begin


@pytest.fixture
def configured(tmp_path: Path) -> dict[str, Any]:
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES)
    return {"routes_file": str(routes), "timer_poll_s": 60}


async def test_a_low_score_becomes_a_case_with_an_owner_and_an_alert_on_both_topics(
    start_alerting: StartService, configured: dict[str, Any]
) -> None:
    async with start_alerting(settings=configured) as service:
        await service.produce(
            [scored(1, dimensions={"tier": "gold", "cause": "product"}), scored(2, 5)], SCORES
        )
        await service.settle(SCORES)
        case = await only_case(service)
        assert case["status"] == "open"
        assert case["owner"] == {"kind": "person", "id": "lea", "name": "Lea", "team": None}
        assert case["route"] == "vip"
        assert case["customer_id"] is None
        [record] = await records(service)
        assert (record["change"], record["case_id"], record["version"]) == ("opened", case["case_id"], 1)
        assert record["score"]["value"] == 1
        assert "example.com" not in msgspec.json.encode(record).decode()
        assert await records(service, "vip") == [record]
        assert await records(service, "product") == [record]
        assert await records(service, "default") == []


async def test_context_and_customer_follow_in_a_record_of_their_own_when_the_journey_knows_them(
    start_alerting: StartService, configured: dict[str, Any]
) -> None:
    async with start_alerting(settings=configured) as service:
        await service.produce([scored(1)], SCORES)
        await service.settle(SCORES)
        await service.produce([journey("cus_1", 7, "email:ana@example.com")], JOURNEYS)
        await service.settle(SCORES, JOURNEYS)
        opened, updated = await records(service)
        assert (opened["change"], opened.get("customer_id"), opened["context"]) == ("opened", None, {})
        assert (updated["change"], updated["customer_id"]) == ("updated", "cus_1")
        assert updated["context"]["stage"] == "renewal"
        await service.produce([journey("cus_1", 8)], JOURNEYS)
        await service.settle(JOURNEYS)
        assert len(await records(service)) == 2, "a newer card alone is no news"
        assert (await only_case(service))["context"]["stage"] == "renewal"


async def test_people_take_a_case_from_open_to_resolved_and_the_history_tells_who_did_what(
    start_alerting: StartService, configured: dict[str, Any]
) -> None:
    async with start_alerting(settings=configured) as service:
        await service.produce([scored(1)], SCORES)
        await service.settle(SCORES)
        case = await only_case(service)
        acknowledged = await post(service, case, "acknowledge")
        assert (acknowledged.status_code, acknowledged.json()["status"]) == (200, "acknowledged")
        assert (await post(service, case, "acknowledge")).status_code == 409
        assert (await post(service, case, "contact", {"channel": "phone"})).json()["status"] == "contacted"
        assert (await post(service, case, "note", {"text": "will call back"})).status_code == 200
        noted = await service.client.get(f"/v1/cases/{case['case_id']}")
        body = {"root_cause": "billing/wrong_invoice"}
        assert (await post(service, case, "resolve", body)).status_code == 428
        assert (await post(service, case, "resolve", body, If_Match='"1"')).status_code == 412
        wrong = await post(service, case, "resolve", {"root_cause": "biling"}, If_Match=noted.headers["ETag"])
        assert wrong.status_code == 422
        assert "billing" in wrong.json()["detail"]
        closed = await post(service, case, "resolve", body, If_Match=noted.headers["ETag"])
        assert (closed.json()["status"], closed.json()["root_cause"]) == ("resolved", body["root_cause"])
        refused = await post(service, case, "contact")
        assert refused.status_code == 409
        assert "resolved" in refused.json()["detail"]
        assert (await post(service, case, "reopen")).json()["status"] == "reopened"
        history = (await service.client.get(f"/v1/cases/{case['case_id']}/history")).json()["items"]
        assert [line["change"] for line in history] == [
            "opened", "acknowledged", "contacted", "note", "resolved", "reopened",
        ]  # fmt: skip
        assert (history[1]["who"], history[1]["from"], history[1]["to"]) == ("test", "open", "acknowledged")
        await service.settle(SCORES)
        assert [record["change"] for record in await records(service)] == [
            "opened", "acknowledged", "contacted", "updated", "resolved", "reopened",
        ]  # fmt: skip


async def test_a_repeated_idempotency_key_acts_once_and_a_reused_one_is_refused(
    start_alerting: StartService, configured: dict[str, Any]
) -> None:
    async with start_alerting(settings=configured) as service:
        await service.produce([scored(1)], SCORES)
        await service.settle(SCORES)
        case = await only_case(service)
        first = await post(service, case, "acknowledge", Idempotency_Key="k1")
        again = await post(service, case, "acknowledge", Idempotency_Key="k1")
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.json() == again.json()
        assert (await post(service, case, "contact", Idempotency_Key="k1")).status_code == 422
        given = await post(service, case, "assign", {"owner": "person:lea"}, Idempotency_Key="k2")
        assert given.json()["owner"]["id"] == "lea"
        again = await post(service, case, "assign", {"owner": "person:lea"}, Idempotency_Key="k2")
        assert again.json() == given.json()
        assert (await post(service, case, "assign", {"owner": "person:zoe"})).status_code == 422


async def test_an_unacknowledged_case_is_handed_over_when_its_deadline_passes(
    start_alerting: StartService, configured: dict[str, Any]
) -> None:
    clock = [datetime.now(UTC)]
    settings = {**configured, "timer_poll_s": 0.05}
    async with start_alerting(settings=settings, now=lambda: clock[0]) as service:
        await service.produce([scored(1)], SCORES)
        await service.settle(SCORES)
        case = await only_case(service)
        assert case["owner"]["id"] == "ana"
        assert datetime.fromisoformat(case["due_at"]) == clock[0] + timedelta(hours=1)
        clock[0] += timedelta(hours=1)
        async with await service.connect() as connection:
            while await connection.fetchval("SELECT count(*) FROM timers"):
                await connection.execute("SELECT pg_sleep(0.02)")
        await service.settle(SCORES)
        after = await only_case(service)
        assert (after["owner"]["id"], after["escalated_to"]) == ("lea", "person:lea")
        assert [record["change"] for record in await records(service)] == ["opened", "escalated"]


async def test_customers_that_merge_keep_one_case_and_the_other_id_redirects(
    start_alerting: StartService, configured: dict[str, Any]
) -> None:
    async with start_alerting(settings=configured) as service:
        await service.produce([scored(1, hint="email:a@x.org"), scored(2, hint="email:b@x.org")], SCORES)
        await service.settle(SCORES)
        before = {case["case_id"] for case in (await service.client.get("/v1/cases")).json()["items"]}
        assert len(before) == 2
        await service.produce([journey("cus_1", 3, "email:a@x.org", "email:b@x.org", card=False)], JOURNEYS)
        await service.settle(SCORES, JOURNEYS)
        case = await only_case(service)
        [other] = before - {case["case_id"]}
        assert case["supersedes"] == [other]
        moved = await service.client.get(f"/v1/cases/{other}")
        assert (moved.status_code, moved.headers["Location"]) == (308, f"/v1/cases/{case['case_id']}")
        acted = await service.client.post(f"/v1/cases/{other}/acknowledge")
        assert acted.headers["Location"] == f"/v1/cases/{case['case_id']}/acknowledge"


async def test_lists_are_filtered_and_paged(start_alerting: StartService, configured: dict[str, Any]) -> None:
    async with start_alerting(settings=configured) as service:
        await service.produce([scored(n, hint=f"email:{n}@x.org") for n in range(5)], SCORES)
        await service.settle(SCORES)
        first = (await service.client.get("/v1/cases?limit=3&status=open")).json()
        second = (
            await service.client.get(f"/v1/cases?limit=3&status=open&cursor={first['next_cursor']}")
        ).json()
        ids = [case["case_id"] for case in first["items"] + second["items"]]
        assert (len(ids), len(set(ids)), second["next_cursor"]) == (5, 5, None)
        owners = (await service.client.get("/v1/cases?owner=ana&route=default")).json()["items"]
        assert 2 <= len(owners) <= 3, "the team takes turns"
        assert (await service.client.get("/v1/cases?state=open")).status_code == 400
        assert (await service.client.get("/v1/cases?status=closed")).status_code == 400


async def test_rules_and_routes_in_force_are_shown_and_can_be_tried(
    start_alerting: StartService, configured: dict[str, Any]
) -> None:
    async with start_alerting(settings=configured) as service:
        rules = (await service.client.get("/v1/rules")).json()
        assert [rule["id"] for rule in rules["rules"]] == ["low-nps", "low-csat", "low-ces"]
        routes = (await service.client.get("/v1/routes")).json()
        assert routes["route"]["routes"][1]["deadlines"]["acknowledge"] == 3600
        example = {"metric": "csat", "value": 1, "band": "low", "dimensions": {"tier": "gold"}}
        tried = (await service.client.post("/v1/routes/test", json=example)).json()["rules"][1]
        assert (tried["rule"], tried["route"], tried["owner"]) == ("low-csat", "vip", "person:lea")
        assert tried["tried"][1]["because"] == 'cause=~"prod.*" does not hold'
        assert (await service.anonymous.get("/v1/rules")).status_code == 401


async def test_unreadable_scores_are_parked_and_their_neighbours_become_cases(
    start_alerting: StartService, configured: dict[str, Any]
) -> None:
    async with start_alerting(settings=configured) as service:
        bad = scored(9).model_copy(update={"document": "nonsense"})
        await service.produce([scored(1), bad, scored(2, hint="email:b@x.org")], SCORES)
        await service.settle(SCORES)
        assert len((await service.client.get("/v1/cases")).json()["items"]) == 2
        letters = (await service.client.get("/v1/dead-letters")).json()["items"]
        assert [letter["reason"] for letter in letters] == ["contradiction"]


async def test_a_broken_configuration_refuses_to_start_and_names_every_place(tmp_path: Path) -> None:
    rules, routes = tmp_path / "rules.yaml", tmp_path / "routes.yaml"
    rules.write_text("rules:\n  - {id: x, when: [metric=csat], whn: 1}\n")
    routes.write_text("people: {ana: {}}\nfallback: person:anna\nroute: {owner: team:care}\n")
    settings = AlertingSettings(
        kafka_bootstrap="127.0.0.1:1",
        database_url="postgresql://127.0.0.1:1/none",
        rules_file=str(rules),
        routes_file=str(routes),
    )
    with pytest.raises(ConfigurationError) as raised:
        make_app(SERVICE, make_foundation(SERVICE, settings), "all")
    assert str(raised.value).splitlines() == [
        f"{routes}:2:11: fallback: unknown person 'anna'; did you mean ana?",
        f"{routes}:3:16: route.owner: unknown team 'care'",
        f"{rules}:2:34: rules[0].whn: unknown key 'whn'; did you mean when?",
    ]
