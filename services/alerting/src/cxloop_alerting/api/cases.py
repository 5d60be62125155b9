"""Cases: listing, reading, and what people do with them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Depends, Path, Query, Response

from cxloop_alerting.api import schemas
from cxloop_alerting.api.schemas import CaseView, ChangeView, HistoryView, action_id
from cxloop_alerting.casework import Casework, Held
from cxloop_alerting.domain.actions import Refusal, refuse
from cxloop_alerting.domain.case import Case
from cxloop_alerting.domain.configuration import OwnerRef
from cxloop_alerting.domain.entries import action_entry
from cxloop_alerting.domain.facts import ActionKind, LogEntry
from cxloop_alerting.domain.fold import fold_subject
from cxloop_alerting.domain.owners import Workload, read_ref
from cxloop_alerting.domain.records import summarise
from cxloop_alerting.store import cases as case_store
from cxloop_alerting.store import facts as fact_store
from cxloop_alerting.store import log as log_store
from cxloop_alerting.store.cases import CaseRow
from cxloop_common.database import Database
from cxloop_common.http import (
    IdempotencyKey,
    IfMatch,
    Page,
    PageRequest,
    Paging,
    Problem,
    check_if_match,
    etag,
    require,
)
from cxloop_common.processor.outbox import enqueue
from cxloop_common.security import Principal, Scope

CaseId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="A case's id, or one it ever had")]
Reader = Annotated[Principal, Depends(require(Scope.READ))]
Operator = Annotated[Principal, Depends(require(Scope.OPERATE))]
_STATUSES = "^(open|reopened|acknowledged|contacted|resolved|recovered|not_recovered|unverified)$"
_REFUSED = {
    Refusal.STATE: 409,
    Refusal.FOLLOWED: 409,
    Refusal.NOT_YOURS: 403,
    Refusal.ROOT_CAUSE: 422,
    Refusal.NO_CONTACT_REASON: 422,
}
_POINTERS = {
    Refusal.ROOT_CAUSE: "/root_cause",
    Refusal.NO_CONTACT_REASON: "/no_contact_reason",
}


class CaseDesk:
    """Carries out calls about cases, each in one transaction."""

    def __init__(self, database: Database, casework: Casework, now: Callable[[], datetime]) -> None:
        self._database = database
        self._casework = casework
        self._now = now

    async def page(self, page: PageRequest, filters: dict[str, str]) -> Page[CaseView]:
        """Return one page of cases, the newest first."""
        listing = "cases|" + "|".join(f"{name}={value}" for name, value in sorted(filters.items()))
        after = page.after(listing, datetime, str)
        pool = await self._database.pool()
        rows = await case_store.list_cases(pool, limit=page.limit + 1, after=after, filters=filters)
        shown, cursor = page.cut(rows, listing, lambda row: (row.opened_at, row.case_id))
        return Page[CaseView](items=[CaseView.of(row) for row in shown], next_cursor=cursor)

    async def show(self, case_id: str) -> CaseView:
        """Return a case with the newest context of its customer."""
        pool = await self._database.pool()
        return await self._view(pool, await self._find(pool, case_id, ""))

    async def history(self, case_id: str) -> HistoryView:
        """Return a case's history: the fold tells it."""
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            row = await self._find(connection, case_id, "/history")
            configurations = await self._casework.configurations(connection, self._now())
            # Where the case's scores lie now: a link may have moved them a moment ago.
            names = await fact_store.subjects_of(connection, row.documents)
            loaded = await self._casework.load(connection, {row.customer, *names})
        groups = [fold_subject(loaded.facts[name], loaded.log[name], configurations) for name in loaded.facts]
        case = next((case for group in groups for case in group if case_id in case.trigger_ids), None)
        changes = sorted(case.history, key=lambda change: change.at) if case is not None else []
        return HistoryView(items=[ChangeView.of(change) for change in changes])

    async def act(
        self,
        case_id: str,
        kind: ActionKind,
        body: schemas.Body,
        *,
        caller: Principal,
        if_match: str | None,
        key: str | None,
    ) -> CaseView:
        """Accept an action, or say why not: 403, 404, 409, 412, 422 or 428."""
        said = body.model_dump(exclude_none=True)
        pool = await self._database.pool()
        async with pool.acquire() as connection, connection.transaction():
            held, row = await self._hold(connection, case_id, kind)
            entry_id = action_id(
                caller.name, key, row.case_id, str(row.version), kind, msgspec.json.encode(said).decode()
            )
            if key is not None and (done := await log_store.find(connection, entry_id)) is not None:
                self._check_repeat(done, row, kind, said)
                return await self._view(connection, row)
            check_if_match(if_match, row.version, required=kind is ActionKind.RESOLVE)
            now = self._now()
            if kind is ActionKind.ASSIGN:
                said |= await self._new_owner(connection, said["owner"], row, now)

            def decide(cases: Mapping[str, Sequence[Case]]) -> list[LogEntry]:
                group, case = next(
                    (group, case)
                    for group in cases.values()
                    for case in group
                    if row.case_id in case.trigger_ids
                )
                later = [other for other in group if other.rule == case.rule][-1]
                successor = later.id if later is not case else None
                refused = refuse(case, kind, said, caller.name, successor=successor)
                if refused is not None:
                    pointer = _POINTERS.get(refused.refusal)
                    errors = [{"pointer": pointer, "detail": refused.detail}] if pointer else []
                    raise Problem(_REFUSED[refused.refusal], detail=refused.detail, errors=errors)
                return [action_entry(case, kind, id_=entry_id, actor=caller.name, body=said, now=now)]

            outcome = await self._casework.refold(connection, held, now, decide=decide)
            await enqueue(connection, outcome.messages)
            # Late facts that nobody had folded yet may have made the case part of an earlier one.
            acted = next(other for other in outcome.rows.values() if row.case_id in other.triggers)
            return await self._view(connection, acted)

    async def _hold(self, connection: Any, case_id: str, kind: ActionKind) -> tuple[Held, CaseRow]:
        """Lock the case's subject and return the case as it is then."""
        while True:
            row = await self._find(connection, case_id, f"/{kind}")
            held = await self._casework.hold(connection, {row.customer})
            if case_id in held.rows:
                return held, held.rows[case_id]

    async def _find(self, connection: Any, case_id: str, below: str) -> CaseRow:
        row = await case_store.find_case(connection, case_id)
        if row is not None:
            return row
        target = await case_store.resolve_alias(connection, case_id)
        if target is None or target == case_id:
            raise Problem(404, detail="There is no case with this id.")
        raise Problem(
            308,
            title="Case goes by another id",
            detail="This id belongs to a score that joined another case; follow Location.",
            headers={"Location": f"/v1/cases/{target}{below}"},
        )

    async def _view(self, connection: Any, row: CaseRow) -> CaseView:
        if row.customer_id is None:
            return CaseView.of(row)
        card = (await fact_store.cards_of(connection, [row.customer_id])).get(row.customer_id)
        return CaseView.of(row, None if card is None else summarise(card))

    async def _new_owner(self, connection: Any, text: str, row: CaseRow, now: datetime) -> dict[str, Any]:
        configurations = await self._casework.configurations(connection, now)
        # People change: a case that keeps its old rules can still be given to somebody new.
        configuration = configurations.latest
        ref: OwnerRef = read_ref(text)
        known = configuration.people if ref.kind == "person" else configuration.teams
        if ref.id not in known:
            detail = f"There is no such {ref.kind} in the routes file."
            raise Problem(422, detail=detail, errors=[{"pointer": "/owner", "detail": detail}])
        workload = Workload()
        if ref.kind == "team":
            workload = Workload(
                await log_store.last_picked(connection, {ref.id}), await case_store.open_cases(connection)
            )
            # Turns are taken among those whom the case could go to next, not back to where it is.
            workload.last_picked.setdefault(ref.id, row.owner_id)
        return {"owner": workload.choose(configuration, ref).as_body(), "to": text}

    def _check_repeat(self, done: LogEntry, row: CaseRow, kind: ActionKind, said: dict[str, Any]) -> None:
        same_case = done.case_id in row.triggers
        told = {name: value for name, value in done.body.items() if name not in ("action", "owner", "to")}
        asked = {name: value for name, value in said.items() if name != "owner"}
        same_owner = kind is not ActionKind.ASSIGN or done.body.get("to") == said.get("owner")
        if not (same_case and same_owner and done.body["action"] == kind and told == asked):
            raise Problem(
                422,
                detail="This Idempotency-Key was used for something else; a new action needs a new key.",
            )


