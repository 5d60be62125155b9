"""The comparison of the demo, on answers written from the arithmetic and then bent one figure at a time."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from cxloop_cli.demo import arithmetic, outcomes, showing
from cxloop_cli.demo.command import SEED
from cxloop_cli.demo.comparing import compare, newest_alert
from cxloop_cli.demo.playing import Alert, Json, Observed, Posted
from cxloop_cli.demo.running import Run
from cxloop_cli.demo.schedule import Scenario, scenario
from cxloop_cli.demo.senders import SOURCES
from cxloop_cli.demo.statistics import Figure

END = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCENARIO = scenario(SEED, END)
EXPERIENCE = {"nps", "csat", "ces", "ces_v1", "response_rate", "sentiment"}
OUTCOME = {"retention", "churn", "closed_loop_rate", "recovery_rate", "recovery_lift", "revenue_at_risk"}


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def answered(figure: Figure, **more: Any) -> Json:
    written: Json = {name: getattr(figure, name) for name in ("value", "n", "ci_low", "ci_high", "status")}
    written |= figure.extra
    units = {"csat": "percent", "ces": "score", "nps": "points", "reopen_rate": "percent"}
    return {**written, "unit": units.get(more.get("metric", ""), "seconds"), **more}


def right_posts() -> Posted:
    ids = {body: f"d{number}" for number, body in enumerate({post.body: 0 for post in SCENARIO.posts})}
    return Posted({place: ids[post.body] for place, post in enumerate(SCENARIO.posts)})


def right_answers() -> Observed:
    stories = SCENARIO.stories
    figures = [answered(figure, metric=name) for name, figure in arithmetic.scorecard(stories).items()]
    customers = {
        person.email: [
            {
                "customer_id": f"cus_{person.user}",
                "identifiers": sorted(outcomes.identifiers(person, stories)),
                "touchpoints": len(outcomes.timeline(person, stories)),
            }
        ]
        for person in stories.people
    }
    cases = [
        {
            "case_id": f"case{number}",
            "version": 2,
            "status": "open",
            "severity": want.severity,
            "rule": want.rule,
            "route": want.route,
            "owner": {"name": min(want.owners)},
            "customer_id": f"cus_{want.person.user}",
            "score": {"metric": want.metric, "value": want.value},
            "opened_at": iso(END),
            "due_at": iso(END + timedelta(seconds=want.acknowledge_within_s)),
        }
        for number, want in enumerate(outcomes.cases(stories))
    ]
    alerts = [
        Alert(topic, 0, version, 0.0, {}, {**case, "version": version, "change": "opened"})
        for case in cases
        for topic in ("cxloop.alerts.v1", f"cxloop.alerts.{case['route']}.v1")
        for version in (1, 2)
    ]
    return Observed(
        sources={
            "items": [
                {
                    "source": name,
                    "deliveries_24h": sum(one.source == name for one in SCENARIO.webhooks),
                    "events_24h": sum(one.source == name and one.fault is None for one in SCENARIO.webhooks),
                    "quarantined": 1,
                }
                for name in SOURCES
            ]
        },
        scorecard={
            "service": [one for one in figures if one["metric"] not in EXPERIENCE | OUTCOME],
            "experience": [one for one in figures if one["metric"] in EXPERIENCE],
            "outcome": [one for one in figures if one["metric"] in OUTCOME],
        },
        nps_by_segment=groups(arithmetic.nps_by_segment(stories)),
        first_response_by_team=groups(arithmetic.first_response_by_team(stories)),
        quarantine=[
            {"source": one.source, "reason": one.fault} for one in SCENARIO.webhooks if one.fault is not None
        ],
        customers=customers,
        timeline=[
            {"at": iso(at), "kind": kind, "source": "shop", "summary": kind}
            for at, kind in outcomes.timeline(stories.people[0], stories)
        ],
        cases=cases,
        alerts=alerts,
    )


def groups(figures: dict[str, Figure]) -> Json:
    return {"groups": [answered(figure, key=key) for key, figure in figures.items()]}


def test_right_answers_agree_in_every_figure() -> None:
    result = compare(SCENARIO, right_posts(), right_answers())
    assert result.differences == []
    assert result.compared > 300


def bend(what: str) -> Callable[[Observed], object]:
    bends: dict[str, Callable[[Observed], object]] = {
        "one delivery too many": lambda o: o.sources["items"][0].update(deliveries_24h=301),
        "one event too few": lambda o: o.sources["items"][1].update(events_24h=1),
        "a broken one not held back": lambda o: o.quarantine.pop(),
        "another reason": lambda o: o.quarantine[0].update(reason="not_ours"),
        "an NPS off by a tenth": lambda o: o.scorecard["experience"][0].update(
            value=o.scorecard["experience"][0]["value"] + 0.1
        ),
        "an interval that is missing": lambda o: o.scorecard["experience"][1].update(ci_low=None),
        "a median off by 2 %": lambda o: o.scorecard["service"][0].update(
            value=o.scorecard["service"][0]["value"] * 1.02
        ),
        "a 90th percentile that is missing": lambda o: o.scorecard["service"][0].pop("p90"),
        "another n": lambda o: o.scorecard["service"][1].update(n=99),
        "too sure of it": lambda o: o.scorecard["service"][1].update(status="ok"),
        "a metric nobody worked out": lambda o: o.scorecard["service"].append({"metric": "mood"}),
        "a group too many": lambda o: o.nps_by_segment["groups"].append({"key": "vip"}),
        "a slower team": lambda o: o.first_response_by_team["groups"][0].update(value=1.0),
        "two customers for one email": lambda o: next(iter(o.customers.values())).append(
            {"customer_id": "x"}
        ),
        "two people as one customer": lambda o: list(o.customers.values())[1][0].update(
            customer_id=next(iter(o.customers.values()))[0]["customer_id"]
        ),
        "a stranger's identifier": lambda o: next(iter(o.customers.values()))[0]["identifiers"].append("x:y"),
        "an entry missing": lambda o: o.timeline.pop(3),
        "an entry at another time": lambda o: o.timeline[3].update(at=iso(END)),
        "an entry of another kind": lambda o: o.timeline[0].update(kind="touchpoint"),
        "a case missing": lambda o: o.cases.pop(),
        "a case of somebody unknown": lambda o: o.cases[0].update(customer_id=None),
        "an owner of another route": lambda o: o.cases[0]["owner"].update(name="Nobody"),
        "a mild severity": lambda o: o.cases[0].update(severity="none"),
        "a late deadline": lambda o: o.cases[0].update(due_at=iso(END + timedelta(days=1))),
        "no alert records": lambda o: o.alerts.clear(),
        "the newest alert record missing": lambda o: o.alerts.pop(1),
        "an alert of another owner": lambda o: o.alerts[1].value.update(owner={"name": "Nobody"}),
    }
    return bends[what]


BENDS = (
    *("one delivery too many", "one event too few", "a broken one not held back", "another reason"),
    *("an NPS off by a tenth", "an interval that is missing", "a median off by 2 %"),
    *("a 90th percentile that is missing", "another n", "too sure of it", "a metric nobody worked out"),
    *("a group too many", "a slower team", "two customers for one email", "two people as one customer"),
    *("a stranger's identifier", "an entry missing", "an entry at another time", "an entry of another kind"),
    *("a case missing", "a case of somebody unknown", "an owner of another route", "a mild severity"),
    *("a late deadline", "no alert records", "the newest alert record missing", "an alert of another owner"),
)


@pytest.mark.parametrize("what", BENDS)
def test_a_figure_that_differs_is_found(what: str) -> None:
    observed = copy.deepcopy(right_answers())
    bend(what)(observed)
    assert compare(SCENARIO, right_posts(), observed).differences


def test_a_second_id_for_the_same_delivery_is_found() -> None:
    posted = right_posts()
    twice = next(place for place, post in enumerate(SCENARIO.posts) if post in SCENARIO.posts[:place])
    posted.ids[twice] = "another"
    assert any("delivery id" in line for line in compare(SCENARIO, posted, right_answers()).differences)


def test_differences_name_no_address() -> None:
    observed = copy.deepcopy(right_answers())
    for found in observed.customers.values():
        found[0]["identifiers"].append("email:stranger@example.com")
    told = "\n".join(compare(SCENARIO, right_posts(), observed).differences)
    assert "identifiers of person 40" in told
    assert "@" not in told


def ran(observed: Observed, of: Scenario = SCENARIO) -> Run:
    posted = right_posts()
    case = next(case for case in observed.cases if case["severity"] == "urgent")
    alert = newest_alert(observed.alerts, "cxloop.alerts.v1", case["case_id"])
    return Run(posted, observed, compare(of, posted, observed), case, alert, 1.0, 1.5, 1.2, 3.0)


def test_the_story_fits_on_one_screen_and_says_that_all_agrees() -> None:
    console = Console(width=110, force_terminal=False)
    timing = showing.Timing.of(ran(right_answers()), began=0, ready_s=0.5)
    with console.capture() as captured:
        showing.show(SCENARIO, ran(right_answers()), timing, console)
    text = captured.get()
    assert len(text.splitlines()) <= 48
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 110
    for words in ("300 signed deliveries", "Nora Lind", "Mia Berg", "cxloop.alerts.v1[0]@2", "figures agree"):
        assert words in text


def test_a_difference_is_said_on_the_screen_and_in_the_object() -> None:
    observed = right_answers()
    observed.scorecard["service"][0].update(n=1)
    run = ran(observed)
    timing = showing.Timing.of(replace(run, opened_at=None, first_record_at=None), began=0, ready_s=0.5)
    console = Console(width=110, force_terminal=False)
    with console.capture() as captured:
        showing.show(SCENARIO, run, timing, console)
        showing.show_differences(run.comparison, console)
    n = arithmetic.scorecard(SCENARIO.stories)["first_response_time"].n
    difference = f"first_response_time n: expected {n}, got 1"
    assert difference in captured.get()
    told = showing.as_object(SCENARIO, run, timing)
    assert told["differences"] == [difference]
    assert (told["deliveries"], told["posted"], told["quarantined"]) == (300, 312, 3)
    assert told["first_case_s"] is None
