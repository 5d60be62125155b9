"""What `docker-compose.yml` promises the services: settings they know, and migrations before they start."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cxloop_alerting.app import SERVICE as ALERTING
from cxloop_common.service import Service
from cxloop_common.settings import load_settings
from cxloop_ingest.app import SERVICE as INGEST
from cxloop_journey.app import SERVICE as JOURNEY
from cxloop_scoring.app import SERVICE as SCORING

ROOT = Path(__file__).parents[2]
INTERPOLATED = re.compile(r"\$\{[^}]*\}")
SERVICES: list[Service[Any]] = [INGEST, SCORING, JOURNEY, ALERTING]


@pytest.fixture(scope="module")
def compose() -> Any:
    reader: Any = YAML(typ="safe")
    return reader.load((ROOT / "docker-compose.yml").read_text())


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_variable_of_a_container_is_a_setting_of_its_service(
    compose: Any, service: Service[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = compose["services"][service.name]["environment"]
    for name in ("CXLOOP_KAFKA_BOOTSTRAP", "CXLOOP_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, INTERPOLATED.sub("x", str(value)))
    monkeypatch.setenv("CXLOOP_API_TOKENS", "[]")
    settings = load_settings(service.settings)
    assert settings.host == "0.0.0.0"  # noqa: S104  # inside a container; published on loopback
    assert settings.worker_slot == 0


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_starts_only_after_its_migrations(compose: Any, service: Service[Any]) -> None:
    waits_for = compose["services"][service.name]["depends_on"]
    assert waits_for[f"migrate-{service.name}"] == {"condition": "service_completed_successfully"}
    assert compose["services"][f"migrate-{service.name}"]["command"] == ["--role", "migrate"]


def test_ports_are_published_on_loopback_only(compose: Any) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
