import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cxloop_cli.__main__ import app
from cxloop_cli.demo.command import CONFIG, service_environment
from cxloop_cli.demo.playing import make_secrets
from cxloop_common.topics import TopicNames
from cxloop_embedded.ports import choose

SOURCES = str(CONFIG / "sources.yaml")


@dataclass
class Running:
    """An ingest service in a process of its own, and the secrets it knows."""

    url: str
    environment: dict[str, str]

    def send(self, *arguments: str, body: bytes | None = None) -> tuple[int, str]:
        options = ["--sources", SOURCES, "--ingest-url", self.url]
        ran = CliRunner().invoke(app, ["send", *arguments, *options], env=self.environment, input=body)
        return ran.exit_code, ran.output


@pytest.fixture
def ingest(kafka: str, database_url: str, topic_names: TopicNames, tmp_path: Path) -> Generator[Running]:
    port = choose(purpose="ingest of a test")
    given = service_environment(make_secrets())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CXLOOP_")},
        **given,
        "CXLOOP_KAFKA_BOOTSTRAP": kafka,
        "CXLOOP_DATABASE_URL": database_url,
        "CXLOOP_TOPIC_PREFIX": topic_names.prefix,
        "CXLOOP_PARTITIONS": "2",
        "CXLOOP_INGEST_PORT": str(port),
    }
    module = [sys.executable, "-m", "cxloop_ingest", "--role"]
    subprocess.run([*module, "migrate"], env=environment, check=True, capture_output=True)  # noqa: S603 our module
    with (
        (tmp_path / "ingest.log").open("wb") as log,
        subprocess.Popen([*module, "api"], env=environment, stdout=log, stderr=log) as running,  # noqa: S603 as above
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url, running, tmp_path / "ingest.log")
            yield Running(url, given)
        finally:
            running.terminate()


def wait_ready(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(log.read_text())


def test_what_is_sent_is_taken_and_the_same_again_has_the_same_id(ingest: Running, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"event_type": "survey_response.created", "event_data": {"id": "1", "score": 9}}')
    code, first = ingest.send(str(body), "--source", "delighted")
    assert code == 0, first
    status, _, identity = first.strip().partition(" ")
    assert status == "202"
    assert ingest.send(str(body), "--source", "delighted")[1] == first
    for source in ("zendesk", "shop"):
        code, output = ingest.send("-", "--source", source, "--json", body=body.read_bytes())
        assert code == 0, output
        assert json.loads(output)["answer"]["delivery_id"] != identity


def test_a_refused_body_ends_in_1_with_the_reason(ingest: Running, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text("{}")
    ingest.environment["CXLOOP_SECRET_DELIGHTED"] = "another secret"
    code, output = ingest.send(str(body), "--source", "delighted")
    assert code == 1
    assert output.startswith("401 ")
    code, output = ingest.send(str(body), "--source", "zendesk", "--content-type", "text/csv", "--json")
    assert (code, json.loads(output)["status"]) == (1, 415)


def test_nobody_there_ends_in_3_and_a_mistake_here_in_2(tmp_path: Path) -> None:
    nobody = Running("http://127.0.0.1:1", service_environment(make_secrets()))
    body = tmp_path / "body.json"
    body.write_text("{}")
    code, output = nobody.send(str(body), "--source", "shop")
    assert (code, "no answer" in output) == (3, True)
    code, output = nobody.send(str(body), "--source", "shopp")
    assert (code, "zendesk, delighted, shop" in output) == (2, True)
    assert nobody.send(str(tmp_path / "none.json"), "--source", "shop")[0] == 2
    nobody.environment["CXLOOP_SECRET_SHOP"] = ""
    code, output = nobody.send(str(body), "--source", "shop")
    assert (code, "CXLOOP_SECRET_SHOP" in output) == (2, True)
