"""Single documents: responses and tickets as they stand."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from cxloop_common.http import Problem
from cxloop_scoring.api.asking import ScoringApi
from cxloop_scoring.cards import response_card, ticket_card
from cxloop_scoring.domain.documents import document_of
from cxloop_scoring.store.explaining import HeldDocument, LedgerRow


def document_routes(api: ScoringApi) -> APIRouter:
    """Give the routes."""
    router = APIRouter(tags=["metrics"])

    async def held(kind: str, text: str) -> tuple[HeldDocument, list[LedgerRow]]:
        found = await api.explanations.document(_candidates(kind, text))
        if found is None:
            raise Problem(
                404,
                detail=f"No {kind} of this id is known. Write {kind}:<source>:<id>, percent-encoded, "
                "or <source>:<id>.",
            )
        return found

    @router.get("/responses/{response_id:path}")
    async def response(response_id: str) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Give a response: its score, its observations, its revision, and scales that contradict its own."""
        found, rows = await held("response", response_id)
        others = await api.explanations.other_scales(found)
        return response_card(found, api.rules(), rows, others)

    @router.get("/tickets/{ticket_id:path}")
    async def ticket(ticket_id: str) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Give a ticket: its clocks, cycles and targets, its observations and its revision."""
        found, rows = await held("ticket", ticket_id)
        return ticket_card(found, api.rules(), api.now(), rows)

    return router


def _candidates(kind: str, text: str) -> Sequence[str]:
    """Read `<kind>:<source>:<id>` as it stands or with an id that is not percent-encoded, or `<source>:<id>`."""
    found = [text]
    whole = text.removeprefix(f"{kind}:")
    for spelling in (whole, text):
        source, colon, object_id = spelling.partition(":")
        if colon and source and object_id:
            found.append(document_of(kind, source, object_id))
    return list(dict.fromkeys(found))
