"""Ingest killed under HTTP load: every event that was answered with 202 is in the log, and is normalised."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import httpx

from tests.faults import checks, ledger
from tests.faults.arena import Arena
from tests.faults.checks import Invariant, Violation
from tests.faults.ground import DELIVERIES, SURVEYS, TICKETS
from tests.faults.load import traffic
from tests.faults.state import samples
from tests.faults.wire import LogRecord, Outgoing
from tests.faults.workers import Worker

SENDERS = 24
RETRY_S = 0.1


async def intake_kills(arena: Arena, events: int) -> None:
    """Kill ingest under load, every second time while the broker stands still and answers are owed."""
    worker = await arena.worker("ingest", slot=0, role="all")
    await worker.ready()
    load = asyncio.create_task(_post_all(arena, worker, _acceptable(arena, events)))
    for number in range(2 * arena.scale):
        await asyncio.sleep(arena.rng.uniform(0.7, 1.2))
        if number % 2:
            await asyncio.to_thread(arena.ground.kafka.suspend)
            await asyncio.sleep(0.5)
        await arena.kill(worker)
        arena.say("killed ingest" + (" while the broker stood still" if number % 2 else ""))
        if number % 2:
            await asyncio.to_thread(arena.ground.kafka.resume)
        starts = worker.starts
        await arena.until("ingest is back", lambda starts=starts: worker.starts > starts)
        await worker.ready()
    await load


def _acceptable(arena: Arena, count: int) -> list[Outgoing]:
    """Make events that ingest takes: no NUL, and one content for each id."""
    found: list[Outgoing] = []
    contents: dict[bytes, tuple[tuple[tuple[str, bytes], ...], bytes]] = {}
    for event in traffic(arena.rng, arena.prefix, 2 * count):
        content = (event.headers, event.value)
        if b"\\u0000" in event.value or contents.setdefault(_id(event.headers), content) != content:
            continue
        found.append(event)
    return found[:count]


def _id(headers: Sequence[tuple[str, bytes]]) -> bytes:
    return dict(headers)["ce_id"]


def _structured(event: Outgoing) -> bytes:
    attributes: dict[str, Any] = {
        name.removeprefix("ce_"): value.decode() for name, value in event.headers if name.startswith("ce_")
    }
    return json.dumps({**attributes, "data": json.loads(event.value)}).encode()


async def _post_all(arena: Arena, worker: Worker, events: Sequence[Outgoing]) -> None:
    waiting = list(reversed(events))

    async def send(client: httpx.AsyncClient) -> None:
        while waiting:
            event = waiting.pop()
            # As a sender does: the same bytes again until they are accepted.
            while not await _accepted(client, event):  # noqa: ASYNC110  # nobody tells when the service is back
                await asyncio.sleep(RETRY_S)
            arena.ledger.note(event, -1, -1)

    async def keep_the_ledger() -> None:
        while True:
            await asyncio.sleep(RETRY_S / 2)
            arena.ledger.sync()

    keeping = asyncio.create_task(keep_the_ledger())
    async with worker.client() as client:
        await asyncio.gather(*(send(client) for _ in range(SENDERS)))
    keeping.cancel()
    arena.ledger.sync()
    arena.result.events += len(events)


async def _accepted(client: httpx.AsyncClient, event: Outgoing) -> bool:
    try:
        answer = await client.post(
            "/v1/events",
            content=_structured(event),
            headers={"content-type": "application/cloudevents+json"},
        )
    except httpx.HTTPError:
        return False
    if answer.is_client_error:
        raise AssertionError(f"ingest refuses an event: {answer.status_code} {answer.text[:300]}")
    return answer.is_success


async def reckon(arena: Arena) -> None:
    """Compare what was answered with what stands in the log, and that with what was normalised."""
    await arena.come_to_rest()
    deliveries = await asyncio.to_thread(arena.read_log, DELIVERIES.name)
    events = await asyncio.to_thread(arena.read_log, TICKETS.name, SURVEYS.name)
    answered = Counter({record.headers["ce_id"].decode() for record, _ in ledger.read(arena.ledger.path)})
    kept = Counter({json.loads(record.value)["id"] for record in deliveries})
    normalised = Counter({record.headers["ce_id"].decode() for record in events})
    violations = arena.result.violations
    violations += checks.compare("answered events in the log", answered, kept)
    violations += checks.compare("answered events after normalising", answered, normalised)
    violations += checks.same_bytes("canonical events", events)
    violations += _same_content(deliveries)
    arena.result.notes["deliveries"] = len(deliveries)


def _same_content(deliveries: Sequence[LogRecord]) -> list[Violation]:
    """Check that one delivery id always stands for the same body."""
    bodies: dict[bytes, set[bytes]] = defaultdict(set)
    for record in deliveries:
        bodies[record.key].add(record.value)
    torn = [key for key, found in bodies.items() if len(found) > 1]
    if not torn:
        return []
    return [Violation(Invariant.DOUBLED, f"delivery ids with different bodies: {samples(torn)}", len(torn))]
