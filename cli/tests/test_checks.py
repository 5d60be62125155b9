import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxloop_cli.__main__ import app
from cxloop_cli.demo.command import CONFIG, service_environment
from cxloop_cli.demo.playing import make_secrets

EXAMPLES = Path(__file__).parents[2] / "deploy/config"
METRICS = [str(EXAMPLES / "metrics.yaml"), str(EXAMPLES / "calendars.yaml")]
RIGHT = [str(CONFIG / "rules.yaml"), str(CONFIG / "routes.yaml")]


def run(*arguments: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, arguments)
    return ran.exit_code, ran.output


def test_right_sources_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in service_environment(make_secrets()).items():
        monkeypatch.setenv(name, value)
    code, output = run("sources", "check", str(CONFIG / "sources.yaml"))
    assert (code, "3 sources (zendesk, delighted, shop)" in output) == (0, True)
    code, output = run("sources", "check", str(CONFIG / "sources.yaml"), "--json")
    assert json.loads(output)["sources"] == ["zendesk", "delighted", "shop"]


def test_a_missing_secret_is_a_fault_unless_secrets_are_left_out() -> None:
    code, output = run("sources", "check", str(CONFIG / "sources.yaml"))
    assert code == 1
    assert "sources.yaml:6:" in output
    assert "CXLOOP_SECRET_ZENDESK is not set" in output
    assert run("sources", "check", str(CONFIG / "sources.yaml"), "--no-secrets")[0] == 0


def test_faults_of_sources_come_with_file_line_column_and_field(tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text("sources:\n  shop: { sender: zendesc, verify: none }\n  bad: { sender: delighted }\n")
    code, output = run("sources", "check", str(file), "--json")
    report = json.loads(output)
    assert (code, report["ok"], len(report["problems"])) == (1, False, 2)
    assert report["problems"][0] | {"message": ""} == {
        "file": str(file),
        "line": 2,
        "column": report["problems"][0]["column"],
        "field": "sources.shop.sender",
        "message": "",
    }
    code, output = run("sources", "check", str(tmp_path / "none.yaml"))
    assert (code, "cannot be read" in output) == (1, True)


@pytest.mark.parametrize("files", [RIGHT, RIGHT[::-1], RIGHT[:1], RIGHT[1:]])
def test_right_rules_and_routes_pass_in_any_order_and_alone(files: list[str]) -> None:
    assert run("rules", "check", *files)[0] == 0


def test_faults_of_rules_and_routes_come_together(tmp_path: Path) -> None:
    rules, routes = tmp_path / "a.yaml", tmp_path / "b.yaml"
    rules.write_text("rules:\n  - { id: low, when: ['value<x'] }\n")
    routes.write_text("people: { mia: {} }\nfallback: person:mya\nroute: { owner: person:mia }\n")
    code, output = run("rules", "check", str(routes), str(rules), "--json")
    report = json.loads(output)
    assert (code, report["ok"]) == (1, False)
    assert {(problem["file"], problem["line"]) for problem in report["problems"]} == {
        (str(rules), 2),
        (str(routes), 2),
    }
    assert "did you mean mia" in run("rules", "check", str(routes), str(rules))[1]


@pytest.mark.parametrize("files", [METRICS, METRICS[::-1], METRICS[1:]])
def test_right_metrics_and_calendars_pass_in_any_order(files: list[str]) -> None:
    assert run("metrics", "check", *files)[0] == 0


def test_metrics_that_need_calendars_fail_without_them(tmp_path: Path) -> None:
    code, output = run("metrics", "check", METRICS[0], "--json")
    report = json.loads(output)
    assert (code, report["ok"]) == (1, False)
    assert {problem["field"] for problem in report["problems"]} == {"sla[1].hours", "sla[2].hours"}
    assert run("metrics", "check", str(tmp_path / "calendars.yaml"))[0] == 1
    assert run("metrics", "check", METRICS[0], METRICS[0])[0] == 2


def test_two_files_of_one_kind_are_refused() -> None:
    code, output = run("rules", "check", RIGHT[0], RIGHT[0].replace("rules", "rules"))
    assert code == 2
    assert "at most one" in output


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("up",),
        ("demo",),
        ("send",),
        ("tail",),
        ("generate",),
        ("sources", "check"),
        ("rules", "check"),
        ("metrics", "check"),
    ],
)
def test_every_command_helps_with_an_example(command: tuple[str, ...]) -> None:
    code, output = run(*command, "--help")
    assert code == 0
    assert f"cxloop {' '.join(command)}".strip() in output
    assert "Example:" in output or not command
