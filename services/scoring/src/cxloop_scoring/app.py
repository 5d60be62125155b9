"""The composition root: nothing else wires things."""

import asyncio
from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from cxloop_common.configuration.reading import FaultyFilesError
from cxloop_common.service import BackgroundTask, Components, ConfigurationError, Foundation, Service
from cxloop_common.topics import ALERTS, JOURNEYS, SCORING_LINKS, SURVEYS, TICKETS, TOUCHPOINTS
from cxloop_scoring.api import Limits, ScoringApi, routes
from cxloop_scoring.domain.clocks import ClockAnomaly
from cxloop_scoring.generations import RulesInForce, own_files
from cxloop_scoring.identities import IdentityHandler
from cxloop_scoring.publishing import MetricPublisher
from cxloop_scoring.settings import ScoringSettings
from cxloop_scoring.store.explaining import Explanations
from cxloop_scoring.store.months import end_months, make_months
from cxloop_scoring.store.questions import Questions
from cxloop_scoring.store.scales import contradicting_scales
from cxloop_scoring.worker import Counters, ScoringHandler

_LOOK_EVERY_S: Final = 60.0
"""Between two looks at what other processes may have brought: a configuration, a scale."""


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
    """Wire worker, API and what keeps the ledger. Raises ConfigurationError with every problem of both files."""
    settings = foundation.settings
    try:
        rules = RulesInForce(foundation.database, own_files(settings))
    except FaultyFilesError as error:
        raise ConfigurationError(str(error)) from None
    registry = foundation.telemetry.registry
    handler = ScoringHandler(
        foundation.database, foundation.names, foundation.now, rules, _counters(registry)
    )
    questions = Questions(foundation.database)
    limits = Limits(
        transaction_timeout=timedelta(seconds=settings.transaction_timeout_s),
        series_points=settings.series_points,
        retention=timedelta(days=settings.retention_days),
    )
    api = ScoringApi(questions, Explanations(questions), foundation.now, limits, lambda: rules.known)

    publisher = MetricPublisher(
        foundation.database, foundation.names, foundation.now, lambda: rules.known, settings.snapshot_s
    )

    contradicting = Gauge(
        "cxloop_scoring_contradicting_scales",
        "Surveys whose answers in one metric came by more than one scale",
        registry=registry,
    )

    async def keep_months() -> None:
        while True:
            made = await make_months(foundation.database, foundation.now(), settings.retention_days)
            if made:
                foundation.log.info("ledger_months_made", months=made)
            ended = await end_months(foundation.database, foundation.now(), settings.retention_days)
            if any(ended):
                foundation.log.info("ledger_months_ended", **ended._asdict())
            await asyncio.sleep(settings.months_check_s)

    async def keep_rules() -> None:
        while True:
            await rules.renew()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def count_scales() -> None:
        while True:
            pool = await foundation.database.pool()
            async with pool.acquire() as connection:
                contradicting.set(await contradicting_scales(connection))
            await asyncio.sleep(_LOOK_EVERY_S)

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
        background=[
            BackgroundTask("ledger-months", keep_months),
            BackgroundTask("rules-in-force", keep_rules, "all"),
            BackgroundTask("contradicting-scales", count_scales),
            BackgroundTask("metric-publisher", publisher.run),
        ],
    )


SERVICE = Service(
    name="scoring",
    title="CX Loop scoring",
    settings=ScoringSettings,
    migrations="cxloop_scoring.migrations",
    build=build,
)
