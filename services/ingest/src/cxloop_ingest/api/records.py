"""What operators look at: what became of a delivery, and what each source did lately."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from cxloop_common.database import Database
from cxloop_common.http import Page, Paging, Problem, parameter_problem, require
from cxloop_common.security import Scope
from cxloop_ingest.domain.sources import Source
from cxloop_ingest.store import Queries, SourceActivity

_SILENT_AFTER: Final = timedelta(hours=24)
_NOT_SEEN: Final = {"Retry-After": "1"}

DeliveryId = Annotated[str, Path(max_length=64, description="The id that intake answered")]
EventFilter = Annotated[
    str | None, Query(max_length=1024, description="Only deliveries that gave this event")
]
DeliverySource = Annotated[str | None, Query(max_length=128, description="Only this source")]


class ItemOut(BaseModel):
    """An item of a delivery that gave no event."""

    index: int
    reason: str
    detail: str


class DeliveryOut(BaseModel):
    """What became of a delivery."""

    delivery_id: str
    source: str
    received_at: datetime
    status: Literal["spooled", "normalised", "ignored", "quarantined"]
    reason: str | None
    items: list[ItemOut]
    event_ids: list[str]


class SourceOut(BaseModel):
    """A configured source and what it did lately."""

    source: str
    sender: str
    verify: str
    last_delivery: datetime | None
    deliveries_24h: int
    events_24h: int
    quarantined: int
    silent_since: datetime | None
    """Its last delivery, where that is more than a day ago."""


class Sources(BaseModel):
    """All configured sources."""

    items: list[SourceOut]


def records_router(
    *,
    database: Database,
    now: Callable[[], datetime],
    sources: Callable[[], Mapping[str, Source]],
) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1", tags=["records"])
    read = [Depends(require(Scope.READ))]
    queries = Queries(database.engine)

    @router.get("/deliveries", dependencies=read, summary="Deliveries, such as those that gave an event")
    async def deliveries(  # pyright: ignore[reportUnusedFunction]
        page: Paging, event_id: EventFilter = None, source: DeliverySource = None
    ) -> Page[DeliveryOut]:
        for parameter, text in (("event_id", event_id), ("source", source)):
            if text is not None and "\x00" in text:
                raise parameter_problem(parameter, "it holds a NUL, and nothing here does")
        listing = f"deliveries:{(event_id, source)!r}"
        rows = await queries.deliveries(
            event_id=event_id,
            source=source,
            before=page.after(listing, datetime, str),
            limit=page.limit + 1,
        )
        shown, more = page.cut(rows, listing, lambda row: (row["received_at"], row["delivery_id"]))
        return Page(items=[DeliveryOut.model_validate(row) for row in shown], next_cursor=more)

    @router.get("/deliveries/{delivery_id}", dependencies=read, summary="What became of a delivery")
    async def delivery(delivery_id: DeliveryId) -> DeliveryOut:  # pyright: ignore[reportUnusedFunction]
        row = await queries.delivery(delivery_id)
        if row is None:
            raise Problem(
                404, detail="The normaliser has not seen this delivery, or not yet.", headers=_NOT_SEEN
            )
        return DeliveryOut.model_validate(row)

    @router.get("/sources", dependencies=read, summary="Configured sources and what they did lately")
    async def list_sources() -> Sources:  # pyright: ignore[reportUnusedFunction]
        at = now()
        configured = sources()
        activity = await queries.activity(sorted(configured), at - timedelta(hours=24))
        return Sources(
            items=[
                _source_out(configured[name], activity.get(name, SourceActivity()), at)
                for name in sorted(configured)
            ]
        )

    return router


def _source_out(source: Source, activity: SourceActivity, now: datetime) -> SourceOut:
    last = activity.last_delivery
    return SourceOut(
        source=source.name,
        sender=source.sender.value,
        verify=source.credentials.scheme.value,
        last_delivery=last,
        deliveries_24h=activity.deliveries,
        events_24h=activity.events,
        quarantined=activity.quarantined,
        silent_since=last if last is not None and now - last > _SILENT_AFTER else None,
    )
