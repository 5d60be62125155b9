"""Configuration files: every mistake at once, with file, line, column, path, reason and the nearest name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cxloop_alerting.config_files import check_rules, parse, read_sources
from cxloop_alerting.domain.configuration import Configurations
from cxloop_alerting.domain.parsing import parse_configuration
from cxloop_common.configuration.reading import FaultyFilesError, Source

RULES = "rules:\n  - {id: low, when: [band=low]}\n"
ROUTES = "people: {ana: {}}\nfallback: person:ana\nroute: {}\n"


def complaints(rules: str = RULES, routes: str = ROUTES) -> list[str]:
    try:
        parse_configuration(Source("rules.yaml", rules), Source("routes.yaml", routes))
    except FaultyFilesError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_the_built_in_files_are_valid_and_every_case_has_an_owner() -> None:
    configuration = parse(*read_sources(None, None))
    assert [rule.id for rule in configuration.rules] == ["low-nps", "low-csat", "low-ces"]
    assert str(configuration.route.owner) == "person:owner"
    assert configuration.route.deadlines.acknowledge == timedelta(hours=1)


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ("", "rules.yaml:1:1: the file is empty"),
        ("rules: [", "rules.yaml:1:9: not valid YAML"),
        ("rule: []", "rules.yaml:1:1: rule: unknown key 'rule'; did you mean rules?"),
        ("rules: []", "rules.yaml:1:8: rules: there is no rule"),
        ("rules: [{id: a}]", "rules.yaml:1:9: rules[0]: when is missing"),
        ("rules: [{id: a, when: []}]", "rules[0].when: a rule without matchers"),
        ("rules: [{id: A B, when: [a=b]}]", "rules.yaml:1:14: rules[0].id: an id has"),
        ("rules: [{id: a, when: [band]}]", "rules.yaml:1:24: rules[0].when[0]: not a matcher"),
        ("rules: [{id: a, when: ['x=~(']}]", "rules[0].when[0]: not an RE2 pattern: missing )"),
        ("rules: [{id: a, when: [a=b], severity: hgih}]", "unknown severity 'hgih'; did you mean high?"),
        ("rules: [{id: a, when: [a=b], raise: {urgnt: [a=b]}}]", "unknown key 'urgnt'; did you mean urgent?"),
        ("rules: [{id: a, when: [a=b], on: shift}]", "rules[0].on: unknown kind of event 'shift'"),
        ("rules: [{id: a, when: [a=b]}, {id: a, when: [a=b]}]", "two rules have the id a"),
        (
            "open_within: 7\nrules: [{id: a, when: [a=b]}]",
            "rules.yaml:1:14: open_within: expected a duration",
        ),
        ("rules: [{id: a, id: b, when: [a=b]}]", "rules.yaml:1:17: rules[0].id: this key stands twice"),
    ],
)
def test_a_mistake_in_the_rules_is_named_with_its_place(rules: str, complaint: str) -> None:
    assert any(complaint in found for found in complaints(rules=rules)), complaints(rules=rules)


@pytest.mark.parametrize(
    ("routes", "complaint"),
    [
        ("route: {}", "routes.yaml:1:1: fallback is missing"),
        ("people: {ana: {}}\nfallback: person:anna\nroute: {}", "unknown person 'anna'; did you mean ana?"),
        ("people: {ana: {}}\nfallback: ana\nroute: {}", "routes.yaml:2:11: fallback: expected person:<id>"),
        (ROUTES.replace("{}\n", "{owner: team:care}\n"), "route.owner: unknown team 'care'"),
        (ROUTES.replace("{}\n", "{match: [a=b]}\n"), "the root route matches everything and takes no match"),
        (ROUTES.replace("route: {}", "route: {chain: up}"), "route.chain: unknown chain 'up'"),
        (
            ROUTES.replace("route: {}", "route: {routes: [{name: a}, {name: b, match: [x=y]}]}"),
            "routes.yaml:3:29: route.routes[1]: unreachable",
        ),
        (ROUTES.replace("route: {}", "route: {routes: [{name: 'A B', match: [x=y]}]}"), "part of a topic's"),
        (ROUTES.replace("route: {}", "route: {deadlines: {acknowlege: 1h}}"), "did you mean acknowledge?"),
        (
            "teams: {care: {members: [bo]}}\n" + ROUTES,
            "routes.yaml:1:26: teams.care.members[0]: unknown person 'bo'",
        ),
        ("teams: {care: {members: []}}\n" + ROUTES, "a team without members"),
        ("teams: {care: {members: [ana], pick: rota}}\n" + ROUTES, "unknown way to pick 'rota'"),
        ("chains: {up: [{notify: person:ana}, {notify: person:ana}]}\n" + ROUTES, "a chain has one step"),
        ("chains: {up: [{wait: 1h}]}\n" + ROUTES, "a step says either notify: or hand_over:"),
    ],
)
def test_a_mistake_in_the_routes_is_named_with_its_place(routes: str, complaint: str) -> None:
    assert any(complaint in found for found in complaints(routes=routes)), complaints(routes=routes)


def test_all_mistakes_of_both_files_come_at_once() -> None:
    found = complaints("rules: [{id: a, whn: [x]}]", "people: {}\nfallback: person:b\nroute: {owner: c}")
    assert [text.split(": ")[0] for text in found] == [
        "routes.yaml:1:9", "routes.yaml:2:11", "routes.yaml:3:16", "rules.yaml:1:9", "rules.yaml:1:17",
    ]  # fmt: skip


def test_check_rules_answers_for_files_that_cannot_be_read(tmp_path: Path) -> None:
    [problem] = check_rules(tmp_path / "none.yaml", None)
    assert problem.reason == "cannot be read: No such file or directory"
    assert check_rules(None, None) == []


def test_a_yaml_alias_that_holds_itself_is_refused() -> None:
    routes = ROUTES.replace("route: {}", "route: &r {routes: [*r]}")
    assert any("nested too deeply" in text or "alias" in text for text in complaints(routes=routes))


def test_an_event_is_judged_by_the_configuration_of_its_own_time() -> None:
    old = parse_configuration(Source("a", RULES), Source("b", ROUTES))
    new = parse_configuration(Source("a", RULES + "# changed"), Source("b", ROUTES))
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    held = Configurations([(noon + timedelta(hours=1), new), (noon, old)])
    assert held.at(noon - timedelta(days=9)) is old, "the first one covers everything before it"
    assert held.at(noon + timedelta(minutes=59)) is old
    assert held.at(noon + timedelta(hours=1)) is new
    assert held.latest is new
