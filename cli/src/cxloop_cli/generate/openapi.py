"""OpenAPI of each service, taken from the application that would run: nothing connects while it is built."""

from importlib import import_module
from typing import Any, Final

from cxloop_cli.environment import without_settings
from cxloop_common.service import Service, make_app, make_foundation
from cxloop_common.settings import ServiceSettings
from cxloop_common.telemetry import configure_logging
from cxloop_common.topics import SERVICES

FOLDER: Final = "openapi"
NOWHERE_KAFKA: Final = "127.0.0.1:1"
NOWHERE_DATABASE: Final = "postgresql://nobody@127.0.0.1:1/nothing"


def service_named(name: str) -> Service[Any]:
    """Import a service's composition root."""
    service: Service[Any] = import_module(f"cxloop_{name}.app").SERVICE
    return service


def openapi(service: Service[Any]) -> dict[str, Any]:
    """Give a service's OpenAPI document, independent of the environment this runs in."""
    configure_logging("generate", "error")  # what a service would say of its built-in configuration
    with without_settings():
        settings: ServiceSettings = service.settings(
            kafka_bootstrap=NOWHERE_KAFKA, database_url=NOWHERE_DATABASE
        )
        return make_app(service, make_foundation(service, settings), "all").openapi()


def services() -> dict[str, Service[Any]]:
    """Import all four services."""
    return {name: service_named(name) for name in SERVICES}
