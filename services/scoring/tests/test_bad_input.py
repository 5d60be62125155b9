"""Input that is odd, huge or wrong: what becomes of it is defined, bounded and visible."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cxloop_common.events import (
    CloudEvent,
    SurveyResponded,
    SurveySent,
    TicketCreated,
    TicketReplied,
    TicketStatusChanged,
    encode_event,
)
from cxloop_common.kafka.records import Message
from cxloop_common.topics import SURVEYS, TOUCHPOINTS
from cxloop_scoring.domain.dimensions import Dimensions
from cxloop_scoring.domain.documents import contributions
from cxloop_scoring.domain.facts import AGENT, CUSTOMER, OPEN, SOLVED, Created, Facts, Replied, StatusChanged
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.rules import DEFAULT_RULES
from cxloop_scoring.store.vocabulary import Vocabulary

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def created(minutes: int = 0, **more: Any) -> TicketCreated:
    fields: dict[str, Any] = {"id": "c", "source": "desk", "ticket_id": "1", "time": NOON, **more}
    fields["time"] += timedelta(minutes=minutes)
    return TicketCreated(**fields, channel="email", created_by="customer")


def solved(minutes: int, event_id: str = "s") -> TicketStatusChanged:
    fields: dict[str, Any] = {"id": event_id, "source": "desk", "ticket_id": "1"}
    return TicketStatusChanged(**fields, time=NOON + timedelta(minutes=minutes), status="solved")


async def values(worker: Any, metric: MetricNumber) -> list[int]:
    return sorted(key[2] for key in await worker.net_ledger() if key[1] == metric)


async def test_a_solve_before_the_creation_counts_as_0_and_is_counted_once(worker: Any) -> None:
    events: Sequence[CloudEvent] = [created(), solved(-5)]
    for part in (events, events, [solved(-4, "s2")], [created(minutes=9, id="late")]):
        await worker.deliver(part)
    assert await values(worker, MetricNumber.FIRST_RESOLUTION_TIME) == [0]
    assert {reason: count.n for reason, count in worker.anomalies.items()} == {
        "solved_before_created": 1,
        "event_before_creation": 1,
    }


async def test_an_anomaly_that_a_later_event_brings_is_counted_then(worker: Any) -> None:
    await worker.deliver([created()])
    assert not worker.anomalies
    fields: dict[str, Any] = {"id": "r", "source": "desk", "ticket_id": "1", "message_id": "m"}
    await worker.deliver([TicketReplied(**fields, time=NOON - timedelta(1), author="agent", public=True)])
    assert {reason: count.n for reason, count in worker.anomalies.items()} == {"event_before_creation": 1}


async def test_an_answer_before_its_send_is_counted(worker: Any) -> None:
    base: dict[str, Any] = {"source": "survey", "response_id": "r1"}
    sent = SurveySent(**base, id="a", time=NOON, send_id="s", survey_id="spring")
    scale: dict[str, Any] = {"min": 0, "max": 10}
    answered: dict[str, Any] = {**base, "metric": "nps", "score": 9, "scale": scale}
    await worker.deliver([sent, SurveyResponded(**answered, id="b", time=NOON - timedelta(seconds=1))])
    assert {reason: count.n for reason, count in worker.anomalies.items()} == {"answered_before_sent": 1}
    assert await values(worker, MetricNumber.RESPONSE_RATE) == [1]


async def test_a_score_outside_of_its_scale_is_parked_and_counts_nowhere(worker: Any) -> None:
    scale: dict[str, Any] = {"min": 0, "max": 10}
    fields: dict[str, Any] = {
        "source": "survey",
        "id": "b",
        "time": NOON,
        "response_id": "r1",
        "scale": scale,
    }
    event = SurveyResponded(**fields, metric="nps", score=10)
    key, value, headers = encode_event(event)
    beyond = (value or b"").replace(b'"score":10', b'"score":11')
    assert beyond != value
    await worker.batch([worker.record(Message(SURVEYS.name, key, beyond, tuple(headers)))])
    assert worker.parked
    assert not await worker.net_ledger()


async def test_a_touchpoint_that_is_none_is_parked(worker: Any) -> None:
    await worker.batch([worker.record(Message(TOUCHPOINTS.name, b"k", b"{", (("ce_id", b"x"),)))])
    assert len(worker.parked) == 1


def long_ticket(size: int) -> Facts:
    facts: Facts = {"c": Created(0, b"c", CUSTOMER, {"channel": "email"}, None, ("email:ana@example.com",))}
    for place in range(1, size):
        at, mark = place * 60_000_000, place.to_bytes(8, "big")
        facts[f"e{place:06}"] = (
            StatusChanged(at, mark, OPEN if place % 8 else SOLVED, {})
            if place % 4 == 0
            else Replied(at, mark, AGENT if place % 2 else CUSTOMER, True, {})  # noqa: FBT003 - fields of a record, in its order
        )
    return facts


def test_a_ticket_of_10000_events_folds_in_time_that_grows_as_its_events_do() -> None:
    def seconds(facts: Facts) -> float:
        took: list[float] = []
        for _ in range(5):
            begun = time.process_time()
            contributions("ticket:desk:1", facts, DEFAULT_RULES)
            took.append(time.process_time() - begun)
        return min(took)

    small, large = seconds(long_ticket(1_000)), seconds(long_ticket(10_000))
    assert large < 0.5
    # Ten times the events: some ten times the work, where a quadratic fold would take a hundred times.
    assert large < 40 * max(small, 0.000_5)


async def test_a_ticket_of_10000_events_takes_one_event_more_in_the_time_of_one_fold(worker: Any) -> None:
    base: dict[str, Any] = {"source": "desk", "ticket_id": "1", "message_id": "m", "public": True}
    replies: list[CloudEvent] = [
        TicketReplied(
            **base,
            id=f"e{place}",
            time=NOON + timedelta(seconds=place),
            author="agent" if place % 2 else "customer",
        )
        for place in range(10_000)
    ]
    await worker.deliver([created(), *replies[:9_990]])
    begun = time.process_time()
    for reply in replies[9_990:]:
        await worker.deliver([reply])
    assert time.process_time() - begun < 10 * 0.5
    assert len(await values(worker, MetricNumber.NEXT_RESPONSE_TIME)) == 4_999


async def test_100000_values_of_a_dimension_are_told_apart_and_counted(worker: Any) -> None:
    learnt: list[dict[str, int]] = []
    vocabulary = Vocabulary(worker.database, lambda new: learnt.append(dict(new)))
    wanted = [Dimensions(source="desk", more=(("order", f"o{number}"),)) for number in range(100_000)]
    resolved = await vocabulary.resolve(wanted)
    assert len({resolved[one].more for one in wanted}) == 100_000
    assert learnt == [{"source": 1, "declared": 100_000}]
    again = Vocabulary(worker.database, lambda new: learnt.append(dict(new)))
    assert (await again.resolve(wanted[:10]))[wanted[0]] == resolved[wanted[0]]
    assert len(learnt) == 1


@pytest.mark.parametrize("tags", [0, 128])
async def test_a_ticket_counts_once_under_each_of_its_tags(worker: Any, tags: int) -> None:
    await worker.deliver([created(tags=tuple(f"t{number}" for number in range(tags)))])
    rows = await worker.connection.fetchval(
        "SELECT count(*) FROM bucket_day WHERE metric = $1", int(MetricNumber.TICKET_VOLUME)
    )
    assert rows == 3 + tags
