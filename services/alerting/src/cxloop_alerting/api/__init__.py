"""The HTTP API: it translates requests and answers, and decides nothing."""

from collections.abc import Callable, Sequence
from datetime import datetime

from fastapi import APIRouter

from cxloop_alerting.api.cases import cases_router
from cxloop_alerting.api.configuration import configuration_router
from cxloop_alerting.casework import Casework
from cxloop_common.database import Database

__all__ = ["routers"]


def routers(database: Database, casework: Casework, now: Callable[[], datetime]) -> Sequence[APIRouter]:
    """Return the routers of the service."""
    return [cases_router(database, casework, now), configuration_router(database, casework, now)]
