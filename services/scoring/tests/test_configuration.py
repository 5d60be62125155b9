from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cxloop_common.configuration.reading import FaultyFilesError, Source
from cxloop_scoring.configuration import check_metrics, parse_rules, read_rules
from cxloop_scoring.domain.rules import (
    DEFAULT_RULES,
    Clock,
    Costs,
    Hours,
    Rules,
    SlaPolicy,
    SlaTarget,
    Watch,
)
from cxloop_scoring.settings import ScoringSettings

EXAMPLES = Path(__file__).parents[3] / "deploy/config"
MINUTE = 60_000_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
OFFICE = "calendars: {de: {zone: Europe/Berlin, week: {mon-fri: 09:00-17:00}}}\ndefault: de\n"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse(metrics: str, calendars: str | None = OFFICE) -> Rules:
    return parse_rules(
        Source("metrics.yaml", metrics),
        None if calendars is None else Source("calendars.yaml", calendars),
    )


def moment(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def test_the_examples_are_a_configuration_that_starts() -> None:
    rules = read_rules(EXAMPLES / "metrics.yaml", EXAMPLES / "calendars.yaml")
    assert [len(policy.targets) for policy in rules.sla] == [2, 1, 2]
    assert rules.sla_targets({"priority": "high", "channel": "chat"}) == (
        SlaTarget(Clock.FIRST_RESPONSE, 30 * MINUTE, Hours.CALENDAR),
        SlaTarget(Clock.RESOLUTION, DAY, Hours.CALENDAR),
    )
    assert rules.sla_targets({"channel": "email"})[1] == SlaTarget(Clock.RESOLUTION, DAY, Hours.BUSINESS)
    assert (rules.costs.contact("phone"), rules.costs.contact("email"), rules.costs.contact(None)) == (
        950,
        600,
        600,
    )
    assert rules.costs.avoidable == {"order_status", "invoice_copy"}
    assert (rules.active_words, rules.left_words) == (DEFAULT_RULES.active_words, DEFAULT_RULES.left_words)
    assert Watch("reopen_rate", DAY, ("team",)) in rules.shifts
    assert check_metrics(EXAMPLES / "metrics.yaml", EXAMPLES / "calendars.yaml") == []


def test_without_files_the_defaults_hold() -> None:
    assert read_rules(None, None) == DEFAULT_RULES
    settings = ScoringSettings(kafka_bootstrap="127.0.0.1:9092", database_url="postgresql://127.0.0.1/x")
    assert read_rules(settings.metrics_file, settings.calendars_file) == DEFAULT_RULES
    assert DEFAULT_RULES.sla_targets({"priority": "high"}) == ()
    assert DEFAULT_RULES.calendar_for("care") is None


def test_the_first_policy_that_matches_all_its_dimensions_is_the_only_one_that_counts() -> None:
    rules = parse(
        "sla:\n"
        "  - {match: {priority: urgent, team: [care, vip]}, first_response: 10m}\n"
        "  - {match: {priority: urgent}, resolution: 2d}\n"
    )
    first, second = rules.sla
    assert rules.sla_targets({"priority": "urgent", "team": "vip", "channel": "chat"}) == first.targets
    assert rules.sla_targets({"priority": "urgent", "team": "other"}) == second.targets
    assert rules.sla_targets({"priority": "low", "team": "vip"}) == ()
    assert rules.sla_targets({"team": "vip"}) == ()


def test_a_target_in_business_hours_is_due_when_that_much_was_open() -> None:
    rules = parse("sla: [{first_response: 1h, hours: business}, ]")
    (target,) = rules.sla_targets({})
    start = moment("2026-03-06T16:30+01:00")
    assert target.due(start, rules.calendar_for("care")) == moment("2026-03-09T09:30+01:00")
    assert (
        SlaTarget(Clock.RESOLUTION, HOUR, Hours.CALENDAR).due(start, rules.calendar_for(None)) == start + HOUR
    )


def test_costs_are_exact_hundredths() -> None:
    costs = parse(
        "costs: {currency: EUR, per_contact: 4.5, per_channel: {chat: 0, phone: 19.99}, per_hour: 38}"
    ).costs
    assert costs == Costs("EUR", 450, {"chat": 0, "phone": 1999}, 3800, frozenset())
    assert Costs().contact("chat") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slas: []", "metrics.yaml:1:1: slas: unknown key 'slas'; did you mean sla?"),
        ("sla: [{first_reponse: 1h, resolution: 1h}]", "did you mean first_response?"),
        (
            "sla: [{match: {team: a}}]",
            "metrics.yaml:1:7: sla[0]: a policy without first_response or resolution",
        ),
        ("sla: [{resolution: 1 day}]", "sla[0].resolution: expected a duration"),
        ("sla: [{resolution: 366d}]", "sla[0].resolution: a target is a year at most"),
        ("sla: [{resolution: 2d, hours: business}]", "say business time in hours"),
        (
            "sla: [{resolution: 2h, hours: bussiness}]",
            "unknown kind of hours 'bussiness'; did you mean business?",
        ),
        ("sla: [{match: {tag: vip}, resolution: 2h}]", "sla[0].match.tag: a ticket has many tags"),
        ("sla: [{match: {team: []}, resolution: 2h}]", "sla[0].match.team: no value is listed"),
        ("sla: [{resolution: 2h}, {match: {team: a}, resolution: 1h}]", "1:25: sla[1]: unreachable"),
        (
            "sla: [{match: {team: [a, b]}, resolution: 2h}, {match: {team: a, channel: c}, resolution: 1h}]",
            "sla[1]: unreachable",
        ),
        ("costs: {per_contact: 4}", "costs: currency is missing"),
        ("costs: {currency: euro}", "costs.currency: expected a currency's three letters"),
        ("costs: {currency: EUR, per_hour: -3}", "costs.per_hour: expected an amount of 0 or more"),
        ("costs: {currency: EUR, per_channel: {chat: 1.234}}", "costs.per_channel.chat: expected an amount"),
        ("lifecycle: {left: [Renew]}", "both renewal (active) and renew (left)"),
        (
            "lifecycle: {active: []}",
            "lifecycle.active: no word is listed, so no touchpoint could make a customer active",
        ),
        ("lifecycle: {active: ['']}", "lifecycle.active[0]: an empty word would match every touchpoint"),
        (
            "shifts: [{metrics: [nsp], window: 7d}]",
            "shifts[0].metrics[0]: unknown metric 'nsp'; did you mean nps?",
        ),
        (
            "shifts: [{metrics: [nps], window: 91d}]",
            "shifts[0].window: a watched window is between 1h and 90d",
        ),
        ("shifts: [{metrics: [nps]}]", "shifts[0]: window is missing"),
    ],
)
def test_a_fault_is_named_with_place_path_and_nearest_name(text: str, expected: str) -> None:
    with pytest.raises(FaultyFilesError) as raised:
        parse(text)
    assert len(raised.value.problems) == 1
    assert expected in str(raised.value)


