"""The service whole: events on Kafka in, customers over HTTP and on cxloop.journeys.v1 out."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from cxloop_common.events import (
    CloudEvent,
    Scale,
    ScoreRecorded,
    SurveyResponded,
    TicketCreated,
    TicketReplied,
    TicketStatusChanged,
    TouchpointRecorded,
    Value,
)
from cxloop_common.testing import RunningService
from cxloop_common.testing.harness import make_topics
from cxloop_common.testing.plugin import StartService
from cxloop_common.topics import JOURNEYS, SCORES, TopicNames
from cxloop_journey.app import SERVICE
from cxloop_journey.worker import TOPICS

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
ANA, PHONE, REQUESTER = "email:ana@example.com", "phone:+493012345678", "desk.requester:77"
OPTIONS: dict[str, Any] = {"identity_key": SecretStr("0123456789abcdef"), "evaluator_idle_s": 0.05}
Running = RunningService[Any]


@pytest_asyncio.fixture(autouse=True)
async def topics(kafka: str, topic_names: TopicNames) -> None:
    """A worker that joins before its topics exist learns of them a metadata refresh later."""
    await make_topics(kafka, topic_names, [*TOPICS, JOURNEYS])


def visit(
    number: int, *identifiers: str, day: int = 1, stage: str | None = None, name: str = "visit"
) -> TouchpointRecorded:
    at = datetime(2026, 3, day, 9, number, tzinfo=UTC)
    return TouchpointRecorded(
        id=f"v{number}",
        source="shop",
        time=at,
        identifiers=identifiers,
        touchpoint=name,
        stage=stage,
        channel="web",
    )


def opened(ticket: str, *identifiers: str, day: int = 5) -> TicketCreated:
    at = datetime(2026, 3, day, 10, tzinfo=UTC)
    return TicketCreated.model_validate(
        {
            "id": f"{ticket}-created",
            "source": "desk",
            "time": at,
            "identifiers": identifiers,
            "ticket_id": ticket,
            "channel": "email",
            "created_by": "customer",
            "subject": "My order is broken",
        }
    )


def replied(ticket: str, *, day: int = 6) -> TicketReplied:
    at = datetime(2026, 3, day, 10, tzinfo=UTC)
    return TicketReplied(
        id=f"{ticket}-reply-{day}",
        identifiers=(),
        source="desk",
        time=at,
        ticket_id=ticket,
        message_id="m1",
        author="agent",
        public=True,
    )


def solved(ticket: str, *, day: int = 7) -> TicketStatusChanged:
    at = datetime(2026, 3, day, 10, tzinfo=UTC)
    return TicketStatusChanged(
        id=f"{ticket}-solved", identifiers=(), source="desk", time=at, ticket_id=ticket, status="solved"
    )


def answered(response: str, *identifiers: str, ticket: str | None = None, day: int = 8) -> SurveyResponded:
    return SurveyResponded(
        id=f"{response}-answered-{day}",
        source="survey",
        time=datetime(2026, 3, day, 10, tzinfo=UTC),
        identifiers=identifiers,
        response_id=response,
        metric="nps",
        score=2,
        scale=Scale(min=0, max=10),
        comment="Never again",
        ticket_id=ticket,
        ticket_source="desk",
    )


def scored(response: SurveyResponded, value: float, revision: int = 1) -> ScoreRecorded:
    return ScoreRecorded(
        id=f"s-{response.response_id}-{revision}",
        source="scoring",
        time=response.time,
        document=response.document,
        revision=(1, revision),
        event_time=response.time,
        event_ids=(response.id,),
        metric="nps",
        raw=value,
        scale=response.scale,
        normalised=int(value * 1000),
        band="low",
    )


async def give(service: Running, *events: CloudEvent) -> None:
    """Send events and wait until they are folded, evaluated and announced."""
    scores = [event for event in events if isinstance(event, ScoreRecorded)]
    await service.produce([event for event in events if not isinstance(event, ScoreRecorded)])
    await service.produce(scores, SCORES)
    dirty = 1
    while dirty:
        await service.settle()
        async with await service.connect() as connection:
            dirty = await connection.fetchval("SELECT count(*) FROM dirty")
    await service.settle()


async def search(service: Running, identifier: str) -> Any:
    answer = await service.client.get("/v1/customers", params={"identifier": identifier})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def announced(service: Running) -> list[Any]:
    return [json.loads(record.value or b"") for record in await service.read(JOURNEYS)]


def start(start_service: StartService, **options: Any) -> Any:
    return start_service(SERVICE, now=lambda: NOW, settings={**OPTIONS, **options})


async def test_identifiers_seen_together_are_one_customer_with_one_timeline(
    start_service: StartService,
) -> None:
    async with start(start_service) as service:
        await give(service, visit(1, ANA), visit(2, PHONE), visit(3, ANA, PHONE))
        (customer,) = await search(service, "email: Ana@Example.COM ")
        assert customer["identifiers"] == [ANA, PHONE]
        assert customer["touchpoints"] == 3
        assert customer["first_seen"] == "2026-03-01T09:01:00Z"
        assert customer["last_seen"] == "2026-03-01T09:03:00Z"
        assert customer["signals"] == []
        assert len(customer["merged_from"]) == 1
        assert await search(service, PHONE) == [customer]
        timeline = (await service.client.get(f"/v1/customers/{customer['customer_id']}/timeline")).json()[
            "items"
        ]
        assert [entry["event_id"] for entry in timeline] == ["v3", "v2", "v1"]
        assert timeline[0] == {
            "at": "2026-03-01T09:03:00Z",
            "kind": "touchpoint",
            "touchpoint": "visit",
            "stage": "awareness",
            "channel": "web",
            "source": "shop",
            "summary": "visit",
            "score": None,
            "event_id": "v3",
        }


async def test_a_merged_id_answers_308_to_the_survivor_and_keeps_the_rest_of_the_path(
    start_service: StartService,
) -> None:
    async with start(start_service) as service:
        await give(service, visit(1, ANA), visit(2, PHONE))
        (older,), (younger,) = await search(service, ANA), await search(service, PHONE)
        await give(service, visit(3, ANA, PHONE))
        for suffix in ("", "/timeline", "/context", "/timeline?limit=1"):
            answer = await service.client.get(f"/v1/customers/{younger['customer_id']}{suffix}")
            assert answer.status_code == 308
            assert answer.headers["location"] == f"/v1/customers/{older['customer_id']}{suffix}"
            assert (await service.client.get(answer.headers["location"])).status_code == 200
        survivor = (await service.client.get(f"/v1/customers/{older['customer_id']}")).json()
        assert survivor["merged_from"] == [younger["customer_id"]]
        assert survivor["identity"] == "merged"
        records = [
            record for record in await announced(service) if record["customer_id"] == younger["customer_id"]
        ]
        last = max(records, key=lambda record: record["version"])
        assert (last["change"], last["merged_into"]) == ("merged", older["customer_id"])
        assert "card" not in last


async def test_an_earlier_event_that_comes_late_renames_the_customer_and_the_old_id_leads_on(
    start_service: StartService,
) -> None:
    async with start(start_service) as service:
        await give(service, visit(5, ANA, PHONE, day=3), visit(6, ANA, day=2))
        (before,) = await search(service, ANA)
        await give(service, visit(7, PHONE, day=1))
        (after,) = await search(service, ANA)
        assert after["customer_id"] != before["customer_id"]
        assert after["merged_from"] == [before["customer_id"]]
        answer = await service.client.get(f"/v1/customers/{before['customer_id']}")
        assert answer.headers["location"].endswith(after["customer_id"])
    # The name follows from the events: another order gives it at once.


async def test_events_without_identifiers_follow_the_owner_of_their_ticket(
    start_service: StartService,
) -> None:
    async with start(start_service) as service:
        answer = answered("r1", ticket="4711")
        await give(service, replied("4711"), answer, solved("4711"))
        assert await search(service, ANA) == []
        await give(service, opened("4711", ANA))
        (customer,) = await search(service, ANA)
        path = f"/v1/customers/{customer['customer_id']}/timeline"
        kinds = [entry["kind"] for entry in (await service.client.get(path)).json()["items"]]
        assert kinds == ["survey_response", "ticket_solved", "ticket_replied", "ticket_created"]
        corrected = opened("4711", PHONE, day=9).model_copy(update={"id": "4711-corrected"})
        await give(service, corrected)
        (right,) = await search(service, PHONE)
        assert right["touchpoints"] == 5
        (wrong,) = await search(service, ANA)
        assert wrong["touchpoints"] == 0


async def test_the_card_shows_scores_contacts_and_stage_without_words_of_the_customer(
    start_service: StartService,
) -> None:
    async with start(start_service) as service:
        bought = visit(4, ANA, REQUESTER, day=2, name="purchase")
        bought = bought.model_copy(update={"value": Value(amount=19.9, currency="EUR")})
        answer = answered("r1", ANA)
        await give(service, bought, opened("4711", REQUESTER), replied("4711"), answer)
        await give(service, scored(answer, 2), scored(answer, 3, revision=2))
        await give(service, scored(answer, 9, revision=1).model_copy(update={"id": "stale"}))
        (customer,) = await search(service, ANA)
        context = await service.client.get(f"/v1/customers/{customer['customer_id']}/context")
        card = context.json()
        assert card["stage"] == "service"
        assert card["open_tickets"] == 1
        assert card["last_scores"] == [
            {"at": "2026-03-08T10:00:00Z", "metric": "nps", "value": 3.0, "band": "low"}
        ]
        assert [contact["kind"] for contact in card["last_contacts"]] == [
            "ticket_replied",
            "ticket_created",
            "touchpoint",
        ]
        assert card["masked_identifiers"] == ["desk.requester:7***", "email:a***@e***.com"]
        assert card["value"] == {"EUR": 19.9}
        assert len(context.content) < 8192
        records = await announced(service)
        assert all(text not in json.dumps(records) for text in ("Never again", "broken"))
        last = max(records, key=lambda record: record["version"])
        assert last["card"]["last_scores"] == card["last_scores"]
        assert {one["id"] for one in last["identifiers"]} == {ANA, REQUESTER}
        timeline = await service.client.get(
            f"/v1/customers/{customer['customer_id']}/timeline", params={"limit": 1}
        )
        assert timeline.json()["items"][0]["score"] == {
            "metric": "nps",
            "value": 3.0,
            "scale": {"min": 0.0, "max": 10.0},
            "band": "low",
        }
        await give(service, solved("4711"))
        assert (await service.client.get(f"/v1/customers/{customer['customer_id']}/context")).json()[
            "open_tickets"
        ] == 0


async def test_the_stage_leaves_service_by_the_clock_alone_and_the_card_follows(
    start_service: StartService,
) -> None:
    now = [NOW]
    options = {**OPTIONS, "stage_check_s": 1}
    async with start_service(SERVICE, now=lambda: now[0], settings=options) as service:
        await give(service, visit(4, ANA, day=2, stage="use"), opened("1", ANA), solved("1"))
        (customer,) = await search(service, ANA)
        assert customer["stage"] == "service"
        now[0] = NOW + timedelta(days=20)
        (customer,) = await search(service, ANA)
        assert customer["stage"] == "use"
        stage = ""
        deadline = time.monotonic() + 20
        while stage != "use" and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            stage = max(await announced(service), key=lambda record: record["version"])["card"]["stage"]
        assert stage == "use"


async def test_the_timeline_pages_through_equal_times_without_gap_or_repeat(
    start_service: StartService,
) -> None:
    async with start(start_service) as service:
        same = datetime(2026, 3, 1, tzinfo=UTC)
        events = [visit(n, ANA if n % 2 else PHONE).model_copy(update={"time": same}) for n in range(20)]
        await give(service, *events, visit(30, ANA, PHONE))
        (customer,) = await search(service, ANA)
        path = f"/v1/customers/{customer['customer_id']}/timeline"
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            page = (
                await service.client.get(path, params={"limit": 7, **({"cursor": cursor} if cursor else {})})
            ).json()
            seen += [entry["event_id"] for entry in page["items"]]
            cursor = page["next_cursor"]
        assert cursor is None
        assert sorted(seen) == sorted([*(event.id for event in events), "v30"])


async def test_a_mailbox_shared_by_many_joins_nobody_and_tells_nothing(start_service: StartService) -> None:
    async with start(start_service) as service:
        desk = "email:office@example.com"
        await give(service, *(visit(n, desk, f"user:{n}") for n in range(1, 4)))
        (office,) = await search(service, desk)
        assert office["identity"] == "shared"
        card = (await service.client.get(f"/v1/customers/{office['customer_id']}/context")).json()
        assert (card["last_contacts"], card["touchpoints"]) == ([], 0)
        for n in range(1, 4):
            (person,) = await search(service, f"user:{n}")
            assert person["touchpoints"] == 1
            assert person["identifiers"] == [f"user:{n}"]


async def test_the_same_events_in_another_order_publish_the_same_customers(
    start_service: StartService,
) -> None:
    events = [
        visit(1, ANA),
        visit(2, PHONE),
        visit(3, ANA, PHONE),
        opened("1", REQUESTER),
        visit(4, REQUESTER, PHONE),
    ]
    async with start(start_service) as service:
        for event in reversed(events):
            await give(service, event)
        await give(service, *events)
        (customer,) = await search(service, ANA)
        assert customer["touchpoints"] == 5
        # First seen first: Ana's address names the customer, whichever event came first.
        key = (await service.client.get(f"/v1/customers/{customer['customer_id']}")).json()
        assert key["first_seen"] == "2026-03-01T09:01:00Z"
        last = {record["customer_id"]: record for record in await announced(service)}
        live = [record for record in last.values() if record.get("merged_into") is None]
        assert [record["customer_id"] for record in live] == [customer["customer_id"]]


async def test_an_undecodable_record_is_parked_and_the_others_go_on(start_service: StartService) -> None:
    from cxloop_common.kafka.records import Message  # noqa: PLC0415
    from cxloop_common.topics import TOUCHPOINTS  # noqa: PLC0415

    async with start(start_service) as service:
        await service.send([Message(service.names.name(TOUCHPOINTS), b"k", b"not json", (("ce_id", b"x"),))])
        await give(service, visit(1, ANA))
        assert len(await search(service, ANA)) == 1
        letters = (await service.client.get("/v1/dead-letters")).json()["items"]
        assert [letter["reason"] for letter in letters] == ["unreadable"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/customers/cus_00000000000000000000000000000000", 404),
        ("/v1/customers/nobody", 404),
        ("/v1/customers?identifier=nonsense", 400),
        ("/v1/customers", 400),
        ("/v1/customers?identifier=email:a@example.com&colour=red", 400),
        ("/v1/customers/cus_00000000000000000000000000000000/timeline?cursor=x", 404),
    ],
)
async def test_wrong_questions_get_a_problem_and_no_echo(
    start_service: StartService, path: str, status: int
) -> None:
    async with start(start_service) as service:
        answer = await service.client.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert "nonsense" not in answer.text


@pytest.mark.parametrize(
    "path", ["", "/cus_00000000000000000000000000000000", "/cus_0/timeline", "/cus_0/context"]
)
async def test_every_call_asks_for_a_token(start_service: StartService, path: str) -> None:
    async with start(start_service) as service:
        answer = await service.anonymous.get(f"/v1/customers{path}")
        assert answer.status_code == 401


async def test_a_card_follows_its_event_within_a_quarter_of_a_second_when_idle(
    start_service: StartService,
) -> None:
    async with start(start_service, evaluator_idle_s=30) as service:
        await give(service, visit(1, ANA))
        await _announced_after(service, visit(2, ANA))
        waits = [await _announced_after(service, visit(n, ANA)) for n in range(3, 10)]
        assert sorted(waits)[len(waits) // 2] < 0.25, waits


async def _announced_after(service: Running, event: TouchpointRecorded) -> float:
    """Send one event and time the outbox row that follows from it, from the database's side."""
    async with await service.connect() as connection:
        woken = asyncio.Event()

        def wake(*_: object) -> None:
            woken.set()

        await connection.add_listener("outbox_journey", wake)
        started = time.perf_counter()
        await service.produce([event])
        await asyncio.wait_for(woken.wait(), 10)
        return time.perf_counter() - started


async def test_a_schema_begun_with_one_key_refuses_another(start_service: StartService) -> None:
    async with start(start_service) as service:
        await give(service, visit(1, ANA))
    options = {**OPTIONS, "identity_key": SecretStr("another key entirely")}
    async with start_service(SERVICE, settings=options, role="api", wait=False) as service:
        # What is still connecting when a test ends is reported as left open.
        answer = await service.anonymous.get("/readyz")
        while "no Kafka" in answer.text:
            answer = await service.anonymous.get("/readyz")
        assert answer.status_code == 503
        assert "identity key" in answer.text


async def test_without_a_configured_key_one_is_kept_in_the_schema(start_service: StartService) -> None:
    options: dict[str, Any] = {"evaluator_idle_s": 0.05}
    async with start_service(SERVICE, settings=options) as service:
        await give(service, visit(1, ANA))
        (before,) = await search(service, ANA)
    async with start_service(SERVICE, settings=options) as service:
        assert await search(service, ANA) == [before]
