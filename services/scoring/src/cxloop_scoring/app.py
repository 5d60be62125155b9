"""The composition root: nothing else wires things."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter

from cxloop_common.service import BackgroundTask, Components, Foundation, Service
from cxloop_common.topics import ALERTS, JOURNEYS, SCORING_LINKS, SURVEYS, TICKETS, TOUCHPOINTS
from cxloop_scoring.api import Limits, ScoringApi, routes
from cxloop_scoring.domain.clocks import ClockAnomaly
from cxloop_scoring.domain.metrics import GENERATION
from cxloop_scoring.domain.rules import DEFAULT_RULES
from cxloop_scoring.identities import IdentityHandler
from cxloop_scoring.settings import ScoringSettings
from cxloop_scoring.store.explaining import Explanations
from cxloop_scoring.store.months import make_months
from cxloop_scoring.store.questions import Questions
from cxloop_scoring.worker import Counters, ScoringHandler


def _counters(registry: CollectorRegistry) -> Counters:
    anomalies = Counter(
        "cxloop_scoring_clock_anomalies",
        "Documents whose times contradict themselves, counted when that is first seen",
        ["reason"],
        registry=registry,
    )
    for reason in ClockAnomaly:
        anomalies.labels(reason)
    return Counters(
        conflicting=Counter(
            "cxloop_scoring_conflicting_events",
            "Contents that lost against another one under the same event id",
            registry=registry,
        ),
        anomalies=anomalies,
        values=Counter(
            "cxloop_scoring_new_dimension_values",
            "Dimension values that were never seen before",
            ["dimension"],
            registry=registry,
        ),
    )


def build(foundation: Foundation[ScoringSettings]) -> Components:
    """Wire worker, API and the ledger's months."""
    settings = foundation.settings
    rules = replace(DEFAULT_RULES, generation=GENERATION)
    handler = ScoringHandler(
        foundation.database, foundation.names, foundation.now, rules, _counters(foundation.telemetry.registry)
    )
    questions = Questions(foundation.database)
    limits = Limits(
        transaction_timeout=timedelta(seconds=settings.transaction_timeout_s),
        series_points=settings.series_points,
        retention=timedelta(days=settings.retention_days),
    )
    api = ScoringApi(questions, Explanations(questions), foundation.now, limits, lambda: rules)

    async def keep_months() -> None:
        while True:
            made = await make_months(foundation.database, foundation.now())
            if made:
                foundation.log.info("ledger_months_made", months=made)
            await asyncio.sleep(settings.months_check_s)

    return Components(
        routers=[routes(api)],
        processors=[
            foundation.processor(
                handler=handler, topics=[TICKETS, SURVEYS, SCORING_LINKS, TOUCHPOINTS, ALERTS]
            ),
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
