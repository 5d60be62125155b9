"""HTTP: parameters to questions, sums to answers. Nothing here decides what a metric means."""

from fastapi import APIRouter, Depends

from cxloop_common.http import require
from cxloop_common.security import Scope
from cxloop_scoring.api.analyses import analysis_routes
from cxloop_scoring.api.asking import ScoringApi
from cxloop_scoring.api.documents import document_routes
from cxloop_scoring.api.explaining import explaining_routes
from cxloop_scoring.api.metrics import metric_routes
from cxloop_scoring.api.parameters import Limits
from cxloop_scoring.api.practices import practice_routes

__all__ = ["Limits", "ScoringApi", "routes"]


def routes(api: ScoringApi) -> APIRouter:
    """Give the routes of the service."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(require(Scope.READ))])
    for part in (
        metric_routes(api),
        explaining_routes(api),
        analysis_routes(api),
        practice_routes(api),
        document_routes(api),
    ):
        router.include_router(part)
    return router
