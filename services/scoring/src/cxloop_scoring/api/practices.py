"""Which numbers look made, and what contacts cost."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from cxloop_common.http import parameter_problem
from cxloop_scoring.api.asking import ScoringApi
from cxloop_scoring.api.parameters import Asked, Shared
from cxloop_scoring.domain.cost import CostLine, cost_lines, total
from cxloop_scoring.domain.gaming import merged_away, picked_surveys, top_scores
from cxloop_scoring.domain.metrics import CATALOGUE
from cxloop_scoring.domain.questions import Population
from cxloop_scoring.findings import CostsOut, GamingOut, cost_out, suspicions_out
from cxloop_scoring.store.costing import contacts, handled
from cxloop_scoring.store.gaming import SCORED, AgentRows, agent_rows

_CONTACTS: Final = CATALOGUE["repeat_contact_rate"]
"""Stands for the rows that are read; they are of several metrics."""


def _transactional(asked: Asked) -> Asked:
    if asked.population is not Population.TRANSACTIONAL:
        raise parameter_problem("population", "only nps has a relationship population")
    return asked


def practice_routes(api: ScoringApi) -> APIRouter:
    """Give the routes."""
    router = APIRouter(tags=["analyses"])

    @router.get("/gaming", response_model=GamingOut)
    async def gaming(shared: Shared) -> Any:  # pyright: ignore[reportUnusedFunction]
        """Look for agents whose numbers look made: begged top scores, picked surveys, merges that hide reopenings."""
        asked = _transactional(api.asked(shared))
        rows = AgentRows({}, {name: {} for name in SCORED}, {})
        async with api.snapshot() as snapshot:
            reading = await api.rows_that_meet(snapshot, asked.question(_CONTACTS))
            if reading is not None:
                rows = await agent_rows(reading)
        return GamingOut.model_validate(
            {
                **asked.frame(),
                "top_scores": {
                    name: suspicions_out(top_scores(rows.scores.get(name, {}), top))
                    for name, (_, top) in SCORED.items()
                },
                "picked_surveys": suspicions_out(picked_surveys(rows.surveyed)),
                "merged_away": suspicions_out(merged_away(rows.reopened)),
            }
        )

    @router.get("/cost", response_model=CostsOut)
    async def cost(  # pyright: ignore[reportUnusedFunction]
        shared: Shared, by: Annotated[str | None, Query(description="The dimension, such as team")] = None
    ) -> Any:
        """Give what contacts cost, and what of it was repeated or avoidable, by group and channel."""
        asked, costs = _transactional(api.asked(shared)), api.rules().costs
        lines: list[CostLine] = []
        async with api.snapshot(by) as snapshot:
            reading = await api.rows_that_meet(snapshot, asked.question(_CONTACTS, by=by))
            if reading is not None:
                lines = cost_lines(await contacts(reading), await handled(reading), costs)
        whole = CostLine(
            None,
            None,
            sum(line.contacts for line in lines),
            sum(line.repeated for line in lines),
            sum(line.avoidable for line in lines),
            worked_ms=sum(line.worked_ms for line in lines),
        )
        amounts = total(lines)
        whole.contact_cost, whole.repeated_cost = amounts["contact_cost"], amounts["repeated_cost"]
        whole.avoidable_cost, whole.handle_cost = amounts["avoidable_cost"], amounts["handle_cost"]
        for line in lines:
            for kind, n in line.avoidable_types.items():
                whole.avoidable_types[kind] = whole.avoidable_types.get(kind, 0) + n
        return CostsOut.model_validate(
            {
                **asked.frame(),
                "by": by,
                "currency": costs.currency,
                "items": [cost_out(line) for line in lines],
                "total": cost_out(whole),
            }
        )

    return router
