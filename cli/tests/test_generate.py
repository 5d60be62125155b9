import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxloop_cli.__main__ import app
from cxloop_cli.generate.asyncapi import asyncapi
from cxloop_cli.generate.compatibility import breaking_changes
from cxloop_cli.generate.schemas import schemas
from cxloop_cli.generate.settings_tables import END, START, MarkerError, with_settings
from cxloop_common.settings import ServiceSettings
from cxloop_common.topics import TOPICS

SURVEY = "docs/generated/schemas/cxloop.surveys.v1/cxloop.survey.responded.json"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `cxloop generate` writes into an empty checkout whose scoring README has the markers."""
    root = tmp_path_factory.mktemp("generated")
    checkout(root)
    ran = CliRunner().invoke(app, ["generate", "--root", str(root)])
    assert ran.exit_code == 0, ran.output
    return {file.relative_to(root).as_posix(): file.read_text() for file in root.rglob("*") if file.is_file()}


def checkout(root: Path) -> None:
    (root / "services" / "scoring").mkdir(parents=True)
    (root / "libs" / "common").mkdir(parents=True)
    (root / "services/scoring/README.md").write_text(f"# Scoring\n\n{START}\nold\n{END}\n\nAfter.\n")


@pytest.fixture
def root(tmp_path: Path, generated: dict[str, str]) -> Path:
    for path, text in generated.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "libs" / "common").mkdir(parents=True)
    return tmp_path


def check(root: Path, *options: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, ["generate", "--root", str(root), *options])
    return ran.exit_code, ran.output


def test_every_service_topic_and_event_is_described(generated: dict[str, str]) -> None:
    for service in ("ingest", "scoring", "journey", "alerting"):
        assert "/v1/" in generated[f"docs/generated/openapi/{service}.json"]
    assert "/webhooks/{source}" in json.loads(generated["docs/generated/openapi/ingest.json"])["paths"]
    document = json.loads(generated["docs/generated/asyncapi.json"])
    for topic in TOPICS:
        assert any(channel["address"] == topic.name for channel in document["channels"].values())
        assert f"name: {topic.name}\n" in generated["deploy/topics/topics.yaml"]
        for event in topic.events:
            assert f"docs/generated/schemas/{topic.name}/{event.TYPE}.json" in generated


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document, known = asyncapi("1"), schemas()
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert len(references) > len(TOPICS)
    for reference in references:
        if reference.startswith("./"):
            assert reference.removeprefix("./") in known
            continue
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_the_attributes_of_an_event_are_headers_and_no_part_of_its_value() -> None:
    ticket = schemas()["schemas/cxloop.tickets.v1/cxloop.ticket.created.json"]
    assert not {"id", "source", "time", "type"} & ticket["properties"].keys()
    assert "subject" in ticket["properties"], "a ticket's own subject line is data"
    assert ticket["required"] == ["ticket_id"]


def test_the_settings_table_stands_between_the_markers_and_nothing_else_changes(
    generated: dict[str, str],
) -> None:
    readme = generated["services/scoring/README.md"]
    assert readme.startswith(f"# Scoring\n\n{START}\n| Variable |")
    assert readme.endswith(f"|\n{END}\n\nAfter.\n")
    assert "CXLOOP_SCORING_PORT" in readme
    assert "old" not in readme.split(END)[1]
    assert with_settings("no markers", ServiceSettings) is None
    with pytest.raises(MarkerError):
        with_settings(f"{END} {START}", ServiceSettings)


def test_another_process_and_environment_generate_the_same_bytes(root: Path) -> None:
    ran = subprocess.run(  # noqa: S603 our command
        [sys.executable, "-m", "cxloop_cli", "generate", "--check", "--root", str(root)],
        env={
            **os.environ,
            "PYTHONHASHSEED": "4711",
            "CXLOOP_INGEST_SOURCES_FILE": "/nowhere",
            "CXLOOP_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "CXLOOP_LOG_LEVEL": "no such level",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "current" in ran.stdout


def test_check_names_what_differs_is_missing_or_stale_and_writes_nothing(root: Path) -> None:
    changed, missing, stale = (
        root / "docs/generated/openapi/ingest.json",
        root / "deploy/topics/topics.yaml",
        root / "docs/generated/openapi/gone.json",
    )
    changed.write_text("{}")
    missing.unlink()
    stale.write_text("{}")
    code, output = check(root, "--check")
    assert code == 1
    assert "differs  docs/generated/openapi/ingest.json" in output
    assert "missing  deploy/topics/topics.yaml" in output
    assert "stale    docs/generated/openapi/gone.json" in output
    assert (changed.read_text(), missing.exists(), stale.exists()) == ("{}", False, True)
    assert check(root)[0] == 0
    assert check(root, "--check")[0] == 0
    assert not stale.exists()


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_a_field_that_was_there_before_may_not_go(root: Path, options: list[str]) -> None:
    committed = json.loads((root / SURVEY).read_text())
    committed["properties"]["mood"] = {"type": "string"}
    (root / SURVEY).write_text(json.dumps(committed))
    code, output = check(root, *options)
    assert code == 1
    assert f"{SURVEY}: mood: was removed" in output
    assert "mood" in (root / SURVEY).read_text()


def test_an_event_that_was_there_before_may_not_go(root: Path) -> None:
    gone = "docs/generated/schemas/cxloop.surveys.v1/cxloop.survey.opened.json"
    (root / gone).write_text("{}")
    code, output = check(root, "--check")
    assert code == 1
    assert f"{gone}: the event was removed" in output


def test_outside_of_a_checkout_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["generate"])
    assert ran.exit_code == 2
    assert "checkout" in ran.output


OLD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "maxLength": 10},
        "n": {"type": "integer", "minimum": 0},
        "band": {"enum": ["low", "high"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "scale": {"$ref": "#/$defs/Scale"},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]},
        "names": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["id", "scale"],
    "$defs": {"Scale": {"type": "object", "properties": {"min": {"type": "number"}}, "required": ["min"]}},
}


def changed(**properties: Any) -> dict[str, Any]:
    return {**OLD, "properties": {**OLD["properties"], **properties}}


@pytest.mark.parametrize(
    ("title", "new"),
    [
        ("a new field", changed(more={"type": "string"})),
        ("a longer text", changed(id={"type": "string", "maxLength": 20})),
        ("a text without bound", changed(id={"type": "string"})),
        ("whole numbers become any", changed(n={"type": "number", "minimum": 0})),
        ("another choice", changed(band={"enum": ["low", "middle", "high"]})),
        ("null besides", changed(n={"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]})),
        ("the reference written out", changed(scale=OLD["$defs"]["Scale"])),
    ],
)
def test_growing_is_allowed(title: str, new: dict[str, Any]) -> None:
    assert breaking_changes(OLD, new) == [], title


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({**OLD, "required": ["id", "scale", "n"]}, "n: became required"),
        ({**OLD, "required": ["id"]}, "scale: is no longer always there"),
        (changed(id={"type": "string", "maxLength": 5}), "id: maxLength was lowered"),
        (changed(id={"type": "string", "maxLength": 10, "pattern": "a"}), "id: pattern was changed"),
        (changed(id={"type": "integer"}), "id: no longer takes string"),
        (changed(n={"type": "integer", "minimum": 1}), "n: minimum was raised"),
        (changed(band={"const": "low"}), 'band: no longer takes "high"'),
        (changed(band={"type": "string", "enum": ["low", "high"]}), "band: no longer takes anything"),
        (changed(note={"type": "string"}), "note: no longer takes null"),
        (changed(tags={"type": "array", "items": {"type": "integer"}}), "tags[]: no longer takes string"),
        (
            changed(pair={"type": "array", "prefixItems": [{"type": "integer"}]}),
            "pair: has 1 places instead of 2",
        ),
        (
            changed(names={"type": "object", "additionalProperties": False}),
            "names: additionalProperties was narrowed",
        ),
        (
            {**OLD, "$defs": {"Scale": {"type": "object", "properties": {}, "required": []}}},
            "scale.min: was removed",
        ),
    ],
)
def test_taking_away_is_named(new: dict[str, Any], said: str) -> None:
    assert said in breaking_changes(OLD, new)


def test_a_schema_that_refers_to_itself_is_compared_and_ends() -> None:
    tree: dict[str, Any] = {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    assert breaking_changes(tree, tree) == []
