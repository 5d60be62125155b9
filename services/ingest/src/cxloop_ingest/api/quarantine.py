"""The quarantine: what waits for a fix, and its way back."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from cxloop_common.database import Database
from cxloop_common.http import Page, Paging, Problem, require
from cxloop_common.kafka.records import Message
from cxloop_common.security import Scope
from cxloop_common.telemetry import current_traceparent
from cxloop_ingest.api.delivery_log import DeliveryLog
from cxloop_ingest.api.records import DeliveryId, ItemOut
from cxloop_ingest.domain.delivery import Delivery, record_headers
from cxloop_ingest.store import Queries, take_for_replay

SourceFilter = Annotated[str | None, Query(max_length=128, description="Only this source")]
ReasonFilter = Annotated[str | None, Query(max_length=64, description="Only this reason")]


class QuarantinedOut(BaseModel):
    """A delivery that waits for a fix."""

    delivery_id: str
    source: str
    reason: str
    detail: str
    first_seen: datetime
    attempts: int


class QuarantinedBodyOut(QuarantinedOut):
    """The same with what was sent."""

    items: list[ItemOut]
    content_type: str
    headers: dict[str, str]
    body: str
    """Base64."""


class Replayed(BaseModel):
    """How many deliveries were appended again."""

    replayed: int


def quarantine_router(*, database: Database, log: DeliveryLog, topic: str) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1", tags=["quarantine"])
    read = [Depends(require(Scope.READ))]
    operate = [Depends(require(Scope.OPERATE))]
    queries = Queries(database.engine)

    @router.get("/quarantine", dependencies=read, summary="Deliveries that wait for a fix")
    async def quarantine(  # pyright: ignore[reportUnusedFunction]
        page: Paging, source: SourceFilter = None, reason: ReasonFilter = None
    ) -> Page[QuarantinedOut]:
        listing = f"quarantine:{source or ''}:{reason or ''}"
        rows = await queries.quarantine(
            source=source,
            reason=reason,
            before=page.after(listing, datetime, str),
            limit=page.limit + 1,
        )
        shown, more = page.cut(rows, listing, lambda row: (row["first_seen"], row["delivery_id"]))
        return Page(items=[QuarantinedOut.model_validate(row) for row in shown], next_cursor=more)

    @router.get(
        "/quarantine/{delivery_id}", dependencies=read, summary="A quarantined delivery with its body"
    )
    async def quarantined(delivery_id: DeliveryId) -> QuarantinedBodyOut:  # pyright: ignore[reportUnusedFunction]
        row = await queries.quarantined(delivery_id)
        if row is None:
            raise Problem(404, detail="No delivery of this id waits in quarantine.")
        return QuarantinedBodyOut.model_validate({**row, "body": base64.b64encode(row["body"]).decode()})

    @router.post(
        "/quarantine/{delivery_id}/replay",
        status_code=202,
        dependencies=operate,
        summary="Append a quarantined delivery again, after a fix",
    )
    async def replay_one(delivery_id: DeliveryId) -> Replayed:  # pyright: ignore[reportUnusedFunction]
        replayed, _ = await _replay(database, log, topic, delivery_id=delivery_id)
        if not replayed:
            raise Problem(404, detail="No delivery of this id waits in quarantine.")
        return Replayed(replayed=replayed)

    @router.post(
        "/quarantine/replay",
        status_code=202,
        dependencies=operate,
        summary="Append all quarantined deliveries of a source or reason again",
    )
    async def replay_many(  # pyright: ignore[reportUnusedFunction]
        source: SourceFilter = None, reason: ReasonFilter = None
    ) -> Replayed:
        total, after = 0, ""
        while True:
            replayed, after = await _replay(database, log, topic, after=after, source=source, reason=reason)
            if not replayed:
                return Replayed(replayed=total)
            total += replayed

    return router


async def _replay(database: Database, log: DeliveryLog, topic: str, **which: Any) -> tuple[int, str]:
    """Append one chunk of quarantined deliveries; give their number and the last id."""
    pool = await database.pool()
    async with pool.acquire() as connection, connection.transaction():
        deliveries = await take_for_replay(connection, **which)
        # Within the transaction: what could not be appended is not counted as replayed.
        await log.append_all(_messages(topic, deliveries))
    return len(deliveries), deliveries[-1].id if deliveries else ""


def _messages(topic: str, deliveries: Sequence[Delivery]) -> list[Message]:
    trace = current_traceparent()
    return [
        Message(topic, delivery.id.encode(), delivery.body, record_headers(delivery, trace))
        for delivery in deliveries
    ]
