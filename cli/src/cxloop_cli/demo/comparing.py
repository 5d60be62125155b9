"""Every figure the services gave beside the one that the stories give."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cxloop_cli.demo import arithmetic, outcomes
from cxloop_cli.demo.outcomes import ExpectedCase
from cxloop_cli.demo.playing import Alert, Json, Observed, Posted
from cxloop_cli.demo.schedule import Scenario
from cxloop_cli.demo.senders import SOURCES
from cxloop_cli.demo.statistics import Figure
from cxloop_common.topics import ALERTS, route_topic


@dataclass
class Comparison:
    """How many figures were compared, and those that differ, a line each."""

    compared: int = 0
    differences: list[str] = field(default_factory=list[str])

    def same(self, what: str, expected: object, got: object) -> None:
        """Compare exactly."""
        self.compared += 1
        if expected != got:
            self.differences.append(f"{what}: expected {expected}, got {got}")

    def close(self, what: str, expected: float | None, got: float | None, tolerance: float) -> None:
        """Compare within a share of the expected figure."""
        self.compared += 1
        if expected is None or got is None:
            if expected is not got:
                self.differences.append(f"{what}: expected {expected}, got {got}")
        elif abs(expected - got) > tolerance * max(1.0, abs(expected)):
            self.differences.append(f"{what}: expected {expected:.6g}, got {got:.6g}")


def compare(scenario: Scenario, posted: Posted, observed: Observed) -> Comparison:
    """Compare everything."""
    result = Comparison()
    _deliveries(result, scenario, posted, observed)
    _metrics(result, scenario, observed)
    _customers(result, scenario, observed)
    _cases(result, outcomes.cases(scenario.stories), observed)
    return result


def _deliveries(result: Comparison, scenario: Scenario, posted: Posted, observed: Observed) -> None:
    result.same("posts accepted", len(scenario.posts), len(posted.ids))
    ids: dict[bytes, set[str]] = {}
    for place, webhook in enumerate(scenario.posts):
        ids.setdefault(webhook.body, set()).add(posted.ids.get(place, "none"))
    result.same("bodies with more than one delivery id", 0, sum(len(found) > 1 for found in ids.values()))
    result.same("delivery ids", len(scenario.webhooks), len({id_ for found in ids.values() for id_ in found}))
    known = {source["source"]: source for source in observed.sources["items"]}
    for name in SOURCES:
        mine = [webhook for webhook in scenario.webhooks if webhook.source == name]
        good = sum(webhook.fault is None for webhook in mine)
        source = known.get(name, {})
        result.same(f"deliveries of {name}", len(mine), source.get("deliveries_24h"))
        result.same(f"events of {name}", good, source.get("events_24h"))
        result.same(f"quarantined of {name}", len(mine) - good, source.get("quarantined"))
    expected = sorted((w.source, w.fault) for w in scenario.webhooks if w.fault is not None)
    got = sorted((item["source"], item["reason"]) for item in observed.quarantine)
    result.same("quarantine", expected, got)


def _metrics(result: Comparison, scenario: Scenario, observed: Observed) -> None:
    expected = arithmetic.scorecard(scenario.stories)
    got = {
        one["metric"]: one
        for side in ("service", "experience", "outcome")
        for one in observed.scorecard[side]
    }
    # A metric that the arithmetic does not know is a difference too: nothing is shown unchecked.
    result.same("metrics on the scorecard", sorted(expected), sorted(got))
    for name, figure in expected.items():
        if name in got:
            _figure(result, name, figure, got[name])
    for name, groups, answer in (
        ("nps by segment", arithmetic.nps_by_segment(scenario.stories), observed.nps_by_segment),
        (
            "first_response_time by team",
            arithmetic.first_response_by_team(scenario.stories),
            observed.first_response_by_team,
        ),
    ):
        found = {group["key"]: group for group in answer["groups"]}
        result.same(name, sorted(groups), sorted(found))
        for key, figure in groups.items():
            if key in found:
                _figure(result, f"{name} {key}", figure, found[key])


def _figure(result: Comparison, name: str, expected: Figure, got: Mapping[str, Any]) -> None:
    result.same(f"{name} n", expected.n, got["n"])
    result.same(f"{name} status", expected.status, got["status"])
    for part in ("value", "ci_low", "ci_high"):
        result.close(f"{name} {part}", getattr(expected, part), got[part], expected.tolerance)
    for part, wanted in expected.extra.items():
        result.close(f"{name} {part}", wanted, got.get(part), expected.tolerance)


def _customers(result: Comparison, scenario: Scenario, observed: Observed) -> None:
    stories = scenario.stories
    ids: Counter[str] = Counter()
    for number, person in enumerate(stories.people, start=1):
        found = observed.customers[person.email]
        result.same(f"customers found for person {number}", 1, len(found))
        if not found:
            continue
        ids[found[0]["customer_id"]] += 1
        known = outcomes.identifiers(person, stories)
        # Compared as a whole and reported as a number: differences are printed, addresses are not.
        if set(found[0]["identifiers"]) != known:
            result.same(
                f"identifiers of person {number}", len(known), f"others: {len(found[0]['identifiers'])}"
            )
        else:
            result.compared += 1
        entries = len(outcomes.timeline(person, stories))
        result.same(f"timeline entries of person {number}", entries, found[0]["touchpoints"])
    result.same("distinct customers", len(stories.people), len(ids))
    expected = outcomes.timeline(stories.people[0], stories)
    got = sorted(((_instant(entry["at"]), entry["kind"]) for entry in observed.timeline), reverse=True)
    result.same("timeline of person 1, entries", len(expected), len(got))
    for place, (want, have) in enumerate(zip(expected, got, strict=False), start=1):
        result.same(f"timeline of person 1, entry {place}", _told(want), _told(have))


def _told(entry: tuple[datetime, str]) -> str:
    return f"{entry[0]:%Y-%m-%dT%H:%M:%SZ} {entry[1]}"


def _cases(result: Comparison, expected: Sequence[ExpectedCase], observed: Observed) -> None:
    result.same("cases", len(expected), len(observed.cases))
    customers = {
        email: found[0]["customer_id"] for email, found in observed.customers.items() if len(found) == 1
    }
    by_customer = {(case["customer_id"], case["rule"]): case for case in observed.cases}
    for number, want in enumerate(expected, start=1):
        case = by_customer.get((customers.get(want.person.email), want.rule))
        if case is None:
            result.same(f"case {number} ({want.rule})", "one", "none")
            continue
        name = f"case {number} ({want.rule})"
        result.same(f"{name} status", "open", case["status"])
        result.same(f"{name} severity", want.severity, case["severity"])
        result.same(f"{name} route", want.route, case["route"])
        owner = case["owner"]["name"]
        chosen = owner if owner in want.owners else " or ".join(sorted(want.owners))
        result.same(f"{name} owner", chosen, owner)
        result.same(
            f"{name} score", (want.metric, want.value), (case["score"]["metric"], case["score"]["value"])
        )
        due_in = (_instant(case["due_at"]) - _instant(case["opened_at"])).total_seconds()
        result.close(f"{name} due after seconds", want.acknowledge_within_s, due_in, 1e-9)
        for topic in (ALERTS.name, route_topic(want.route).name):
            _alert(result, f"{name} on {topic}", case, newest_alert(observed.alerts, topic, case["case_id"]))


def newest_alert(alerts: Sequence[Alert], topic: str, case_id: str) -> Alert | None:
    """Give the record of a case with the highest version; readers drop lower ones."""
    mine = [one for one in alerts if one.topic == topic and one.value.get("case_id") == case_id]
    return max(mine, key=lambda one: int(one.value["version"]), default=None)


def _alert(result: Comparison, name: str, case: Json, alert: Alert | None) -> None:
    if alert is None:
        result.same(name, "a record", "none")
        return
    for part in ("version", "status", "severity", "rule", "route", "customer_id"):
        result.same(f"{name} {part}", case[part], alert.value.get(part))
    result.same(f"{name} owner", case["owner"]["name"], alert.value["owner"]["name"])
    score: Json = alert.value.get("score") or {}
    result.same(f"{name} score", case["score"]["value"], score.get("value"))


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
