"""The demo as a newcomer runs it: embedded Kafka and PostgreSQL, four services, 300 webhooks, every figure."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from cxloop_cli.demo.command import SEED, service_environment
from cxloop_cli.demo.playing import Places, make_secrets
from cxloop_cli.demo.running import run
from cxloop_cli.demo.schedule import scenario
from cxloop_cli.environment import without_settings
from cxloop_cli.stack import Stack


@pytest.mark.timeout(600)
def test_the_demo_agrees_with_its_own_arithmetic_and_leaves_nothing_running(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CXLOOP_")}
    ran = subprocess.run(
        [sys.executable, "-m", "cxloop_cli", "demo", "--exit", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    said = ran.stderr.strip().splitlines()
    assert ran.returncode == 0, " | ".join(said[-8:])
    told = json.loads(ran.stdout)
    assert told["differences"] == []
    assert told["compared"] > 300
    assert 0 < told["ready_s"] < told["first_case_s"] < told["total_s"]
    assert (told["deliveries"], told["posted"], told["quarantined"]) == (300, 312, 3)
    assert {item["reason"] for item in told["quarantine"]} == {
        "broken_json",
        "invalid_utf8",
        "score_out_of_scale",
    }
    figures = {one["metric"]: one for side in ("service", "experience") for one in told["scorecard"][side]}
    assert figures["nps"]["status"] == "ok"
    assert figures["nps"]["ci_low"] < figures["nps"]["value"] < figures["nps"]["ci_high"]
    assert figures["first_response_time"]["n"] > 20
    assert len(told["customer"]["identifiers"]) == 4
    assert told["customer"]["timeline"][0]["kind"] == "survey_response"
    assert told["case"]["customer_id"] == told["customer"]["customer_id"]
    assert told["case"]["owner"]["name"] == "Mia Berg"
    assert told["alert"]["topic"] == "cxloop.alerts.v1"
    assert told["alert"]["value"]["case_id"] == told["case"]["case_id"]
    assert told["alert"]["headers"]["ce_type"] == "cxloop.alert.changed"
    folder = str(tmp_path)
    left = [process for process in psutil.process_iter(["cmdline"]) if folder in str(process.info["cmdline"])]
    assert left == []


@pytest.mark.timeout(600)
def test_every_figure_agrees_although_every_service_is_killed_meanwhile(tmp_path: Path) -> None:
    secrets = make_secrets()
    told = scenario(SEED, datetime.now(UTC).replace(microsecond=0))
    services = ("scoring", "ingest", "journey", "alerting")
    # A killed worker's partitions come back when its session ends; the default is right, and long for a test.
    sessions = {f"CXLOOP_{service.upper()}_SESSION_TIMEOUT_S": "6" for service in services}
    with without_settings(), Stack(tmp_path, env={**service_environment(secrets), **sessions}) as stack:
        waiting = iter(services)
        said: list[str] = []

        def kill_one(words: str) -> None:
            said.append(words)
            if len(said) % 50 == 0 and (service := next(waiting, None)) is not None:
                stack.kill(service)

        places = Places(stack.urls, stack.headers, stack.bootstrap)
        ended = asyncio.run(run(told, places, secrets, kill_one))
        assert next(waiting, None) is None
    assert ended.comparison.differences == []
    assert ended.comparison.compared > 300
