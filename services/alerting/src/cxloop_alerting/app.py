"""The composition root: settings and files to handler, timers and API. Nothing else wires things."""

from datetime import timedelta

from cxloop_alerting import config_files
from cxloop_alerting.api import routers
from cxloop_alerting.casework import Casework
from cxloop_alerting.settings import AlertingSettings
from cxloop_alerting.store.configs import ConfigurationStore
from cxloop_alerting.timers import Timers
from cxloop_alerting.worker import TOPICS, CaseHandler
from cxloop_common.service import BackgroundTask, Components, ConfigurationError, Foundation, Service
from cxloop_common.topics import route_topic


def build(foundation: Foundation[AlertingSettings]) -> Components:
    """Wire the service. Raises ConfigurationError with every problem of both files."""
    settings = foundation.settings
    try:
        rules, routes = config_files.read_sources(settings.rules_file, settings.routes_file)
        configuration = config_files.parse(rules, routes)
    except config_files.FaultyFilesError as error:
        raise ConfigurationError(str(error)) from None
    for name, path in (("rules_file", settings.rules_file), ("routes_file", settings.routes_file)):
        if path is None:
            foundation.log.warning(
                "built_in_configuration", setting=name, hint="set it to decide for yourself"
            )
    # A transaction that ran beside ours has ended by then, one way or the other.
    settle_after = timedelta(seconds=settings.transaction_timeout_s + 1)
    casework = Casework(ConfigurationStore(rules, routes), foundation.names, settle_after)
    timers = Timers(foundation.database, casework, foundation.now, settings.timer_poll_s)
    handler = CaseHandler(casework, foundation.names, foundation.now)
    return Components(
        routers=routers(foundation.database, casework, foundation.now),
        processors=[foundation.processor(handler=handler, topics=TOPICS, name="alerting")],
        background=[BackgroundTask("timers", timers.run, role="worker")],
        topics=[route_topic(name) for name in configuration.route_names()],
    )


SERVICE = Service(
    name="alerting",
    title="CX Loop alerting",
    settings=AlertingSettings,
    migrations="cxloop_alerting.migrations",
    build=build,
)
