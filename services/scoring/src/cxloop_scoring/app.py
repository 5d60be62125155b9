"""The composition root: nothing else wires things."""

import asyncio
from datetime import timedelta

from prometheus_client import Counter

from cxloop_common.service import BackgroundTask, Components, Foundation, Service
from cxloop_common.topics import JOURNEYS, SCORING_LINKS, SURVEYS, TICKETS
from cxloop_scoring.api import ScoringApi, routes
from cxloop_scoring.identities import IdentityHandler
from cxloop_scoring.settings import ScoringSettings
from cxloop_scoring.store.explaining import Explanations
from cxloop_scoring.store.months import make_months
from cxloop_scoring.store.questions import Questions
from cxloop_scoring.worker import ScoringHandler


def build(foundation: Foundation[ScoringSettings]) -> Components:
    """Wire worker, API and the ledger's months."""
    settings = foundation.settings
    conflicting = Counter(
        "cxloop_scoring_conflicting_events",
        "Contents that lost against another one under the same event id",
        registry=foundation.telemetry.registry,
    )
    handler = ScoringHandler(foundation.database, foundation.names, foundation.now, conflicting)
    api = ScoringApi(
        Questions(foundation.database),
        Explanations(foundation.database),
        foundation.now,
        timedelta(seconds=settings.transaction_timeout_s),
        settings.series_points,
    )

    async def keep_months() -> None:
        while True:
            made = await make_months(foundation.database, foundation.now())
            if made:
                foundation.log.info("ledger_months_made", months=made)
            await asyncio.sleep(settings.months_check_s)

    return Components(
        routers=[routes(api)],
        processors=[
            foundation.processor(handler=handler, topics=[TICKETS, SURVEYS, SCORING_LINKS]),
            foundation.processor(
                handler=IdentityHandler(foundation.now), topics=[JOURNEYS], name="scoring-identities"
            ),
        ],
        background=[BackgroundTask("ledger-months", keep_months)],
    )


SERVICE = Service(
    name="scoring",
    title="CX Loop scoring",
    settings=ScoringSettings,
    migrations="cxloop_scoring.migrations",
    build=build,
)