def cases_router(database: Database, casework: Casework, now: Callable[[], datetime]) -> APIRouter:
    """Return the calls under `/v1/cases`."""
    router = APIRouter(prefix="/v1/cases", tags=["cases"])
    desk = CaseDesk(database, casework, now)

    @router.get("", summary="Cases, the newest first")
    async def cases(
        _: Reader,
        page: Paging,
        status: Annotated[str | None, Query(pattern=_STATUSES)] = None,
        owner: Annotated[str | None, Query(max_length=128, description="A person's id")] = None,
        route: Annotated[str | None, Query(max_length=63)] = None,
    ) -> Page[CaseView]:
        wanted = {"status": status, "owner_id": owner, "route": route}
        return await desk.page(page, {name: value for name, value in wanted.items() if value is not None})

    @router.get("/{case_id}", summary="One case")
    async def case(_: Reader, case_id: CaseId, response: Response) -> CaseView:
        return _tagged(response, await desk.show(case_id))

    @router.get("/{case_id}/history", summary="Who did what, when and why")
    async def history(_: Reader, case_id: CaseId) -> HistoryView:
        return await desk.history(case_id)

    for kind, schema in _ACTIONS.items():
        _add_action(router, desk, kind, schema)
    return router


_ACTIONS: dict[ActionKind, type[schemas.Body]] = {
    ActionKind.ACKNOWLEDGE: schemas.Acknowledge,
    ActionKind.CONTACT: schemas.Contact,
    ActionKind.ASSIGN: schemas.Assign,
    ActionKind.RESOLVE: schemas.Resolve,
    ActionKind.REOPEN: schemas.Reopen,
    ActionKind.NOTE: schemas.Note,
}


def _add_action(router: APIRouter, desk: CaseDesk, kind: ActionKind, schema: type[schemas.Body]) -> None:
    async def action(
        caller: Operator,
        case_id: CaseId,
        response: Response,
        key: IdempotencyKey,
        body: Any,
        *,
        if_match: IfMatch = None,
    ) -> CaseView:
        view = await desk.act(case_id, kind, body, caller=caller, if_match=if_match, key=key)
        return _tagged(response, view)

    # Calls without a required field may come without a body.
    needs_body = any(field.is_required() for field in schema.model_fields.values())
    action.__annotations__["body"] = Annotated[schema, Body(default_factory=None if needs_body else schema)]
    router.add_api_route(
        f"/{{case_id}}/{kind}",
        action,
        methods=["POST"],
        summary=(schema.__doc__ or "").strip(),
        name=str(kind),
        operation_id=f"{kind}_case",
    )


def _tagged(response: Response, view: CaseView) -> CaseView:
    response.headers["ETag"] = etag(view.version)
    return view
