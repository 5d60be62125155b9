"""The demo on one screen: webhooks, metrics, one customer's journey, the case, and its record in Kafka."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cxloop_cli.demo.comparing import Comparison
from cxloop_cli.demo.playing import Alert, Json, Observed
from cxloop_cli.demo.running import Run
from cxloop_cli.demo.schedule import LATE, Scenario
from cxloop_cli.demo.senders import SOURCES

_TITLES: Final = {
    "first_response_time": "First response",
    "next_response_time": "Next response",
    "first_resolution_time": "First resolution",
    "full_resolution_time": "Full resolution",
    "reopen_rate": "Reopened",
    "first_contact_resolution": "Solved at once",
    "repeat_contact_rate": "Came again in 7 days",
    "handoffs": "Handoffs a ticket",
    "escalation_rate": "Escalated",
    "handle_time": "Handle time",
    "sla_breach_rate": "Targets missed",
    "ticket_volume": "Tickets",
    "backlog": "Open now",
    "nps": "NPS",
    "csat": "CSAT",
    "ces": "Effort (CES)",
    "ces_v1": "Effort (CES 1)",
    "response_rate": "Surveys answered",
    "sentiment": "Sentiment",
    "retention": "Stayed",
    "churn": "Left",
    "closed_loop_rate": "Loops closed",
    "recovery_rate": "Won back",
    "recovery_lift": "Lift by contact",
    "revenue_at_risk": "At risk",
}
_FORMS: Final = {
    "percent": "{:.0f} %",
    "points": "{:+.0f}",
    "score": "{:.1f}",
    "handoffs": "{:.1f}",
    "money": "{:,.0f} EUR",
}
_BAND_STYLES: Final = {"low": "bold red", "middle": "yellow", "high": "green"}
_SHOWN_KINDS: Final = frozenset({"touchpoint", "ticket_created", "ticket_solved", "survey_response"})
_STATUS: Final = {
    "ok": Text("ok", style="green"),
    "low_confidence": Text("low n", style="yellow"),
    "suppressed": Text("withheld", style="red"),
}
_SENDERS: Final = {
    "zendesk": "tickets",
    "delighted": "NPS and CSAT",
    "shop": "visits and CES, mapped in YAML",
}


@dataclass(frozen=True)
class Timing:
    """Seconds since the start of the program."""

    ready_s: float
    first_case_s: float | None
    """Until the first alert record stood in Kafka."""
    case_after_s: float | None
    """From the shown customer's low score being taken to its alert record."""
    checked_s: float

    @classmethod
    def of(cls, run: Run, *, began: float, ready_s: float) -> Self:
        """Work out the times of a run."""
        return cls(
            ready_s,
            None if run.first_record_at is None else run.first_record_at - began,
            None if run.opened_at is None else run.opened_at - run.low_score_at,
            run.checked_at - began,
        )


def as_object(scenario: Scenario, run: Run, timing: Timing) -> Json:
    """Give what a script wants to know."""
    person = scenario.stories.people[0]
    found = run.observed.customers[person.email]
    return {
        "ready_s": round(timing.ready_s, 3),
        "first_case_s": None if timing.first_case_s is None else round(timing.first_case_s, 3),
        "case_after_s": None if timing.case_after_s is None else round(timing.case_after_s, 3),
        "total_s": round(timing.checked_s, 3),
        "deliveries": len(scenario.webhooks),
        "posted": len(scenario.posts),
        "quarantined": len(run.observed.quarantine),
        "quarantine": run.observed.quarantine,
        "scorecard": run.observed.scorecard,
        "customer": {**found[0], "timeline": run.observed.timeline} if found else None,
        "case": run.case,
        "alert": None if run.alert is None else run.alert.as_object(),
        "compared": run.comparison.compared,
        "differences": run.comparison.differences,
    }


def show(scenario: Scenario, run: Run, timing: Timing, out: Console) -> None:
    """Print the story, top to bottom."""
    observed = run.observed
    out.print()
    out.print(_section("1", "Webhooks in", _sum_of_posts(scenario)))
    out.print(_indented(_webhooks(scenario, observed)))
    out.print(
        _section(
            "2", "Metrics", "service beside experience, last 30 days, with 95 % intervals; low n is below 30"
        )
    )
    out.print(_indented(_scorecard(observed.scorecard)))
    person = scenario.stories.people[0]
    found = observed.customers[person.email]
    known = len(found[0]["identifiers"]) if found else 0
    out.print(
        _section(
            "3",
            f"The journey of {person.name}",
            f"{known} ids at three senders, one customer: every contact 5 of 5, and then a 2",
        )
    )
    out.print(_indented(_journey(observed.timeline)))
    out.print(_section("4", "The case", f"one of {len(observed.cases)}; every one has an owner"))
    out.print(_indented(_case(run.case, person.name) if run.case else Text("none", style="red")))
    out.print(_section("5", "The alert record", "what other teams consume"))
    out.print(_indented(_record(run.alert)))
    out.print(_verdict(run.comparison, timing), soft_wrap=True)


def show_differences(comparison: Comparison, out: Console) -> None:
    """Print what is not as the stories say."""
    title = f"{len(comparison.differences)} of {comparison.compared} figures differ from the scenario's own arithmetic:"
    out.print(Text(title, style="bold red"))
    for line in comparison.differences:
        out.print(Text(f"  {line}", style="red"), soft_wrap=True)


def _section(number: str, title: str, aside: str) -> Text:
    return Text.assemble((f" {number}  ", "bold cyan"), (title, "bold"), ("   " + aside, "dim"))


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 1, 4))


