"""The whole service on real Kafka and PostgreSQL: what is accepted is durable, normalised once, and listed."""

import asyncio
import base64
import gzip
import json
import random
import time
import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from ingest_bodies import GOLDEN, SECRETS, comment, delighted, sources, zendesk

from cxloop_common.events import CANONICAL_EVENT, CanonicalEvent, decode_event
from cxloop_common.kafka.records import Message, Record
from cxloop_common.testing.harness import RunningService
from cxloop_common.topics import DELIVERIES, ERASURES, SURVEYS, TICKETS, TOUCHPOINTS, Topic
from cxloop_ingest.app import SERVICE
from cxloop_ingest.domain.signatures import ZENDESK_TEST_SECRET, Credentials, Scheme, sign
from cxloop_ingest.settings import IngestSettings

Ingest = RunningService[IngestSettings]
StartService = Callable[..., AbstractAsyncContextManager[RunningService[Any]]]
SOURCES = sources()
CANONICAL = (TICKETS, SURVEYS, TOUCHPOINTS, ERASURES)


@pytest_asyncio.fixture
async def start(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractAsyncContextManager[Ingest]]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    @asynccontextmanager
    async def started(file: Path | None = None, **settings: Any) -> AsyncGenerator[Ingest]:
        values = {"sources_file": str(file or GOLDEN / "sources.yaml"), "sources_poll_s": 0.05, **settings}
        async with start_service(SERVICE, settings=values) as service:
            yield service

    return started


@pytest_asyncio.fixture
async def ingest(start: Callable[..., AbstractAsyncContextManager[Ingest]]) -> AsyncGenerator[Ingest]:
    async with start() as service:
        yield service


