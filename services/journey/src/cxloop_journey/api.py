"""The HTTP API: customers, their timelines and their context. Nothing here decides anything."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from cxloop_common.database import Database
from cxloop_common.events import ContextCard
from cxloop_common.events.base import UtcTime
from cxloop_common.http import Page, PageRequest, Paging, Problem, parameter_problem, require
from cxloop_common.identifiers import IdentifierError, normalise
from cxloop_common.security import Scope
from cxloop_journey.domain.card import Identity, card_of, identity_of, stage_of
from cxloop_journey.domain.identity import customer_id, founder_hash, identifier_hash
from cxloop_journey.store import customers
from cxloop_journey.store.documents import decode_score
from cxloop_journey.store.identity_key import DeploymentKey

VALUE_WINDOW: Final = timedelta(days=365)


class CustomerView(BaseModel):
    """One customer."""

    customer_id: str
    identifiers: list[str]
    """In full, best-ranked first."""
    stage: str
    first_seen: UtcTime
    last_seen: UtcTime
    touchpoints: int
    """Entries on the timeline."""
    merged_from: list[str]
    """Customer ids that lead here: those of the other identifiers."""
    signals: list[str]
    identity: Identity


class ScoreView(BaseModel):
    """The score of a response, as scoring published it."""

    metric: str
    value: float
    scale: dict[str, float]
    band: str


class EntryView(BaseModel):
    """One entry of a timeline."""

    at: UtcTime
    kind: str
    touchpoint: str | None
    stage: str | None
    channel: str | None
    source: str
    summary: str
    score: ScoreView | None = None
    event_id: str


class ContextView(ContextCard):
    """The card, with what only the API tells."""

    customer_id: str
    value: dict[str, float]
    """Worth of the touchpoints of the last 365 days, by currency."""


@dataclass(frozen=True)
class CustomersApi:
    """What the calls read from."""

    database: Database
    key: DeploymentKey
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Build the routes."""
        router = APIRouter(prefix="/v1", tags=["customers"], dependencies=[Depends(require(Scope.READ))])
        moved: dict[int | str, dict[str, Any]] = {
            308: {"description": "Merged into the customer of Location"}
        }
        router.add_api_route("/customers", self.search, methods=["GET"])
        router.add_api_route(
            "/customers/{customer_id}",
            self.customer,
            methods=["GET"],
            response_model=CustomerView,
            responses=moved,
        )
        router.add_api_route(
            "/customers/{customer_id}/timeline",
            self.timeline,
            methods=["GET"],
            response_model=Page[EntryView],
            responses=moved,
        )
        router.add_api_route(
            "/customers/{customer_id}/context",
            self.context,
            methods=["GET"],
            response_model=ContextView,
            responses=moved,
        )
        return router

    async def search(
        self, identifier: Annotated[str, Query(max_length=600, description="scheme:value, such as an email")]
    ) -> Page[CustomerView]:
        """Find the customer of an identifier: one item, or none."""
        try:
            text = str(normalise(identifier))
        except IdentifierError as error:
            raise parameter_problem("identifier", str(error)) from error
        hash_ = identifier_hash(text, await self.key.get())
        async with self._snapshot() as connection:
            found = await customers.find(connection, hash_)
            items = [] if found is None else [await self._view(connection, found.customer)]
        return Page[CustomerView](items=items)

    async def customer(self, customer_id: str, request: Request) -> CustomerView | Response:
        """Show a customer; the id of one that was merged away leads to the survivor."""
        async with self._snapshot() as connection:
            found = await self._found(connection, customer_id)
            if found.identifier != found.customer:
                return _moved(request, found)
            return await self._view(connection, found.customer)

    async def timeline(self, customer_id: str, request: Request, page: Paging) -> Page[EntryView] | Response:
        """List what happened to a customer, newest first."""
        async with self._snapshot() as connection:
            found = await self._found(connection, customer_id)
            if found.identifier != found.customer:
                return _moved(request, found)
            rows = await customers.timeline(
                connection, found.customer, limit=page.limit + 1, before=_position(page)
            )
        shown, cursor = page.cut(rows, _LISTING, lambda row: (row["at"], row["event"].hex()))
        return Page[EntryView](items=[_entry(row) for row in shown], next_cursor=cursor)

    async def context(self, customer_id: str, request: Request) -> ContextView | Response:
        """Give the card that an agent or an alert needs."""
        now = self.now()
        async with self._snapshot() as connection:
            found = await self._found(connection, customer_id)
            if found.identifier != found.customer:
                return _moved(request, found)
            customer = (await customers.load(connection, [found.customer]))[found.customer]
            value = (
                {}
                if customer.facts.shared
                else await customers.value_between(connection, found.customer, now - VALUE_WINDOW, now)
            )
        card = card_of(customer.facts, now)
        return ContextView(
            **dict(card),
            customer_id=customer_id,
            value={currency: float(amount) for currency, amount in value.items()},
        )

    @asynccontextmanager
    async def _snapshot(self) -> AsyncGenerator[Any]:
        """Give a connection on which all statements see one state."""
        pool = await self.database.pool()
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def _found(self, connection: Any, name: str) -> customers.Found:
        hash_ = founder_hash(name)
        found = None if hash_ is None else await customers.find(connection, hash_)
        if found is None:
            raise Problem(
                404, detail="There is no customer with this id; search with /v1/customers?identifier=."
            )
        return found

    async def _view(self, connection: Any, customer: int) -> CustomerView:
        loaded = (await customers.load(connection, [customer]))[customer]
        facts = loaded.facts
        return CustomerView(
            customer_id=customer_id(loaded.founder),
            identifiers=[one.text for one in facts.by_trust()],
            stage=stage_of(facts, self.now()).stage,
            first_seen=facts.first_seen,
            last_seen=facts.last_seen,
            touchpoints=facts.touchpoints,
            merged_from=sorted(
                customer_id(one.hash) for one in facts.identifiers if one.hash != loaded.founder
            ),
            signals=[],
            identity=identity_of(facts),
        )


_LISTING: Final = "timeline"
"""Positions are times and events, which mean the same on every customer: a cursor survives a merge."""


def _position(page: PageRequest) -> tuple[datetime, bytes] | None:
    after = page.after(_LISTING, datetime, str)
    if after is None:
        return None
    at, event = after
    try:
        return at, bytes.fromhex(event)
    except ValueError as error:
        raise parameter_problem("cursor", "pass next_cursor of the page before") from error


def _moved(request: Request, found: customers.Found) -> Response:
    """Send the caller to the survivor, with the rest of the path and the query as they were."""
    path = request.url.path
    head, _, rest = path.partition("/customers/")
    suffix = rest.partition("/")[2]
    target = f"{head}/customers/{customer_id(found.founder)}{'/' if suffix else ''}{suffix}"
    query = request.url.query
    return RedirectResponse(f"{target}?{query}" if query else target, status_code=308)


def _entry(row: Any) -> EntryView:
    score = None
    if row["score"] is not None:
        told = decode_score(row["score"])
        score = ScoreView(
            metric=told.metric, value=told.value, scale={"min": told.least, "max": told.most}, band=told.band
        )
    return EntryView(
        at=row["at"],
        kind=row["kind"],
        touchpoint=row["touchpoint"],
        stage=row["stage"],
        channel=row["channel"],
        source=row["source"],
        summary=row["summary"],
        score=score,
        event_id=row["event_id"],
    )
