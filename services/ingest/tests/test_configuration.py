"""A wrong sources.yaml is refused with every fault at its place; a right one is reloaded while serving."""

from pathlib import Path

import pytest
from ingest_bodies import GOLDEN, SECRETS
from prometheus_client import CollectorRegistry

from cxloop_common.service import ConfigurationError
from cxloop_ingest.configuration import SourceRegistry, load_sources
from cxloop_ingest.domain.signatures import Scheme
from cxloop_ingest.domain.sources import Sender
from cxloop_ingest.sources_cli import check_sources

OPEN = "sources:\n  one:\n    sender: cloudevents\n    verify: none\n"


def faults(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "sources.yaml"
    path.write_text(text)
    found = load_sources(path, SECRETS)
    assert not found.problems or not found.sources
    return [str(problem).removeprefix(f"{path}:") for problem in found.problems]


def test_the_golden_file_says_how_each_source_is_read() -> None:
    found = load_sources(GOLDEN / "sources.yaml", SECRETS)
    assert not found.problems
    zendesk = found.sources["zendesk-eu"]
    assert (zendesk.sender, zendesk.credentials.scheme, len(zendesk.credentials.keys)) == (
        Sender.ZENDESK,
        Scheme.ZENDESK,
        2,
    )
    assert found.sources["form"].credentials.header == b"x-form-token"


def test_every_fault_is_reported_at_its_line_and_column_with_the_nearest_name(tmp_path: Path) -> None:
    text = """\
sources:
  Zen Desk:
    sender: zendisk
  shop:
    sender: mapping
    verfy: none
    time_zone: Europe/Berlim
    mapping:
      - type: cxloop.survey.respondet
        time: at
      - type: cxloop.survey.responded
        data: {score: "a[", scor: b}
  form:
    sender: delighted
    verify: {secrets: [hunter2, {env: CXLOOP_TOKEN}, {env: NOT_SET}, {file: gone.txt}]}
    allow_test: yes
    scales: {nps: {min: 10, max: 0}}
    mapping: []
  last:
    sender: mapping
    verify: {scheme: header, secrets: []}
    mapping:
      - {type: cxloop.ticket.deleted, time: t, data: {ticket_id: id, ticket_id.x: id}, identifiers: {fax: f}}
"""
    assert faults(tmp_path, text) == [
        "3:5: sources.Zen Desk: a source's name has lower-case letters, digits and dashes, 63 at most",
        "3:13: sources.Zen Desk.sender: unknown value; did you mean zendesk?",
        (
            "5:5: sources.shop: verify is missing; give its secrets, or say verify: none and mean that anybody "
            "may send"
        ),
        "6:5: sources.shop.verfy: unknown field; did you mean verify?",
        "7:16: sources.shop.time_zone: no such time zone; write an IANA name such as Europe/Berlin",
        "9:15: sources.shop.mapping[0].type: unknown event type; did you mean cxloop.survey.responded?",
        "11:9: sources.shop.mapping[1]: time is missing; {value: received_at} takes the time of the delivery",
        "12:15: sources.shop.mapping[1].data: cxloop.survey.responded needs metric, response_id, scale, score",
        (
            "12:23: sources.shop.mapping[1].data.score: not a JMESPath expression: Invalid jmespath expression: "
            "Incomplete expression:"
        ),
        (
            "12:35: sources.shop.mapping[1].data.scor: cxloop.survey.responded has no field scor; did you mean "
            "score?"
        ),
        (
            "15:24: sources.form.verify.secrets[0]: a secret never stands in this file; write {env: NAME} or "
            "{file: PATH}"
        ),
        (
            "15:39: sources.form.verify.secrets[1].env: a secret's variable starts with CXLOOP_SECRET_, or not "
            "with CXLOOP_ at all"
        ),
        "15:60: sources.form.verify.secrets[2].env: the environment variable NOT_SET is not set",
        (
            "15:77: sources.form.verify.secrets[3].file: the file gone.txt cannot be read: No such file or "
            "directory"
        ),
        "16:17: sources.form.allow_test: expected true or false, not a text",
        "17:19: sources.form.scales.nps: min must be below max",
        "18:14: sources.form.mapping: the sender delighted is read by its own adapter; use sender: mapping",
        "21:13: sources.last.verify: header is missing; name the header that carries the secret",
        "21:39: sources.last.verify.secrets: is empty; a source needs at least one live secret",
        "23:83: sources.last.mapping[0].data.ticket_id.x: ticket_id is given as a whole already",
        (
            "23:107: sources.last.mapping[0].identifiers.fax: unknown scheme; use email, phone, user, account or "
            "last.<kind>"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1:1: expected a mapping with the key sources, not nothing"),
        ("source: {}", "1:1: source: unknown field; did you mean sources?"),
        ("sources: [a", "not valid YAML"),
        (
            "sources:\n  a: {sender: cloudevents, verify: none}\n  a: {}\n",
            "3:3: not valid YAML: found duplicate key",
        ),
    ],
)
def test_a_file_of_another_form_says_so(tmp_path: Path, text: str, fault: str) -> None:
    assert any(fault in found for found in faults(tmp_path, text))


def test_a_missing_file_is_one_readable_line(tmp_path: Path) -> None:
    (problem,) = load_sources(tmp_path / "none.yaml", {}).problems
    assert str(problem).endswith("none.yaml:1:1: cannot be read: No such file or directory")


def test_a_check_in_ci_can_do_without_the_secrets() -> None:
    assert not check_sources(GOLDEN / "sources.yaml", environ={}).ok
    assert check_sources(GOLDEN / "sources.yaml", environ={}, secrets=False).ok


def test_a_service_does_not_start_with_a_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(OPEN + "    scale: 1\n")
    with pytest.raises(ConfigurationError, match=r"sources\.yaml:5:5: .*did you mean scales\?"):
        SourceRegistry(str(tmp_path / "sources.yaml"), CollectorRegistry(), poll_s=1)


def test_a_changed_file_takes_effect_and_a_wrong_one_leaves_the_old_in_force(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(OPEN)
    metrics = CollectorRegistry()
    registry = SourceRegistry(str(path), metrics, poll_s=1)
    assert registry.check()
    path.write_text(OPEN + OPEN.removeprefix("sources:\n").replace("one:", "two:"))
    assert registry.check()
    assert sorted(registry.current) == ["one", "two"]
    path.write_text("sources: 7")
    assert not registry.check()
    assert not registry.check()
    assert sorted(registry.current) == ["one", "two"]
    assert metrics.get_sample_value("cxloop_sources_file_valid") == 0
    path.write_text(OPEN + "\n")
    assert registry.check()
    assert sorted(registry.current) == ["one"]
    assert metrics.get_sample_value("cxloop_sources_file_valid") == 1


def test_a_rotated_secret_file_takes_effect(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first-token\n")
    path = tmp_path / "sources.yaml"
    path.write_text(
        "sources:\n  one:\n    sender: cloudevents\n"
        "    verify: {scheme: header, header: X-Token, secrets: [{file: token}]}\n"
    )
    registry = SourceRegistry(str(path), CollectorRegistry(), poll_s=1)
    (tmp_path / "token").write_text("second-token\n")
    assert registry.check()
    assert registry.current["one"].credentials.keys == (b"second-token",)


def test_a_header_that_carries_a_secret_is_never_kept(tmp_path: Path) -> None:
    text = (
        "sources:\n  one:\n    sender: cloudevents\n"
        "    verify: {scheme: header, header: X-Token, secrets: [{env: CXLOOP_SECRET_FORM}]}\n"
        "    headers: [X-Event, x-token, Authorization]\n"
    )
    assert [fault.split(": ")[1] for fault in faults(tmp_path, text)] == [
        "sources.one.headers[1]",
        "sources.one.headers[2]",
    ]


def test_the_example_of_the_readme_is_right(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (tmp_path / "zendesk-next").write_text("another secret")
    assert faults(tmp_path, readme.partition("```yaml\n")[2].partition("```")[0]) == []
