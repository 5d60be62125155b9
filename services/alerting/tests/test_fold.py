"""Properties of the fold: histories are played forward as the service would, then shuffled and doubled."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxloop_alerting.domain.actions import refuse
from cxloop_alerting.domain.case import Case, Reason, Status
from cxloop_alerting.domain.configuration import Configurations
from cxloop_alerting.domain.entries import action_entry, tick_entry
from cxloop_alerting.domain.facts import ActionKind, LogEntry, LogKind, ScoreFact, newest, unlogged
from cxloop_alerting.domain.fold import fold, tick_id, wanted_timers
from cxloop_alerting.domain.owners import Workload, assignments
from cxloop_alerting.domain.parsing import parse_configuration
from cxloop_common.configuration.reading import Source

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = """
open_within: 7d
reopen_within: 14d
rules:
  - {id: low-csat, when: [metric=csat, band=low]}
  - {id: upset, when: [value<=1], severity: high}
"""
ROUTES = """
people: {ana: {}, ben: {}, lea: {}}
teams: {care: {members: [ana, ben]}, leads: {members: [lea, ben], pick: least_loaded}}
chains: {up: [{hand_over: team:leads}]}
fallback: person:lea
route:
  owner: team:care
  chain: up
  deadlines: {acknowledge: 1d, contact: 2d, resolve: 5d}
  routes:
    - {name: chat, match: [channel=chat], owner: person:ana}