def raw(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


async def post(ingest: Ingest, source: str, body: Any, **headers: str) -> httpx.Response:
    """Post as the source's sender would: signed, now."""
    content = raw(body)
    signed = sign(SOURCES[source].credentials, content, datetime.now(UTC))
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ingest.anonymous.post(
        f"/webhooks/{source}",
        content=content,
        headers={"content-type": "application/json", **signed, **given},
    )


async def accepted(ingest: Ingest, source: str, body: Any) -> str:
    answer = await post(ingest, source, body)
    assert answer.status_code == 202, answer.text
    return answer.json()["delivery_id"]


async def events(ingest: Ingest, *topics: Topic) -> list[CanonicalEvent]:
    found: list[CanonicalEvent] = []
    for topic in topics or CANONICAL:
        found += [
            decode_event(CANONICAL_EVENT, record.headers, record.value) for record in await ingest.read(topic)
        ]
    return found


async def one(ingest: Ingest, delivery_id: str) -> dict[str, Any]:
    answer = await ingest.client.get(f"/v1/deliveries/{delivery_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def state(ingest: Ingest) -> tuple[list[Any], list[Any]]:
    async with await ingest.connect() as connection:
        deliveries = await connection.fetch("SELECT * FROM deliveries ORDER BY delivery_id")
        quarantine = await connection.fetch("SELECT * FROM quarantine ORDER BY delivery_id")
    return [tuple(row) for row in deliveries], [tuple(row) for row in quarantine]


async def test_a_signed_webhook_becomes_an_event(ingest: Ingest) -> None:
    answer = await post(ingest, "zendesk-eu", zendesk("ticket.created"), x_request_id="request-4711")
    assert (answer.status_code, answer.headers["x-request-id"]) == (202, "request-4711")
    await ingest.settle(DELIVERIES)
    (event,) = await events(ingest)
    assert (event.TYPE, event.key) == ("cxloop.ticket.created", "ticket:zendesk-eu:815")
    found = await one(ingest, answer.json()["delivery_id"])
    assert (found["status"], found["event_ids"], found["items"]) == ("normalised", [event.id], [])


async def test_what_was_accepted_lies_on_the_topic_as_it_came_and_without_its_signature(
    ingest: Ingest,
) -> None:
    body = raw(zendesk("ticket.created"))
    answer = await post(
        ingest,
        "zendesk-eu",
        body,
        x_zendesk_webhook_invocation_id="inv-1",
        authorization="Bearer secret",
        cookie="c=1",
    )
    (record,) = await ingest.read(DELIVERIES)
    assert (record.value, record.key) == (body, answer.json()["delivery_id"].encode())
    assert record.headers["ce_type"] == b"cxloop.delivery.received"
    assert record.headers["ce_source"] == b"zendesk-eu"
    assert record.headers["ce_id"] == record.key
    assert record.headers["content-type"] == b"application/json"
    assert abs(datetime.fromisoformat(record.headers["ce_time"].decode()) - datetime.now(UTC)) < timedelta(
        minutes=1
    )
    kept = {name for name in record.headers if name.startswith("http_")}
    assert kept == {"http_x-zendesk-webhook-invocation-id"}
    assert b"secret" not in repr(record.headers).encode()


async def test_the_same_delivery_posted_again_changes_nothing_downstream(ingest: Ingest) -> None:
    first = await accepted(ingest, "delighted", delighted())
    await ingest.settle(DELIVERIES)
    before = await state(ingest)
    assert {await accepted(ingest, "delighted", delighted()) for _ in range(3)} == {first}
    await ingest.settle(DELIVERIES)
    assert await state(ingest) == before
    assert len({event.id for event in await events(ingest)}) == 1


async def test_an_event_leads_back_to_every_delivery_that_gave_it(ingest: Ingest) -> None:
    body = json.dumps(delighted())
    twice = {await accepted(ingest, "delighted", text.encode()) for text in (body, f"{body} ")}
    other = await accepted(ingest, "zendesk-eu", zendesk("ticket.created"))
    await ingest.settle(DELIVERIES)
    (event_id,) = (await one(ingest, other))["event_ids"]
    found = (await ingest.client.get("/v1/deliveries", params={"event_id": event_id})).json()
    assert found == {"items": [await one(ingest, other)], "next_cursor": None}
    (event_id,) = {e for delivery in twice for e in (await one(ingest, delivery))["event_ids"]}
    listed: list[str] = []
    params: dict[str, Any] = {"event_id": event_id, "source": "delighted", "limit": 1}
    for _ in range(2):
        page = (await ingest.client.get("/v1/deliveries", params=params)).json()
        listed += [item["delivery_id"] for item in page["items"]]
        params["cursor"] = page["next_cursor"]
    assert (len(twice), set(listed), params["cursor"]) == (2, twice, None)
    for nothing in ({"event_id": "unheard-of"}, {"event_id": event_id, "source": "zendesk-eu"}):
        assert (await ingest.client.get("/v1/deliveries", params=nothing)).json()["items"] == []
    everything = (await ingest.client.get("/v1/deliveries")).json()["items"]
    assert {item["delivery_id"] for item in everything} == {*twice, other}
    assert (await ingest.client.get("/v1/deliveries", params={"event_id": "a\x00"})).status_code == 400
    assert (await ingest.anonymous.get("/v1/deliveries")).status_code == 401


@pytest.mark.parametrize("source", ["zendesk-eu", "delighted", "shop", "form"])
async def test_a_bad_signature_is_refused_and_nothing_is_stored(ingest: Ingest, source: str) -> None:
    credentials = SOURCES[source].credentials
    theirs = Credentials(credentials.scheme, (b"another tenant's",), credentials.header)
    for headers in ({}, sign(theirs, b"{}", datetime.now(UTC))):
        answer = await ingest.anonymous.post(
            f"/webhooks/{source}", content=b"{}", headers={"content-type": "application/json", **headers}
        )
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail"} <= answer.json().keys()
    assert await ingest.read(DELIVERIES) == []


async def test_an_old_signature_is_refused(ingest: Ingest) -> None:
    body = raw(zendesk("ticket.created"))
    for minutes in (-6, 6):
        signed_at = datetime.now(UTC) + timedelta(minutes=minutes)
        headers = sign(SOURCES["zendesk-eu"].credentials, body, signed_at)
        answer = await ingest.anonymous.post(
            "/webhooks/zendesk-eu", content=body, headers={"content-type": "application/json", **headers}
        )
        assert answer.status_code == 401
    assert await ingest.read(DELIVERIES) == []


async def test_zendesks_test_send_is_answered_and_stored_nowhere(ingest: Ingest) -> None:
    test = Credentials(Scheme.ZENDESK, (ZENDESK_TEST_SECRET.encode(),))
    body = raw(zendesk("ticket.created"))
    answer = await ingest.anonymous.post(
        "/webhooks/zendesk-eu",
        content=body,
        headers={"content-type": "application/json", **sign(test, body, datetime.now(UTC))},
    )
    assert answer.status_code == 200
    assert await ingest.read(DELIVERIES) == []


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "identity"])
async def test_a_compressed_body_is_the_same_delivery(ingest: Ingest, coding: str) -> None:
    body = raw(delighted())
    raw_deflate = zlib.compressobj(wbits=-15)
    wire = {
        "gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "raw deflate": raw_deflate.compress(body) + raw_deflate.flush(),
        "identity": body,
    }[coding]
    plain = await accepted(ingest, "delighted", body)
    for signed in (body, wire):
        headers = sign(SOURCES["delighted"].credentials, signed, datetime.now(UTC))
        answer = await ingest.anonymous.post(
            "/webhooks/delighted",
            content=wire,
            headers={
                "content-type": "application/json",
                "content-encoding": coding.removeprefix("raw "),
                **headers,
            },
        )
        assert (answer.status_code, answer.json()["delivery_id"]) == (202, plain)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", {"content-type": "multipart/form-data"}, 415),
        (b"{}", {}, 415),
        (b"{}", {"content-encoding": "br", "content-type": "application/json"}, 415),
        (b"{}", {"content-encoding": "gzip", "content-type": "application/json"}, 400),
        (b"{}", {"content-encoding": "deflate", "content-type": "application/json"}, 400),
        (gzip.compress(b"{}")[:-1], {"content-encoding": "gzip", "content-type": "application/json"}, 400),
        (b"x" * 1_048_577, {"content-type": "application/json"}, 413),
        (
            gzip.compress(b"x" * 30_000_000),
            {"content-encoding": "gzip", "content-type": "application/json"},
            413,
        ),
        (b"{}", {"content-length": "2000000", "content-type": "application/json"}, 413),
        (b"{}", {"content-length": "9" * 5000, "content-type": "application/json"}, 413),
        (b"{}", {"content-length": "7", "content-type": "application/json"}, 408),
        (b"{}", {"content-length": "seven", "content-type": "application/json"}, 400),
    ],
)
async def test_what_is_too_large_or_unreadable_is_refused_with_its_status(
    ingest: Ingest, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await ingest.anonymous.post("/webhooks/bus", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await ingest.read(DELIVERIES) == []


async def test_a_body_of_just_the_limit_is_taken(ingest: Ingest) -> None:
    body = b'"' + b"x" * (1_048_576 - 2) + b'"'
    for content, coding in ((body, "identity"), (gzip.compress(body), "gzip")):
        answer = await ingest.anonymous.post(
            "/webhooks/bus",
            content=content,
            headers={"content-type": "application/json", "content-encoding": coding},
        )
        assert answer.status_code == 202
    await ingest.settle(DELIVERIES)
    assert (await one(ingest, answer.json()["delivery_id"]))["reason"] == "invalid_event"


async def test_a_sender_that_stalls_gets_408_at_the_deadline(
    start: Callable[..., AbstractAsyncContextManager[Ingest]],
) -> None:
    async def stalling() -> AsyncGenerator[bytes]:
        yield b'{"a'
        await asyncio.Event().wait()

    async with start(receive_deadline_s=0.2) as ingest:
        answer = await ingest.anonymous.post(
            "/webhooks/bus", content=stalling(), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 408


async def test_an_unknown_source_is_not_found(ingest: Ingest) -> None:
    answer = await ingest.anonymous.post("/webhooks/nobody", content=b"{}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert (await ingest.anonymous.get("/webhooks/bus")).status_code == 405


async def test_a_poisoned_delivery_is_quarantined_and_its_neighbours_are_normalised(ingest: Ingest) -> None:
    poison = {
        "broken_json": b'{"event_type": ',
        "too_deep": b"[" * 10_000 + b"]" * 10_000,
        "invalid_utf8": b'{"a": "\xff"}',
        "nul_character": raw(delighted(comment="a\0b")),
        "number_out_of_range": b'{"a": 1' + b"0" * 5000 + b"}",
        "score_out_of_scale": raw(delighted(score=11)),
        "time_before_2000": raw(delighted(updated_at=946684799)),
        "time_in_the_future": raw(delighted(updated_at=int(time.time()) + 90_000)),
        "unknown_shape": b'{"hello": "world"}',
    }
    bad: dict[str, str] = {}
    good: list[str] = []
    for number, (reason, body) in enumerate(poison.items(), start=1):
        bad[await accepted(ingest, "delighted", body)] = reason
        good.append(await accepted(ingest, "delighted", delighted(id=str(number))))
    await ingest.settle(DELIVERIES)
    assert len(await events(ingest, SURVEYS)) == len(good)
    for identity in good:
        assert (await one(ingest, identity))["status"] == "normalised"
    for identity, reason in bad.items():
        found = await one(ingest, identity)
        assert (found["status"], found["reason"]) == ("quarantined", reason)
        assert [(item["index"], item["reason"]) for item in found["items"]] == [(0, reason)]
        kept = (await ingest.client.get(f"/v1/quarantine/{identity}")).json()
        assert base64.b64decode(kept["body"]) == poison[reason]
    listed = (await ingest.client.get("/v1/quarantine?limit=500")).json()
    assert {item["delivery_id"]: item["reason"] for item in listed["items"]} == bad
    assert (await ingest.client.get("/v1/dead-letters")).json()["items"] == []


async def test_a_bad_item_leaves_the_other_events_of_its_delivery(ingest: Ingest) -> None:
    order = {
        "type": "order.paid",
        "data": {
            "id": "o1",
            "paid_at": int(time.time()),
            "customer": {"id": "u1"},
            "lines": [{"id": 1, "kind": "delivery"}, {"id": 2}],
        },
    }
    identity = await accepted(ingest, "shop", order)
    await ingest.settle(DELIVERIES)
    found = await one(ingest, identity)
    assert (found["status"], len(found["event_ids"]), len(found["items"])) == ("quarantined", 2, 1)
    assert len(await events(ingest, TOUCHPOINTS)) == 2


async def test_the_quarantine_is_paged_and_filtered(ingest: Ingest) -> None:
    for number in range(5):
        await accepted(ingest, "delighted", delighted(score=11, id=str(number)))
    await accepted(ingest, "bus", b"{")
    await ingest.settle(DELIVERIES)
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await ingest.client.get(f"/v1/quarantine?source=delighted&limit=2{cursor}")).json()
        seen += [item["delivery_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 5
    only = (await ingest.client.get("/v1/quarantine?reason=broken_json")).json()["items"]
    assert [item["source"] for item in only] == ["bus"]
    assert (await ingest.client.get("/v1/quarantine?sauce=bus")).status_code == 400
    assert (await ingest.anonymous.get("/v1/quarantine")).status_code == 401


async def test_a_replay_after_a_fix_resolves_the_quarantine(
    start: Callable[..., AbstractAsyncContextManager[Ingest]], tmp_path: Path
) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text((GOLDEN / "sources.yaml").read_text())
    async with start(file) as ingest:
        identity = await accepted(ingest, "delighted", delighted(survey_type="ces", score=9))
        other = await accepted(ingest, "delighted", delighted(score=11, id="2"))
        await ingest.settle(DELIVERIES)
        first = await one(ingest, identity)
        assert first["reason"] == "score_out_of_scale"
        again = await ingest.client.post(f"/v1/quarantine/{identity}/replay")
        assert (again.status_code, again.json()) == (202, {"replayed": 1})
        await ingest.settle(DELIVERIES)
        assert (await ingest.client.get(f"/v1/quarantine/{identity}")).json()["attempts"] == 1

        file.write_text(file.read_text().replace("touchpoint: support", "scales: {ces: {min: 1, max: 10}}"))
        async with asyncio.timeout(10):
            while "cxloop_sources_reloads_total 1.0" not in (await ingest.client.get("/metrics")).text:  # noqa: ASYNC110  # a background task reloads
                await asyncio.sleep(0.02)
        many = await ingest.client.post("/v1/quarantine/replay?source=delighted&reason=score_out_of_scale")
        assert (many.status_code, many.json()) == (202, {"replayed": 2})
        await ingest.settle(DELIVERIES)
        found = await one(ingest, identity)
        assert (found["status"], found["received_at"]) == ("normalised", first["received_at"])
        assert (await ingest.client.get(f"/v1/quarantine/{identity}")).status_code == 404
        assert (await ingest.client.post(f"/v1/quarantine/{identity}/replay")).status_code == 404
        assert (await ingest.client.get(f"/v1/quarantine/{other}")).json()["attempts"] == 1
        assert len(await events(ingest, SURVEYS)) == 1
        ids = {record.key for record in await ingest.read(DELIVERIES)}
        assert ids == {identity.encode(), other.encode()}


async def test_any_order_and_any_duplicates_end_in_the_same_rows_and_events(
    start: Callable[..., AbstractAsyncContextManager[Ingest]],
) -> None:
    async with start() as ingest:
        bodies: list[tuple[str, Any]] = [
            ("zendesk-eu", zendesk("ticket.created")),
            ("zendesk-eu", zendesk("ticket.comment_added", comment(public=True, staff=True))),
            ("zendesk-eu", zendesk("ticket.status_changed", {"current": "FROZEN"})),
            ("delighted", delighted()),
            ("delighted", delighted(score=12)),
            ("shop", {"type": "ping"}),
            ("bus", b"{"),
        ]
        for source, body in bodies:
            await accepted(ingest, source, body)
        await ingest.settle(DELIVERIES)
        await ingest.client.post("/v1/quarantine/replay")
        await ingest.settle(DELIVERIES)
        expected = await state(ingest)
        ids = {event.id for event in await events(ingest)}
        assert len(expected[1]) == 3
        records: list[Record] = await ingest.read(DELIVERIES)
        for seed in range(3):
            async with await ingest.connect() as connection:
                await connection.execute("TRUNCATE deliveries, quarantine")
            chance = random.Random(seed)  # noqa: S311  # a reproducible shuffle
            again = records * 2
            chance.shuffle(again)
            await ingest.send(
                Message(record.topic, record.key, record.value, tuple(record.headers.items()))
                for record in again
            )
            await ingest.settle(DELIVERIES)
            assert await state(ingest) == expected, f"seed {seed}"
        assert {event.id for event in await events(ingest)} == ids


async def test_a_delivery_is_not_found_until_the_normaliser_has_seen_it(ingest: Ingest) -> None:
    answer = await ingest.client.get("/v1/deliveries/0123456789abcdef")
    assert (answer.status_code, answer.headers["retry-after"]) == (404, "1")


async def test_a_record_that_intake_never_wrote_goes_to_dead_letters(ingest: Ingest) -> None:
    await ingest.send([Message(ingest.names.name(DELIVERIES), b"k", b"{}", (("ce_type", b"other"),))])
    await ingest.settle(DELIVERIES)
    (letter,) = (await ingest.client.get("/v1/dead-letters")).json()["items"]
    assert letter["reason"] == "unreadable"


async def test_sources_tell_what_they_did_lately(ingest: Ingest) -> None:
    await accepted(ingest, "delighted", delighted())
    await accepted(ingest, "delighted", delighted(score=11))
    await ingest.settle(DELIVERIES)
    items = {item["source"]: item for item in (await ingest.client.get("/v1/sources")).json()["items"]}
    assert sorted(items) == sorted(SOURCES)
    found = items["delighted"]
    assert (found["sender"], found["verify"]) == ("delighted", "delighted")
    assert (found["deliveries_24h"], found["events_24h"], found["quarantined"]) == (2, 1, 1)
    assert found["last_delivery"] is not None
    assert items["shop"] == {
        "source": "shop",
        "sender": "standardwebhooks",
        "verify": "standardwebhooks",
        "last_delivery": None,
        "deliveries_24h": 0,
        "events_24h": 0,
        "quarantined": 0,
        "silent_since": None,
    }


async def test_old_deliveries_are_forgotten_with_their_bodies(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    shift = timedelta()
    values = {"sources_file": str(GOLDEN / "sources.yaml"), "prune_interval_s": 1}
    async with start_service(SERVICE, settings=values, now=lambda: datetime.now(UTC) + shift) as ingest:
        await ingest.anonymous.post(
            "/webhooks/bus", content=b"{", headers={"content-type": "application/json"}
        )
        await ingest.settle(DELIVERIES)
        assert [len(rows) for rows in await state(ingest)] == [1, 1]
        shift = timedelta(days=31)
        async with asyncio.timeout(20):
            while await state(ingest) != ([], []):  # noqa: ASYNC110  # a background task prunes
                await asyncio.sleep(0.05)


def cloud_event(number: int, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"evt-{number}",
        "type": "cxloop.survey.responded",
        "source": "app",
        "time": "2026-03-06T10:00:00Z",
        "data": {
            "response_id": str(number),
            "metric": "nps",
            "score": 4,
            "scale": {"min": 0, "max": 10},
            "identifiers": ["email:Ana@Example.com", "email:null"],
            **data,
        },
    }


async def send(ingest: Ingest, body: Any, content_type: str, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ingest.client.post(
        "/v1/events", content=raw(body), headers={"content-type": content_type, **given}
    )


async def test_events_are_taken_in_all_three_modes_and_their_identifiers_normalised(ingest: Ingest) -> None:
    structured = await send(ingest, cloud_event(1), "application/cloudevents+json; charset=utf-8")
    batch = await send(ingest, [cloud_event(2), cloud_event(3)], "application/cloudevents-batch+json")
    four = cloud_event(4)
    attributes = {f"ce_{name}": four[name] for name in ("specversion", "id", "type", "source", "time")}
    binary = await send(ingest, four["data"], "application/json", **attributes)
    found = [(answer.status_code, answer.json()) for answer in (structured, batch, binary)]
    assert found == [
        (202, {"accepted": ["evt-1"]}),
        (202, {"accepted": ["evt-2", "evt-3"]}),
        (202, {"accepted": ["evt-4"]}),
    ]
    await ingest.settle(DELIVERIES)
    written = await events(ingest, SURVEYS)
    assert sorted(event.id for event in written) == ["evt-1", "evt-2", "evt-3", "evt-4"]
    assert {event.identifiers for event in written} == {("email:ana@example.com",)}


async def test_one_invalid_event_refuses_the_whole_batch_with_a_pointer_to_each_fault(ingest: Ingest) -> None:
    batch = [
        cloud_event(1),
        cloud_event(2, score=11),
        cloud_event(3, identifiers=["email:ana@example.com", "nobody"]),
        {**cloud_event(4), "time": "1999-01-01T00:00:00Z"},
        {**cloud_event(5), "type": "cxloop.unheard.of"},
        7,
    ]
    answer = await send(ingest, batch, "application/cloudevents-batch+json")
    assert answer.status_code == 422
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert [pointer.split("/")[1] for pointer in pointers] == ["1", "2", "3", "4", "5"]
    assert {"/2/data/identifiers/1", "/3/time"} <= set(pointers)
    assert "ana" not in answer.text
    assert await ingest.read(DELIVERIES) == []


async def test_refused_events_are_counted_by_what_is_wrong_with_each(ingest: Ingest) -> None:
    wrong = [
        cloud_event(1, score=11),
        cloud_event(2, score=-1),
        cloud_event(3, score=None),
        {**cloud_event(4), "time": "1999-01-01T00:00:00Z"},
        {**cloud_event(5), "data": None},
        7,
    ]
    for batch in (wrong, [cloud_event(6)]):
        await send(ingest, batch, "application/cloudevents-batch+json")
    counted = {
        line.split()[0]: float(line.split()[1])
        for line in (await ingest.client.get("/metrics")).text.splitlines()
        if line.startswith("cxloop_refused_events_total")
    }
    assert counted == {
        'cxloop_refused_events_total{reason="score_out_of_scale"}': 2,
        'cxloop_refused_events_total{reason="time_before_2000"}': 1,
        'cxloop_refused_events_total{reason="invalid_event"}': 3,
    }


async def test_events_sent_again_are_the_same_deliveries(ingest: Ingest) -> None:
    for _ in range(2):
        await send(ingest, cloud_event(1), "application/cloudevents+json")
    assert len({record.key for record in await ingest.read(DELIVERIES)}) == 1
    await ingest.settle(DELIVERIES)
    assert len((await state(ingest))[0]) == 1


async def test_a_token_writes_for_its_own_sources_only(start_service: StartService) -> None:
    tokens = (
        '[{"name": "app", "token": "token-of-the-app-0001", "scopes": ["write"], "sources": ["app"]},'
        ' {"name": "eye", "token": "token-of-the-eye-0001", "scopes": ["read"]}]'
    )
    async with start_service(SERVICE, settings={"api_tokens": tokens}) as ingest:

        async def answer(token: str, source: str) -> int:
            found = await ingest.anonymous.post(
                "/v1/events",
                content=raw([cloud_event(1), {**cloud_event(2), "source": source}]),
                headers={
                    "content-type": "application/cloudevents-batch+json",
                    "authorization": f"Bearer {token}",
                },
            )
            return found.status_code

        assert await answer("token-of-the-app-0001", "other") == 403
        assert await answer("token-of-the-eye-0001", "app") == 403
        assert await answer("nobody's-token-000001", "app") == 401
        assert await ingest.read(DELIVERIES) == []
        assert await answer("token-of-the-app-0001", "app") == 202


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/cloudevents+json", 400),
        (b"{}", "application/cloudevents-batch+json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/cloudevents+json", 422),
        (b"[" * 10_000, "application/cloudevents-batch+json", 400),
        (b"x" * 1_100_000, "application/cloudevents+json", 413),
    ],
)
async def test_what_is_no_event_is_refused_with_its_status(
    ingest: Ingest, body: bytes, content_type: str, status: int
) -> None:
    answer = await send(ingest, body, content_type)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_a_webhook_of_cloudevents_speaks_for_its_own_source_only(ingest: Ingest) -> None:
    mine = await accepted(ingest, "bus", {**cloud_event(1), "source": "bus"})
    theirs = await accepted(ingest, "bus", cloud_event(2))
    await ingest.settle(DELIVERIES)
    assert (await one(ingest, mine))["status"] == "normalised"
    assert (await one(ingest, theirs))["reason"] == "invalid_event"


async def test_the_openapi_document_names_the_hot_route(ingest: Ingest) -> None:
    paths = (await ingest.anonymous.get("/openapi.json")).json()["paths"]
    assert {"/webhooks/{source}", "/v1/events", "/v1/sources", "/v1/quarantine/replay"} <= set(paths)