def test_business_hours_without_a_default_calendar_are_a_fault() -> None:
    for calendars in (None, OFFICE.replace("default: de\n", "")):
        with pytest.raises(FaultyFilesError, match="business hours need a default calendar"):
            parse("sla: [{resolution: 2h, hours: business}]", calendars)


def test_the_faults_of_both_files_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("sla: [{resolution: 2h, hours: business}, {}]\ncosts: {currency: 1}\n")
    (tmp_path / "c.yaml").write_text("calendars: {de: {zone: Berlin, week: {mon: 09:00-17:00}}}\n")
    found = check_metrics(tmp_path / "m.yaml", tmp_path / "c.yaml")
    assert [(Path(one.file).name, one.path) for one in found] == [
        ("c.yaml", "calendars.de.zone"),
        ("m.yaml", "sla[1]"),
        ("m.yaml", "costs.currency"),
    ]
    assert len(check_metrics(tmp_path / "none.yaml", tmp_path / "neither.yaml")) == 2


def test_only_what_decides_about_bookings_changes_their_digest() -> None:
    rules = parse("sla: [{match: {team: [a, b]}, resolution: 2h}]")
    same = parse("sla: [{match: {team: [b, a]}, resolution: 120m}]\nlifecycle: {}\n")
    dearer = parse("sla: [{match: {team: [a, b]}, resolution: 2h}]\ncosts: {currency: EUR}\nshifts: []\n")
    assert rules.booking_digest() == same.booking_digest() == dearer.booking_digest()
    others = [
        parse("sla: [{match: {team: [a, b]}, resolution: 3h}]"),
        parse("sla: [{match: {team: [a, b]}, first_response: 2h}]"),
        parse("sla: [{match: {team: [a]}, resolution: 2h}]"),
        parse("sla: [{match: {team: [a, b]}, resolution: 2h, hours: business}]"),
        parse("sla: [{match: {team: [a, b]}, resolution: 2h}]", OFFICE.replace("17:00", "18:00")),
        parse("sla: [{match: {team: [a, b]}, resolution: 2h}]", OFFICE + "teams: {a: de}\n"),
        parse("sla: [{match: {team: [a, b]}, resolution: 2h}]\nlifecycle: {active: [visit]}\n"),
        DEFAULT_RULES,
    ]
    assert len({rules.booking_digest(), *(other.booking_digest() for other in others)}) == len(others) + 1


def test_policies_in_another_order_are_booked_otherwise() -> None:
    one = SlaPolicy((("team", frozenset({"a"})),), (SlaTarget(Clock.RESOLUTION, HOUR, Hours.CALENDAR),))
    two = SlaPolicy((("channel", frozenset({"b"})),), (SlaTarget(Clock.RESOLUTION, DAY, Hours.CALENDAR),))
    assert Rules(sla=(one, two)).booking_digest() != Rules(sla=(two, one)).booking_digest()