"""
CONFIGURATIONS = Configurations(
    [(START, parse_configuration(Source("rules.yaml", RULES), Source("routes.yaml", ROUTES)))]
)
HINTS = ("email:a@x.org", "email:b@x.org", "email:c@x.org")
ACTIONS = ("acknowledge", "contact", "resolve", "resolve", "reopen", "note", "assign")
State = dict[str, list[Case]]


def score(
    document: str, hint: str, at: datetime, revision: int, value: int, *, channel: str = "chat"
) -> ScoreFact:
    band = "low" if value <= 2 else "high"
    return ScoreFact(
        document=document,
        hint=hint,
        at=at,
        revision=(1, revision),
        record_id=f"{document}-{revision}",
        metric="csat",
        band=band,
        value=float(value),
        scale={"min": 1, "max": 5},
        labels={"metric": "csat", "band": band, "value": str(value), "channel": channel},
    )


@dataclass
class World:
    """What the service would hold after living through a history."""

    facts: list[ScoreFact] = field(default_factory=list[ScoreFact])
    log: list[LogEntry] = field(default_factory=list[LogEntry])
    identities: dict[str, str] = field(default_factory=dict[str, str])
    now: datetime = START
    workload: Workload = field(default_factory=Workload)

    def state(self) -> State:
        return fold(self.facts, self.log, self.identities, CONFIGURATIONS)

    def cases(self) -> list[Case]:
        return [case for cases in self.state().values() for case in cases]

    def write(self, entries: Sequence[LogEntry]) -> None:
        known = {entry.id for entry in self.log}
        for entry in entries:
            if entry.id not in known:
                self.log.append(replace(entry, seq=len(self.log) + 1))

    def meet(self, *facts: ScoreFact) -> None:
        self.facts.extend(facts)
        self.write(unlogged(newest(self.facts).values(), self.log, CONFIGURATIONS, self.now))
        self.write(assignments(self.cases(), self.workload, self.now))

    def pass_time(self, days: float) -> None:
        until = self.now + days * DAY
        while due := [t for t in wanted_timers(self.cases()) if t.due_at <= until]:
            timer = min(due, key=lambda timer: (timer.due_at, timer.id))
            self.now = max(self.now, timer.due_at)
            case = next(case for case in self.cases() if case.id == timer.case_id)
            self.write([tick_entry(case, timer, self.now)])
            self.meet()
        self.now = until

    def act(self, case: Case, kind: ActionKind, body: dict[str, object] | None = None) -> bool:
        body = {"root_cause": "x", "no_contact_reason": "y", **(body or {})}
        if kind is ActionKind.ASSIGN:
            body["owner"] = {"kind": "person", "id": "ben", "name": "ben", "team": None}
        latest = self.of_rule(case)[-1]
        successor = None if latest.id == case.id else latest.id
        if refuse(case, kind, body, "ops", successor=successor) is not None:
            return False
        id_ = f"x{len(self.log):03}"
        self.write([action_entry(case, kind, id_=id_, actor="ops", body=body, now=self.now)])
        self.meet()
        return True

    def of_rule(self, case: Case) -> list[Case]:
        return next(
            [other for other in cases if other.rule == case.rule]
            for cases in self.state().values()
            if any(other.id == case.id for other in cases)
        )


@st.composite
def histories(draw: st.DrawFn) -> World:
    world = World()
    for step in range(draw(st.integers(1, 14))):
        world.pass_time(draw(st.sampled_from([0, 0.1, 0.5, 1, 3, 10, 20])))
        kind = draw(st.sampled_from(["score", "score", "score", "edit", "link", "act", "act", "act"]))
        if kind == "score":
            late = draw(st.sampled_from([0, 0, 0, 0.2, 2, 9, -1]))
            value = draw(st.sampled_from([1, 2, 5]))
            hint = draw(st.sampled_from(HINTS))
            world.meet(score(f"response:s:{step:02}", hint, world.now - late * DAY, 1, value))
        elif kind == "edit" and world.facts:
            old = draw(st.sampled_from(sorted(newest(world.facts).values(), key=lambda f: f.document)))
            value, hint = draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([old.hint, *HINTS]))
            world.meet(score(old.document, hint, old.at, old.revision[1] + 1, value))
        elif kind == "link":
            world.identities[draw(st.sampled_from(HINTS))] = draw(st.sampled_from(["c1", "c2"]))
            world.meet()
        elif kind == "act" and (cases := world.cases()):
            world.act(draw(st.sampled_from(cases)), ActionKind(draw(st.sampled_from(ACTIONS))))
    return world


def leads_to(state: State) -> dict[str, Case]:
    """Every id that the state answers to."""
    found: dict[str, Case] = {}
    for cases in state.values():
        for case in cases:
            for id_ in case.trigger_ids:
                assert id_ not in found, "an id leads to two cases"
                found[id_] = case
    return found


def shuffled(items: list[ScoreFact], rng: random.Random) -> list[ScoreFact]:
    again = items + [item for item in items if rng.random() < 0.4]
    rng.shuffle(again)
    return again


RELAXED = settings(max_examples=250, deadline=None, suppress_health_check=(HealthCheck.too_slow,))


@RELAXED
@given(histories(), st.randoms(use_true_random=False))
def test_order_and_number_of_facts_and_entries_change_nothing(world: World, rng: random.Random) -> None:
    log = world.log + [entry for entry in world.log if rng.random() < 0.4]
    rng.shuffle(log)
    again = fold(shuffled(world.facts, rng), log, world.identities, CONFIGURATIONS)
    assert again == world.state()


@RELAXED
@given(histories(), st.randoms(use_true_random=False))
def test_without_a_log_the_same_cases_are_open_with_the_same_triggers(
    world: World, rng: random.Random
) -> None:
    first = fold(world.facts, [], world.identities, CONFIGURATIONS)
    assert fold(shuffled(world.facts, rng), [], world.identities, CONFIGURATIONS) == first


@RELAXED
@given(histories())
def test_an_id_once_shown_leads_to_one_case_for_ever(world: World) -> None:
    shown: set[str] = set()
    for seq in range(len(world.log) + 1):
        log = [entry for entry in world.log if entry.seq <= seq]
        met = {entry.case_id for entry in log if entry.kind is LogKind.SEEN}
        shown |= met & set(leads_to(fold(world.facts, log, world.identities, CONFIGURATIONS)))
    assert shown <= set(leads_to(world.state()))


@RELAXED
@given(histories())
def test_a_customer_has_one_open_case_a_rule(world: World) -> None:
    for cases in world.state().values():
        rules = [case.rule for case in cases if case.is_open]
        assert len(rules) == len(set(rules))


@RELAXED
@given(histories())
def test_every_low_score_that_was_seen_in_time_has_a_case(world: World) -> None:
    state = leads_to(world.state())
    seen = {
        entry.case_id: entry for entry in world.log if entry.kind is LogKind.SEEN and not entry.body["stale"]
    }
    assert set(seen) == set(state)


@RELAXED
@given(histories())
def test_no_accepted_action_is_lost(world: World) -> None:
    kept = [id_ for case in world.cases() for id_ in case.effective + case.overtaken]
    assert sorted(kept) == sorted(entry.id for entry in world.log if entry.kind is LogKind.ACTION)


@RELAXED
@given(histories())
def test_a_closing_by_hand_covers_only_what_its_author_saw_or_somebody_answered(world: World) -> None:
    actions = {entry.id: entry for entry in world.log if entry.kind is LogKind.ACTION}
    goods = [fact for fact in newest(world.facts).values() if fact.band != "low"]
    for case in world.cases():
        if case.status is not Status.RESOLVED or case.reason is not Reason.BY_HAND:
            continue
        closing = next(actions[id_] for id_ in reversed(case.effective) if _is(actions[id_], "resolve"))
        for trigger in case.triggers:
            answered = case.contacted_at is not None and trigger.position <= case.contacted_at
            answered |= any(trigger.position < good.at <= trigger.seen for good in goods)
            assert trigger.id in closing.known or trigger.id in case.revised or answered


@RELAXED
@given(histories())
def test_every_case_has_an_owner_from_the_configuration(world: World) -> None:
    for case in world.cases():
        assert case.is_assigned
        assert case.owner.id in {"ana", "ben", "lea"}


def _is(entry: LogEntry, action: str) -> bool:
    return entry.body["action"] == action


# Single stories -------------------------------------------------------------------------------------------

A = HINTS[0]


def only(world: World) -> Case:
    cases = [case for case in world.cases() if case.rule == "low-csat"]
    assert len(cases) == 1
    return cases[0]


def test_a_score_revised_upwards_before_contact_closes_its_case_with_that_reason() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2))
    assert only(world).status is Status.OPEN
    world.pass_time(0.1)
    world.meet(score("response:s:1", A, START, 2, 5))
    assert (only(world).status, only(world).reason) == (Status.RESOLVED, Reason.SCORE_REVISED)
    assert only(world).resolved_at == START + 0.1 * DAY


def test_a_score_revised_upwards_after_contact_leaves_the_case_open_and_flagged() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2))
    world.act(only(world), ActionKind.CONTACT)
    world.meet(score("response:s:1", A, START, 2, 5))
    assert only(world).status is Status.CONTACTED
    assert only(world).revised == set(only(world).trigger_ids)


def test_a_case_with_two_low_scores_closes_only_when_both_were_revised() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2), score("response:s:2", A, START, 1, 2))
    first = only(world).id
    world.meet(score("response:s:1", A, START, 2, 5))
    assert only(world).status is Status.OPEN
    world.meet(score("response:s:2", A, START, 2, 5))
    assert only(world).reason is Reason.SCORE_REVISED
    assert only(world).id == first


def test_a_low_score_soon_after_a_closing_reopens_and_a_later_one_opens_a_new_case() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2))
    world.act(only(world), ActionKind.RESOLVE)
    world.pass_time(3)
    world.meet(score("response:s:2", A, world.now, 1, 2))
    assert (only(world).status, only(world).reason) == (Status.REOPENED, Reason.LOW_AFTER_CLOSING)
    world.act(only(world), ActionKind.RESOLVE)
    world.pass_time(15)
    world.meet(score("response:s:3", A, world.now, 1, 2))
    assert [case.status for case in world.cases() if case.rule == "low-csat"] == [
        Status.RESOLVED,
        Status.OPEN,
    ]


def test_a_low_score_older_than_open_within_when_first_seen_opens_nothing() -> None:
    world = World(now=START + 10 * DAY)
    world.meet(score("response:s:1", A, START, 1, 2))
    assert world.cases() == []


def test_a_late_low_score_that_a_better_one_answered_is_evidence_and_wakes_nobody() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2))
    world.act(only(world), ActionKind.RESOLVE)
    world.pass_time(2)
    world.meet(score("response:s:3", A, world.now, 1, 5))
    world.pass_time(1)
    world.meet(score("response:s:2", A, START + DAY, 1, 2))
    case = only(world)
    assert case.status is Status.RESOLVED
    assert case.history[-1].reason is Reason.EVIDENCE


def test_a_closing_does_not_cover_a_low_score_its_author_could_not_know_of() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2))
    world.pass_time(0.5)
    world.act(only(world), ActionKind.RESOLVE)
    world.pass_time(0.5)
    world.meet(score("response:s:2", A, START + 0.2 * DAY, 1, 2))
    case = only(world)
    assert (case.status, case.reason) == (Status.REOPENED, Reason.LATE_TRIGGER)
    assert case.clock_from == world.now


def test_an_unacknowledged_case_is_handed_over_once_and_an_acknowledged_one_is_not() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2), score("response:s:2", HINTS[1], START, 1, 2))
    late, early = sorted(world.cases(), key=lambda case: case.id)
    world.act(early, ActionKind.ACKNOWLEDGE)
    world.pass_time(0.99)
    assert all(case.escalated_at is None for case in world.cases())
    world.pass_time(5)
    after = {case.id: case for case in world.cases()}
    assert after[early.id].escalated_at is None
    assert after[late.id].escalated_at == START + DAY
    assert after[late.id].owner.team == "leads"
    assert sum(entry.kind is LogKind.TICK for entry in world.log) == 1


def test_customers_that_prove_to_be_one_person_share_one_case_and_both_ids_lead_to_it() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2), score("response:s:2", HINTS[1], START, 1, 2))
    before = {case.id for case in world.cases()}
    assert len(before) == 2
    world.identities = {A: "c1", HINTS[1]: "c1"}
    world.meet()
    assert set(only(world).trigger_ids) == before
    assert only(world).id in before


def test_a_low_score_edited_down_again_takes_its_case_back_up() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2))
    world.meet(score("response:s:1", A, START, 2, 5))
    world.meet(score("response:s:1", A, START, 3, 2))
    assert only(world).is_open


def test_a_deadline_that_fired_never_fires_again_when_customers_merge_and_the_case_reopens() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2), score("response:s:2", HINTS[1], START, 1, 2))
    world.pass_time(1)
    first = min(world.cases(), key=lambda case: case.triggers[0].fact.document)
    world.act(first, ActionKind.RESOLVE)
    world.identities = {A: "c1", HINTS[1]: "c1"}
    world.meet()
    assert only(world).reason is Reason.LATE_TRIGGER
    world.pass_time(5)
    ticks = [entry.id for entry in world.log if entry.kind is LogKind.TICK]
    assert len(ticks) == len(set(ticks))
    assert only(world).escalated_at is not None


def test_a_timer_whose_tick_is_logged_is_wanted_no_more() -> None:
    world = World()
    world.meet(score("response:s:1", A, START, 1, 2))
    case = only(world)
    [timer] = wanted_timers([case])
    case.ticks.add(tick_id(timer.id))
    assert wanted_timers([case]) == []


def test_a_team_takes_turns() -> None:
    world = World()
    for number in range(4):
        world.meet(score(f"response:s:{number}", f"email:{number}@x.org", START, 1, 2, channel="mail"))
    by_seq = [entry for entry in world.log if entry.kind is LogKind.ASSIGNED]
    assert [entry.body["owner"]["id"] for entry in by_seq] == ["ana", "ben", "ana", "ben"]


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("acknowledge", "open reopened"),
        ("contact", "open reopened acknowledged contacted"),
        ("resolve", "open reopened acknowledged contacted"),
        ("assign", "open reopened acknowledged contacted"),
        ("reopen", "resolved"),
        ("note", "open reopened acknowledged contacted resolved"),
    ],
)
def test_an_action_is_accepted_only_in_its_states(kind: str, allowed: str) -> None:
    for status in Status:
        world = World()
        world.meet(score("response:s:1", A, START, 1, 2))
        way = {
            Status.OPEN: [],
            Status.REOPENED: ["resolve", "reopen"],
            Status.ACKNOWLEDGED: ["acknowledge"],
            Status.CONTACTED: ["contact"],
            Status.RESOLVED: ["resolve"],
        }[status]
        for step in way:
            assert world.act(only(world), ActionKind(step))
        assert only(world).status is status
        assert world.act(only(world), ActionKind(kind)) == (status in allowed.split())
