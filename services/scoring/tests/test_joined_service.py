"""Journey's and alerting's records change what the running service answers."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cxloop_common.events import (
    AlertRecord,
    CloudEvent,
    JourneyChanged,
    Owner,
    SurveyResponded,
    TicketCreated,
    TicketStatusChanged,
    TouchpointRecorded,
    encode_event,
)
from cxloop_common.events.outcomes import AlertScore, IdentifierVersion, JourneyChange
from cxloop_common.kafka.records import Message
from cxloop_common.testing.harness import make_topics
from cxloop_common.topics import ALERTS, JOURNEYS, SCORING_LINKS, SURVEYS, TICKETS, TOUCHPOINTS, TopicNames
from cxloop_scoring.app import SERVICE

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
TOPICS = [TICKETS, SURVEYS, SCORING_LINKS, TOUCHPOINTS, ALERTS, JOURNEYS]
SCALE: Any = {"min": 0, "max": 10}
Start = Callable[..., AbstractAsyncContextManager[Any]]


def after(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def ticket(number: int, hours: float, identifier: str) -> list[Any]:
    base: dict[str, Any] = {"source": "zendesk-eu", "ticket_id": str(number)}
    return [
        TicketCreated(
            **base,
            id=f"t{number}",
            time=after(hours),
            channel="email",
            created_by="customer",
            contact_type="bill",
            identifiers=(identifier,),
        ),
        TicketStatusChanged(**base, id=f"s{number}", time=after(hours + 1), status="solved"),
    ]


def answer(number: int, hours: float, score: float, identifier: str) -> SurveyResponded:
    fields: dict[str, Any] = {
        "id": f"r{number}",
        "source": "survey",
        "time": after(hours),
        "response_id": str(number),
        "metric": "nps",
        "score": score,
        "scale": SCALE,
        "identifiers": (identifier,),
    }
    return SurveyResponded(**fields)


def linked(customer: str, version: int, *identifiers: str) -> JourneyChanged:
    return JourneyChanged(
        id=f"j{customer}{version}",
        source="journey",
        time=NOW,
        customer_id=customer,
        version=version,
        change=JourneyChange.LINKED,
        identifiers=tuple(IdentifierVersion(id=id_, version=version) for id_ in identifiers),
    )


def alert(version: int, hours: float, status: str) -> AlertRecord:
    fields: dict[str, Any] = {"status": status, "change": "updated", "severity": "high", "reason": "x"}
    return AlertRecord(
        id=f"a{version}",
        source="alerting",
        time=after(hours),
        at=after(hours),
        case_id="c1",
        version=version,
        rule="low-nps",
        route="vip",
        owner=Owner(kind="team", id="care", name="Care"),
        score=AlertScore(metric="nps", value=0, scale=SCALE, document="response:survey:1"),
        **fields,
    )


@pytest.fixture
async def service(start_service: Start, kafka: str, topic_names: TopicNames) -> Any:
    await make_topics(kafka, topic_names, TOPICS)
    async with start_service(SERVICE, now=lambda: NOW) as running:
        yield running


async def tell(service: Any, topic: Any, *events: CloudEvent) -> None:
    """Put records of other services on their topic, and wait until they are worked in."""
    messages: list[Message] = []
    for event in events:
        key, value, headers = encode_event(event)
        messages.append(Message(service.names.name(topic), key, value, tuple(headers)))
    await service.send(messages)
    await service.settle(topic)


async def ask(service: Any, metric: str, **params: Any) -> Mapping[str, Any]:
    found = await service.client.get(f"/v1/metrics/{metric}", params={"unsuppress": "true", **params})
    assert found.status_code == 200, found.text
    return dict(found.json())


async def test_a_merge_that_journey_announces_restates_what_a_customer_does_twice(service: Any) -> None:
    await service.produce([*ticket(1, 0, "email:ana@example.com"), *ticket(2, 30, "user:ana")])
    await service.produce([answer(1, 0, 0, "email:ana@example.com"), answer(2, 1, 10, "user:ana")])
    await service.settle(TICKETS, SURVEYS)
    assert (await ask(service, "repeat_contact_rate"))["value"] == 0
    assert (await ask(service, "first_contact_resolution"))["value"] == 100
    assert (await ask(service, "nps", population="relationship"))["n"] == 2
    await tell(service, JOURNEYS, linked("cus_a", 7, "email:ana@example.com", "user:ana"))
    repeated = await ask(service, "repeat_contact_rate")
    assert (repeated["value"], repeated["n"], repeated["unjudged"]) == (50, 2, 0)
    assert (await ask(service, "first_contact_resolution"))["value"] == 50
    latest = await ask(service, "nps", population="relationship")
    assert (latest["n"], latest["value"]) == (1, 100)
    # An older word comes late, the newer one twice: nothing changes.
    await tell(
        service,
        JOURNEYS,
        linked("cus_b", 3, "user:ana"),
        linked("cus_a", 7, "email:ana@example.com", "user:ana"),
    )
    assert (await ask(service, "repeat_contact_rate"))["value"] == 50
    # It was recorded just now: before, nobody could know.
    before = (NOW - timedelta(minutes=5)).isoformat()
    assert (await ask(service, "repeat_contact_rate", as_of=before))["n"] == 0


async def test_a_case_that_alerting_closes_counts_and_a_better_score_recovers_it(service: Any) -> None:
    await service.produce([answer(1, 0, 2, "user:ana"), answer(2, 0, 3, "user:ben")])
    await service.settle(SURVEYS)
    # Versions in any order.
    await tell(service, ALERTS, alert(3, 20, "resolved"), alert(1, 1, "open"), alert(2, 10, "contacted"))
    closed = await ask(service, "closed_loop_rate")
    assert (closed["value"], closed["n"], closed["coverage"]) == (100, 1, 50)
    assert (await ask(service, "closed_loop_rate", where="rule:low-nps"))["n"] == 1
    assert (await ask(service, "recovery_rate"))["n"] == 0
    await service.produce([answer(3, 30, 9, "user:ana"), answer(4, 30, 3, "user:ben")])
    await service.settle(SURVEYS)
    recovered = await ask(service, "recovery_rate")
    assert (recovered["value"], recovered["n"], recovered["of_all"]) == (100, 1, 100)
    at = after(24).isoformat()
    assert (await ask(service, "recovery_lift", at=at))["value"] == 100


async def test_customers_who_cancel_are_churn_of_those_who_were_there(service: Any) -> None:
    def touched(name: str, hours: float, identifier: str | None) -> TouchpointRecorded:
        identifiers = () if identifier is None else (identifier,)
        return TouchpointRecorded(
            id=f"{name}{hours}{identifier}",
            source="shop",
            time=after(hours),
            touchpoint=name,
            identifiers=identifiers,
        )

    await service.produce(
        [
            touched("purchase", 0, "user:ana"),
            touched("purchase", 0, "user:ben"),
            touched("cancellation", 60, "user:ben"),
            touched("purchase", 0, None),
        ]
    )
    await service.settle(TOUCHPOINTS)
    churn = await ask(service, "churn", window="7d", at=after(7 * 24 + 1).isoformat())
    retention = await ask(service, "retention", window="7d", at=after(7 * 24 + 1).isoformat())
    assert (churn["value"], churn["n"]) == (50, 2)
    assert (retention["value"], retention["n"]) == (50, 2)
    # Who was there before the window is what the rate is of, so a window's explanation reaches back before it.
    path = "/v1/metrics/churn/explain"
    page = await service.client.get(path, params={"window": "1d", "at": after(61).isoformat()})
    assert [(item["value"], item["at"]) for item in page.json()["items"]] == [
        (1, "2026-03-10T12:00:00Z"),
        (1, "2026-03-10T12:00:00Z"),
        (0, "2026-03-13T00:00:00Z"),
    ]
    assert (await service.client.get("/v1/dead-letters")).json()["items"] == []
