"""The one rule: any order, any repetition, any cut into batches gives the same state."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxloop_common.business_time import Calendar, Calendars, Window
from cxloop_common.events import (
    AlertRecord,
    CanonicalEventBase,
    CloudEvent,
    SurveyResponded,
    SurveySent,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEscalated,
    TicketMerged,
    TicketReplied,
    TicketStatusChanged,
    TicketUpdated,
    TouchpointRecorded,
)
from cxloop_scoring.domain.histogram import decode_histogram, duration_bin
from cxloop_scoring.domain.rules import Clock, Hours, Rules, SlaPolicy, SlaTarget
from cxloop_scoring.generations import rules_of
from cxloop_scoring.store import writing
from cxloop_scoring.store.writing import FEW

START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
DURATIONS = {5, 6, 7, 12, 17, 30, 31, 32, 33}
LEDGER_ONLY = {10, 11, 13, 14, 21, 22, 23, 24, 25, 26}

# Few times, so that ties and windows over midnight happen; few objects, so that events meet.
times = st.integers(0, 9).map(lambda step: START + timedelta(minutes=17 * step))
tickets = st.sampled_from(["1", "2", "a/b"])
responses = st.sampled_from(["r1", "r2"])
sources = st.just("zendesk-eu")
teams = st.sampled_from(["billing", "returns", None])
agents = st.sampled_from(["mia", "noa", None])
dimensions = st.sampled_from(
    [{}, {"segment": "smb"}, {"plan": "gold", "segment": "enterprise"}, {"tag": "vip"}]
)
people = st.sampled_from([(), ("email:ana@example.com",), ("email:bo@example.com", "user:7")])
worked = st.sampled_from([None, 0.25, 60.0])
Draw = Any

OFFICE = Calendar("Europe/Berlin", tuple((Window(9 * 60, 17 * 60),) if day < 5 else () for day in range(7)))
TARGETS = (
    SlaTarget(Clock.FIRST_RESPONSE, 20 * 60_000_000, Hours.CALENDAR),
    SlaTarget(Clock.RESOLUTION, 60 * 60_000_000, Hours.BUSINESS),
)
RULES = Rules(
    generation=rules_of(None).generation + 1,
    calendars=Calendars({"office": OFFICE}, {"billing": "office"}, "office"),
    sla=(SlaPolicy((("team", frozenset({"billing"})),), TARGETS),),
)


@st.composite
def ticket_event(draw: Draw) -> CanonicalEventBase:
    base: dict[str, Any] = {
        "id": "-",
        "source": draw(sources),
        "time": draw(times),
        "ticket_id": draw(tickets),
        "identifiers": draw(people),
        "dimensions": draw(dimensions),
    }
    kind = draw(
        st.sampled_from([*["created", "replied", "status", "status"] * 2, "assigned", "updated", "rest"])
    )
    if kind == "created":
        author = draw(st.sampled_from(["customer", "customer", "agent", "bot"]))
        tags = draw(st.sampled_from([None, ("b", "a"), ("a",)]))
        return TicketCreated(
            **base, channel="email", created_by=author, team=draw(teams), tags=tags, worked_s=draw(worked)
        )
    if kind == "replied":
        author = draw(st.sampled_from(["customer", "agent", "bot"]))
        public = draw(st.sampled_from([True, True, False]))
        return TicketReplied(**base, message_id="m", author=author, public=public, worked_s=draw(worked))
    if kind == "status":
        return TicketStatusChanged(
            **base, status=draw(st.sampled_from(["open", "pending", "solved", "solved", "closed"]))
        )
    if kind == "assigned":
        return TicketAssigned(**base, team=draw(teams), agent=draw(agents))
    if kind == "updated":
        return TicketUpdated(**base, channel=draw(st.sampled_from(["chat", None])), contact_type="refund")
    return draw(
        st.sampled_from(
            [
                TicketEscalated(**base, level="2"),
                TicketMerged(**base, into_ticket_id=draw(tickets)),
                TicketDeleted(**base),
            ]
        )
    )


@st.composite
def survey_event(draw: Draw) -> CanonicalEventBase:
    base: dict[str, Any] = {
        "id": "-",
        "source": draw(sources),
        "time": draw(times),
        "identifiers": draw(people),
        "dimensions": draw(dimensions),
    }
    if draw(st.integers(0, 9)) == 0:
        return SurveySent(
            **base,
            send_id="s",
            survey_id="spring",
            response_id=draw(st.one_of(st.none(), responses)),
            ticket_id=draw(st.sampled_from([None, "1"])),
        )
    scales = [("nps", 0, 10), ("csat", 1, 5), ("csat", 1, 3), ("ces", 1, 7), ("ces", 1, 5), ("other", 0, 100)]
    metric, low, high = draw(st.sampled_from(scales))
    return SurveyResponded(
        **base,
        response_id=draw(responses),
        metric=metric,
        score=draw(st.integers(low, high)),
        scale={"min": low, "max": high},  # type: ignore[arg-type]
        comment=draw(st.sampled_from([None, "The help was wonderful", "This was an awful answer", "so so"])),
        touchpoint=draw(st.sampled_from(["checkout", None])),
        wants_contact=draw(st.sampled_from([None, True])),
    )


@st.composite
def outcome(draw: Draw) -> CloudEvent:
    """Make a touchpoint of a customer, or a version of a case."""
    at = draw(times)
    if draw(st.booleans()):
        value = draw(st.sampled_from([None, {"amount": 12.345, "currency": "EUR"}]))
        name = draw(st.sampled_from(["Purchase", "usage.daily", "cancellation", "visit"]))
        base: dict[str, Any] = {"id": "-", "source": "shop", "time": at, "dimensions": draw(dimensions)}
        return TouchpointRecorded(**base, identifiers=draw(people), touchpoint=name, value=value)
    fields: dict[str, Any] = {"id": "-", "source": "alerting", "time": at, "at": at}
    return AlertRecord(
        **fields,
        case_id=draw(st.sampled_from(["c1", "c2"])),
        version=draw(st.integers(1, 4)),
        supersedes=draw(st.sampled_from([(), ("c1",)])),
        change="updated",
        status=draw(st.sampled_from(["open", "contacted", "resolved", "recovered"])),
        severity="high",
        rule="low",
        route="care",
        owner={"kind": "team", "id": "billing", "name": "Billing"},  # type: ignore[arg-type]
        score=draw(
            st.sampled_from(
                [
                    None,
                    {
                        "metric": "nps",
                        "value": 1,
                        "scale": {"min": 0, "max": 10},
                        "document": "response:zendesk-eu:r1",
                    },
                ]
            )
        ),
        reason="a low score",
        due_at=draw(st.one_of(st.none(), times)),
    )


def _contradiction(event: CloudEvent, minutes: int) -> CloudEvent:
    """Say something else of the same object under the same event id."""
    changed: dict[str, Any] = {"time": event.time + timedelta(minutes=minutes)}
    if isinstance(event, AlertRecord):
        changed["at"] = changed["time"]
    if isinstance(event, TicketStatusChanged):
        changed["status"] = "open" if event.status == "solved" else "solved"
    if isinstance(event, SurveyResponded):
        changed["score"] = event.scale.max + event.scale.min - event.score
    return event.model_copy(update=changed)


def _event_set(
    events: list[CloudEvent], openings: list[CanonicalEventBase], again: list[tuple[int, int]]
) -> list[CloudEvent]:
    """Give ids that sort otherwise than the events stand, and contradict some of them.

    A merge is not contradicted: two survivors under one id is the one contradiction that leaves a trace.
    """
    named: list[CloudEvent] = [
        event.model_copy(update={"id": f"e{(number * 7919) % 1000:03}-{number}"})
        for number, event in enumerate([*openings, *events])
    ]
    others = [
        _contradiction(named[place % len(named)], minutes)
        for place, minutes in again
        if not isinstance(named[place % len(named)], TicketMerged)
    ]
    return named + others


def _opening(number: str, minutes: int) -> CanonicalEventBase:
    base: dict[str, Any] = {"id": "-", "source": "zendesk-eu", "ticket_id": number}
    at = START + timedelta(minutes=minutes)
    return TicketCreated(
        **base, time=at, identifiers=(), subject=None, tags=None, channel="chat", created_by="customer"
    )


event_sets = st.builds(
    _event_set,
    st.lists(st.one_of(ticket_event(), ticket_event(), survey_event(), outcome()), min_size=10, max_size=40),
    st.tuples(*(st.builds(_opening, st.just(number), st.integers(0, 9)) for number in ("1", "2", "a/b"))).map(
        list
    ),
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([-5, 0, 0, 5])), max_size=8),
)


async def bucket_rows(worker: Any, table: str) -> dict[Any, Any]:
    """Add the shards up; rows that come to nothing are as good as absent."""
    words, names = await worker.words(), await worker.dimension_names()
    sums: dict[Any, list[Any]] = {}
    for row in await worker.connection.fetch(f"SELECT * FROM {table}"):
        value = None if row["dimension"] == 0 else words[row["value"]][1]
        name = None if row["dimension"] == 0 else names[row["dimension"]]
        cell = sums.setdefault((row["metric"], name, value, row["at"]), [0, 0, 0, 0, 0, 0, defaultdict(int)])
        for place, column in enumerate(("n", "sum", "squares", "low", "middle", "high")):
            cell[place] += row[column]
        for number, count in decode_histogram(row["histogram"] or b"").items():
            cell[6][number] += count
    found = {
        key: (*cell[:6], {bin_: count for bin_, count in cell[6].items() if count})
        for key, cell in sums.items()
    }
    return {key: cell for key, cell in found.items() if any(cell)}


def recomputed(net: dict[tuple[Any, ...], int], hours: int) -> dict[Any, Any]:
    """Add up the net ledger as the buckets should have it."""
    sums: dict[Any, list[Any]] = {}
    for (_, metric, value, band, at, _, filed, _), times in net.items():
        if metric in LEDGER_ONLY:
            continue
        slot = int(at.timestamp()) // (3600 * hours)
        for name, text in [(None, None), *filed]:
            cell = sums.setdefault((metric, name, text, slot), [0, 0, 0, 0, 0, 0, defaultdict(int)])
            cell[0] += times
            cell[1] += times * value
            if metric in DURATIONS:
                cell[6][duration_bin(value)] += times
            else:
                cell[2] += times * value * value
                if band is not None:
                    cell[3 + band] += times
    return {key: (*cell[:6], dict(cell[6])) for key, cell in sums.items() if any(cell[:6])}


async def state(worker: Any) -> dict[str, Any]:
    return {
        "documents": await worker.documents(),
        "ledger": await worker.net_ledger(),
        "hours": await bucket_rows(worker, "bucket_hour"),
        "days": await bucket_rows(worker, "bucket_day"),
        "scores": worker.highest_scores(),
        "cases": await worker.case_links(),
        "booked_at": await worker.booked_at(),
    }


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    events=event_sets,
    seed=st.integers(0, 2**32),
    largest=st.sampled_from([1, 3, 10, 1000]),
    few=st.sampled_from([0, 8, FEW]),
)
async def test_any_order_repetition_and_cut_gives_the_same_state_by_arrays_and_by_copy(
    worker: Any, events: list[CloudEvent], seed: int, largest: int, few: int
) -> None:
    worker.rules = RULES
    await worker.reset()
    await worker.deliver(events)
    once = await state(worker)
    await worker.reset()
    with patch.object(writing, "FEW", few):
        await worker.deliver(events, seed=seed, largest=largest)
    again = await state(worker)
    for part, expected in once.items():
        assert again[part] == expected, part
    assert again["hours"] == recomputed(again["ledger"], 1)
    assert again["days"] == recomputed(again["ledger"], 24)
    assert not worker.parked


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(events=event_sets, seed=st.integers(0, 2**32))
async def test_a_second_delivery_changes_and_publishes_nothing(
    worker: Any, events: list[CloudEvent], seed: int
) -> None:
    await worker.reset()
    await worker.deliver(events)
    before = await state(worker)
    rows = await worker.connection.fetchval("SELECT count(*) FROM ledger")
    worker.restart()
    worker.published.clear()
    await worker.deliver(events, seed=seed, largest=5)
    assert not worker.published
    assert await worker.connection.fetchval("SELECT count(*) FROM ledger") == rows
    after = await state(worker)
    assert {**after, "scores": None} == {**before, "scores": None}
    assert worker.conflicts.n == 0


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(events=event_sets, seed=st.integers(0, 2**32), split=st.integers(0, 40))
async def test_rules_that_change_midway_leave_what_they_would_have_given_from_the_start(
    worker: Any, events: list[CloudEvent], seed: int, split: int
) -> None:
    worker.rules = RULES
    await worker.reset()
    await worker.deliver(events)
    right = await state(worker)
    touched = {id_ for id_, (generation, _) in right["documents"].items() if generation == RULES.generation}
    await worker.reset()
    worker.rules = rules_of(None)
    worker.restart()
    await worker.deliver(events[:split])
    worker.rules = RULES
    worker.restart()
    # A document is booked anew when its next fact arrives; the others wait for a rebuild.
    await worker.deliver(events[split:], seed=seed, largest=7)
    again = await state(worker)
    booked_anew = {
        id_ for id_, (generation, _) in again["documents"].items() if generation == RULES.generation
    }
    assert booked_anew <= touched
    assert {key: n for key, n in again["ledger"].items() if key[0] in booked_anew} == {
        key: n for key, n in right["ledger"].items() if key[0] in booked_anew
    }
    assert again["hours"] == recomputed(again["ledger"], 1)


@pytest.mark.parametrize("value", [0, 1, 63, 64, 127, 128, 255, 256, 86_400_000, 2**31, 2**40 + 12345, 2**62])
async def test_python_and_sql_agree_on_the_bin_of_a_duration(worker: Any, value: int) -> None:
    assert await worker.connection.fetchval("SELECT duration_bin($1)", value) == duration_bin(value)
