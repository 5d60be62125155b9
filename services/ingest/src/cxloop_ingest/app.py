"""The composition root: nothing else wires things."""

import asyncio
from datetime import timedelta

from cxloop_common.http import ServiceApp
from cxloop_common.service import BackgroundTask, Components, Foundation, Service
from cxloop_common.topics import DELIVERIES
from cxloop_ingest import store
from cxloop_ingest.api.delivery_log import DeliveryLog
from cxloop_ingest.api.events import events_router
from cxloop_ingest.api.intake import OPERATION, Intake
from cxloop_ingest.api.quarantine import quarantine_router
from cxloop_ingest.api.records import records_router
from cxloop_ingest.configuration import SourceRegistry
from cxloop_ingest.domain.breaker import Breaker
from cxloop_ingest.settings import IngestSettings
from cxloop_ingest.worker import Normaliser


def build(foundation: Foundation[IngestSettings]) -> Components:
    """Wire the service. Raises ConfigurationError where sources.yaml is wrong."""
    settings = foundation.settings
    registry = SourceRegistry(
        settings.sources_file, foundation.telemetry.registry, poll_s=settings.sources_poll_s
    )
    topic = foundation.names.name(DELIVERIES)
    log = DeliveryLog(
        foundation.producer,
        Breaker(cooldown_s=settings.breaker_cooldown_s, stall_s=settings.breaker_stall_s),
        timeout_s=settings.produce_timeout_s,
    )
    intake = Intake(
        sources=lambda: registry.current,
        log=log,
        topic=topic,
        now=foundation.now,
        telemetry=foundation.telemetry,
        limit=settings.max_request_bytes,
        deadline_s=settings.receive_deadline_s,
    )

    def configure(app: ServiceApp) -> None:
        app.add_hot_route("/webhooks/{source}", intake.webhook, operation=OPERATION)

    async def prune() -> None:
        while True:
            before = foundation.now() - timedelta(days=settings.retention_days)
            pool = await foundation.database.pool()
            pruned = 1
            while pruned:
                async with pool.acquire() as connection, connection.transaction():
                    pruned = await store.prune(connection, before)
            await asyncio.sleep(settings.prune_interval_s)

    return Components(
        routers=(
            events_router(
                log=log,
                topic=topic,
                now=foundation.now,
                limit=settings.max_request_bytes,
                deadline_s=settings.receive_deadline_s,
                registry=foundation.telemetry.registry,
            ),
            quarantine_router(database=foundation.database, log=log, topic=topic),
            records_router(
                database=foundation.database,
                now=foundation.now,
                sources=lambda: registry.current,
            ),
        ),
        processors=(
            foundation.processor(
                handler=Normaliser(foundation.names, lambda: registry.current, foundation.telemetry),
                topics=[DELIVERIES],
            ),
        ),
        background=(
            BackgroundTask("sources", registry.run, "all"),
            BackgroundTask("prune", prune, "worker"),
        ),
        configure=configure,
    )


SERVICE = Service(
    name="ingest",
    title="CX Loop ingest",
    settings=IngestSettings,
    migrations="cxloop_ingest.migrations",
    build=build,
)
