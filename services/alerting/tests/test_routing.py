"""The routing tree answers as Alertmanager's does; vectors were made with its own tool."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxloop_alerting.domain.configuration import Configuration, Route
from cxloop_alerting.domain.matchers import Matcher
from cxloop_alerting.domain.parsing import parse_configuration
from cxloop_alerting.domain.routing import find_route, matching
from cxloop_common.configuration.reading import Source

HERE = Path(__file__).parent
VECTORS: list[dict[str, Any]] = json.loads((HERE / "routing_vectors.json").read_text(encoding="utf-8"))
RULES = Source("rules.yaml", "rules: [{id: low, when: [band=low]}]")
HEAD = "people: {ana: {}, ben: {}}\nteams: {care: {members: [ana, ben]}}\nfallback: person:ana\n"


def configuration(route: Any) -> Configuration:
    # JSON is YAML; a root of its own, so that the tree under test may be anything.
    return parse_configuration(
        RULES, Source("routes.yaml", HEAD + "route: " + json.dumps(route, ensure_ascii=False))
    )


def answers(route: Any, labels: dict[str, str]) -> list[str]:
    return [found.name for found in matching(configuration(route).route, labels) or []]


def test_six_hundred_answers_are_those_of_amtool() -> None:
    asked = 0
    for vector in VECTORS:
        for example in vector["examples"]:
            assert answers(vector["route"], example["labels"]) == example["answers"], (
                vector["route"],
                example,
            )
            asked += 1
    assert asked == 600


def _children_always_continue(route: Route, labels: Any) -> list[Route] | None:
    return _variant(route, labels, stop=lambda _: False)


def _first_always_wins(route: Route, labels: Any) -> list[Route] | None:
    return _variant(route, labels, stop=lambda _: True)


def _parents_answer_too(route: Route, labels: Any) -> list[Route] | None:
    return _variant(route, labels, stop=lambda child: not child.go_on, parents=True)


def _variant(
    route: Route, labels: Any, *, stop: Callable[[Route], bool], parents: bool = False
) -> list[Route] | None:
    if not all(matcher.matches(labels) for matcher in route.matchers):
        return None
    found: list[Route] = []
    for child in route.routes:
        below = _variant(child, labels, stop=stop, parents=parents)
        if below is not None:
            found += below
            if stop(child):
                break
    return [*found, route] if parents or not found else found


@pytest.mark.parametrize("wrong", [_children_always_continue, _first_always_wins, _parents_answer_too])
def test_the_vectors_tell_wrong_readings_of_the_tree_apart(wrong: Any) -> None:
    caught = sum(
        [found.name for found in wrong(configuration(vector["route"]).route, example["labels"])]
        != example["answers"]
        for vector in VECTORS
        for example in vector["examples"]
    )
    assert caught > 10


def test_trees_nobody_has_seen_are_answered_as_amtool_does(request: pytest.FixtureRequest) -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("amtool is not installed; the committed vectors stand in for it")
    spec = importlib.util.spec_from_file_location("make_routing_vectors", HERE / "make_routing_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = maker
    request.addfinalizer(lambda: sys.modules.pop(spec.name))  # undoes the line above, nothing else
    spec.loader.exec_module(maker)
    rng = request.getfixturevalue("seeded")(None)
    for _ in range(30):
        tree, labels = maker.random_route(rng), maker.random_labels(rng)
        assert answers(tree, labels) == maker.ask(amtool, tree, labels)


def test_children_inherit_every_option_and_deadlines_key_by_key() -> None:
    found = configuration(
        {
            "owner": "team:care",
            "deadlines": {"acknowledge": "1h", "contact": "4h"},
            "routes": [{"name": "vip", "match": ["tier=gold"], "deadlines": {"contact": "30m"}}],
        }
    ).route.routes[0]
    assert str(found.owner) == "team:care"
    assert found.deadlines.acknowledge is not None
    assert found.deadlines.contact is not None
    assert (found.deadlines.acknowledge.total_seconds(), found.deadlines.contact.total_seconds()) == (
        3600,
        1800,
    )


def test_the_first_answer_that_is_no_copy_owns_and_the_others_are_told() -> None:
    tree = configuration(
        {
            "name": "root",
            "routes": [
                {"name": "product", "match": ["cause=bug"], "copy": True, "continue": True},
                {"name": "vip", "match": ["tier=gold"], "owner": "person:ben"},
            ],
        }
    )
    both = find_route(tree, {"cause": "bug", "tier": "gold"})
    assert both.names == ("vip", "product")
    only_copy = find_route(tree, {"cause": "bug"})
    assert only_copy.names == ("root", "product"), "a copy never takes a case away from everybody"


def test_a_pattern_made_to_be_slow_is_answered_at_once() -> None:
    # Exponential for engines that backtrack: years for this length.
    assert not Matcher("text", "=~", "(a+)+b").matches({"text": "a" * 5000})
