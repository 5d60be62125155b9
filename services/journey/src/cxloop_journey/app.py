"""The composition root: settings to key, worker, evaluator and API. Nothing else wires things."""

from cxloop_common.service import BackgroundTask, Components, ConfigurationError, Foundation, Service
from cxloop_journey.api import CustomersApi
from cxloop_journey.evaluator import Evaluator
from cxloop_journey.settings import JourneySettings
from cxloop_journey.store.identity_key import DeploymentKey
from cxloop_journey.worker import TOPICS, JourneyHandler


def build(foundation: Foundation[JourneySettings]) -> Components:
    """Wire the parts of the service. Raises ConfigurationError for an identity key that cannot be read."""
    settings = foundation.settings
    try:
        configured = settings.configured_identity_key()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"CXLOOP_JOURNEY_IDENTITY_KEY_FILE: {error}") from error
    key = DeploymentKey(foundation.database, configured)
    evaluator = Evaluator(
        foundation.database,
        foundation.names,
        foundation.now,
        customers=settings.evaluator_customers,
        idle_s=settings.evaluator_idle_s,
        stage_check_s=settings.stage_check_s,
    )
    handler = JourneyHandler(foundation.names, key, foundation.telemetry.count)
    return Components(
        routers=[CustomersApi(foundation.database, key, foundation.now).router()],
        processors=[foundation.processor(handler=handler, topics=TOPICS)],
        background=[BackgroundTask("evaluator", evaluator.run)],
        readiness={"identity_key": key.readiness},
    )


SERVICE = Service(
    name="journey",
    title="CX Loop journey",
    settings=JourneySettings,
    migrations="cxloop_journey.migrations",
    build=build,
)