# Webhooks


def _sum_of_posts(scenario: Scenario) -> str:
    twice = len(scenario.posts) - len(scenario.webhooks)
    return (
        f"{len(scenario.webhooks)} signed deliveries in {len(scenario.posts)} posts: {twice} twice, "
        f"{LATE} days late, {scenario.out_of_order} out of order"
    )


def _webhooks(scenario: Scenario, observed: Observed) -> Table:
    table = Table.grid(padding=(0, 3))
    faults = {item["source"]: item["reason"] for item in observed.quarantine}
    counts = Counter(webhook.source for webhook in scenario.webhooks)
    for name in SOURCES:
        fault = Text.assemble(("1 quarantined  ", "yellow"), (faults.get(name, "-"), "dim"))
        about = Text(_SENDERS[name], style="dim")
        table.add_row(Text(name, style="cyan"), Text(f"{counts[name]:>4}"), about, fault)
    return table


# Metrics


def _scorecard(scorecard: Json) -> Group:
    """Put service beside experience and outcome; metrics without any observation are named below."""
    seen = {
        side: [one for one in scorecard[side] if one["n"]] for side in ("service", "experience", "outcome")
    }
    beside = Group(_figures("experience", seen["experience"]), "", _figures("outcome", seen["outcome"]))
    unseen = [_title(one) for side in seen for one in scorecard[side] if not one["n"]]
    return Group(
        Columns([_figures("service", seen["service"]), beside], padding=(0, 4)),
        Text(f"nothing told of yet: {', '.join(unseen)}", style="dim"),
    )


def _title(one: Mapping[str, Any]) -> str:
    return _TITLES.get(one["metric"], str(one["metric"]))


def _figures(title: str, figures: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(title)
    table.add_column("", justify="right", style="bold")
    table.add_column("95 %", justify="right", style="dim")
    table.add_column("n", justify="right")
    table.add_column("status")
    for one in figures:
        unit = str(one["unit"])
        low, high = one["ci_low"], one["ci_high"]
        interval = "" if low is None else f"{_amount(low, unit).removesuffix(' %')} to {_amount(high, unit)}"
        table.add_row(
            _title(one),
            _amount(one["value"], unit),
            interval,
            str(one["n"]),
            _STATUS[one["status"]],
        )
    return table


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "seconds":
        return _duration(value)
    return _FORMS.get(unit, "{:.0f}").format(value)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 60:  # noqa: PLR2004  # of an hour
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02}"


# The journey


def _journey(timeline: list[Json]) -> Group:
    table = Table.grid(padding=(0, 3))
    left_out = 0
    for entry in reversed(timeline):
        if entry["kind"] not in _SHOWN_KINDS:
            left_out += 1
            continue
        score = entry.get("score")
        told = Text(str(entry["summary"]))
        if score is not None:
            told = Text.assemble(
                told,
                (f"   {score['value']:g} of {score['scale']['max']:g}", _BAND_STYLES.get(score["band"], "")),
            )
        table.add_row(Text(_day(entry["at"]), style="dim"), Text(str(entry["source"]), style="cyan"), told)
    return Group(table, Text(f"and {left_out} replies, notes and assignments between them", style="dim"))


def _day(text: str) -> str:
    return f"{datetime.fromisoformat(text):%d %b %H:%M}"


# Case and record


def _case(case: Json, name: str) -> Table:
    table = Table.grid(padding=(0, 3))
    score = case["score"]
    due = datetime.fromisoformat(case["due_at"]) - datetime.fromisoformat(case["opened_at"])
    rows = {
        "why": Text.assemble(
            f"{name} answered ",
            (f"{score['metric'].upper()} {score['value']:g}", "bold red"),
            f"; rule {case['rule']}, severity {case['severity']}",
        ),
        "owner": Text.assemble((str(case["owner"]["name"]), "bold green"), f", by route {case['route']}"),
        "due": Text(f"acknowledge within {_duration(due.total_seconds())}"),
        "case": Text(str(case["case_id"]), style="dim"),
    }
    for label, text in rows.items():
        table.add_row(Text(label, style="cyan"), text)
    return table


def _record(alert: Alert | None) -> Text:
    if alert is None:
        return Text("none yet", style="red")
    value = alert.value
    score: Json = value.get("score") or {}
    shown = {
        "change": value["change"],
        "severity": value["severity"],
        "owner": value["owner"]["name"],
        "customer": value.get("customer_hint"),
        "score": f"{score.get('metric')}:{score.get('value')}",
        "version": value["version"],
    }
    return Text.assemble(
        (f"{alert.topic}[{alert.partition}]@{alert.offset}\n", "cyan"),
        "  ".join(f"{name}={told}" for name, told in shown.items()),
    )


def _verdict(comparison: Comparison, timing: Timing) -> Text:
    good = not comparison.differences
    checked = (
        f"All {comparison.compared} figures agree with the scenario's own arithmetic."
        if good
        else f"{len(comparison.differences)} of {comparison.compared} figures differ."
    )
    times = [f"Ready after {timing.ready_s:.1f} s"]
    if timing.first_case_s is not None:
        times.append(f"first case after {timing.first_case_s:.1f} s")
    if timing.case_after_s is not None:
        times.append(f"this case {timing.case_after_s:.2f} s after its webhook")
    times.append(f"all checked after {timing.checked_s:.1f} s")
    return Text.assemble(
        (f" {checked}\n", "bold green" if good else "bold red"), (f" {', '.join(times)}.", "dim")
    )
