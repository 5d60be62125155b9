"""The fold: facts and log in, cases out. The one place that says what a case is.

Every function here is pure, and none depends on the order or number of its inputs: entries are sorted by
their own times, ties are settled by the order of writing for the log and by document id for scores.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cxloop_alerting.domain.case import Case, CaseOwner, Reason, Status, Trigger, WantedTimer
from cxloop_alerting.domain.configuration import Configuration, Configurations, OwnerRef, Rule
from cxloop_alerting.domain.facts import (
    ActionKind,
    LogEntry,
    LogKind,
    ScoreFact,
    newest,
    severity_of,
    trigger_id,
    triggered_rules,
)
from cxloop_alerting.domain.matchers import Labels
from cxloop_alerting.domain.routing import find_route
from cxloop_common.identifiers import derive_id

ACKNOWLEDGE_TIMER = "acknowledge"
SYSTEM = "alerting"
_WAITING = (Status.OPEN, Status.REOPENED)


def fold(
    facts: Iterable[ScoreFact],
    log: Iterable[LogEntry],
    identities: Mapping[str, str],
    configurations: Configurations,
) -> dict[str, list[Case]]:
    """Fold everything known into the cases of each subject: a customer, or a hint nobody has linked yet."""
    scores: dict[str, list[ScoreFact]] = defaultdict(list)
    subject_of: dict[str, str] = {}
    for fact in newest(facts).values():
        subject = identities.get(fact.hint, fact.hint)
        subject_of[fact.document] = subject
        scores[subject].append(fact)
    entries: dict[str, list[LogEntry]] = defaultdict(list)
    for entry in {entry.id: entry for entry in log}.values():
        if entry.document in subject_of:
            entries[subject_of[entry.document]].append(entry)
    return {
        subject: cases
        for subject, held in scores.items()
        if (cases := fold_subject(held, entries[subject], configurations))
    }


def fold_subject(
    facts: Sequence[ScoreFact], log: Sequence[LogEntry], configurations: Configurations
) -> list[Case]:
    """Fold one subject: the newest revision of each of its documents, and each log entry once.

    Returns cases by rule, then in the order of their episodes.
    """
    read = _Logged.of(log)
    walks: dict[str, _Walk] = {}
    active: set[str] = set()
    for fact in facts:
        rules = triggered_rules(fact, configurations)
        for rule in rules:
            active.add(trigger_id(rule.id, fact.document))
        gone = [rule for rule in read.seen_rules(fact.document) if rule not in {rule.id for rule in rules}]
        configuration = configurations.at(fact.at)
        for rule in (*rules, *(configuration.rule(name) or Rule(name, ()) for name in gone)):
            trigger = read.trigger(fact, rule, configuration)
            if trigger is None:
                continue
            walk = walks.setdefault(rule.id, _Walk())
            walk.items.append(((trigger.position, 0, 0, fact.document), trigger))
            if trigger.id not in active:
                revised = read.revision(trigger)
                walk.items.append(((revised.at, 1, revised.seq, revised.id), revised))
    for entry in read.others:
        if entry.rule in walks:
            walks[entry.rule].items.append(((entry.at, 1, entry.seq, entry.id), entry))
    cases: list[Case] = []
    for rule_id in sorted(walks):
        walk = walks[rule_id]
        walk.good = [
            fact for fact in facts if fact.band != "low" and trigger_id(rule_id, fact.document) not in active
        ]
        walk.assigned = read.assigned
        cases += walk.run(configurations)
    return cases


@dataclass
class _Logged:
    """A subject's log, sorted out."""

    seen: dict[str, LogEntry] = field(default_factory=dict[str, LogEntry])
    by_document: dict[str, list[str]] = field(default_factory=lambda: defaultdict[str, list[str]](list))
    revised: dict[str, LogEntry] = field(default_factory=dict[str, LogEntry])
    assigned: dict[str, list[LogEntry]] = field(
        default_factory=lambda: defaultdict[str, list[LogEntry]](list)
    )
    others: list[LogEntry] = field(default_factory=list[LogEntry])

    @classmethod
    def of(cls, log: Iterable[LogEntry]) -> "_Logged":
        read = cls()
        for entry in log:
            if entry.kind is LogKind.SEEN:
                read.seen[entry.case_id] = entry
                read.by_document[entry.document].append(entry.rule)
            elif entry.kind is LogKind.REVISED:
                read.revised[entry.case_id] = entry
            elif entry.kind is LogKind.ASSIGNED:
                read.assigned[entry.case_id].append(entry)
            else:
                read.others.append(entry)
        return read

    def seen_rules(self, document: str) -> Sequence[str]:
        return self.by_document.get(document, ())

    def trigger(self, fact: ScoreFact, rule: Rule, configuration: Configuration) -> Trigger | None:
        """Return the trigger, or None if it was too old to open anything when it was first seen."""
        id_ = trigger_id(rule.id, fact.document)
        entry = self.seen.get(id_)
        if entry is not None and entry.body.get("stale"):
            return None
        seen = entry.at if entry is not None else fact.at
        return Trigger(id_, fact, rule, configuration, seen, min(fact.at, seen))

    def revision(self, trigger: Trigger) -> LogEntry:
        """Return when a trigger was first seen to trigger no longer."""
        entry = self.revised.get(trigger.id)
        if entry is not None:
            return entry
        at = max(trigger.fact.at, trigger.seen)
        id_ = derive_id(LogKind.REVISED, trigger.id)
        return LogEntry(id_, LogKind.REVISED, trigger.id, trigger.fact.document, trigger.rule.id, at, 0)


_Item = tuple[tuple[datetime, int, int, str], Trigger | LogEntry]


@dataclass
class _Walk:
    """The time line of one subject and rule, walked once from its beginning."""

    items: list[_Item] = field(default_factory=list[_Item])
    good: Sequence[ScoreFact] = ()
    assigned: Mapping[str, Sequence[LogEntry]] = field(default_factory=dict[str, Sequence[LogEntry]])
    cases: list[Case] = field(default_factory=list[Case])
    home: dict[str, Case] = field(default_factory=dict[str, Case])
    by_hand: dict[int, CaseOwner] = field(default_factory=dict[int, CaseOwner])
    """Owners that an assignment or hand-over chose, by the identity of the case."""

    def run(self, configurations: Configurations) -> list[Case]:
        self.items.sort(key=lambda item: item[0])
        for _, item in self.items:
            if isinstance(item, Trigger):
                self._trigger(item)
            elif (case := self.home.get(item.case_id)) is not None:
                if item.kind is LogKind.REVISED:
                    self._revised(case, item)
                elif item.kind is LogKind.TICK:
                    self._tick(case, item)
                else:
                    (case.effective if self._act(case, item) else case.overtaken).append(item.id)
        for case in self.cases:
            self._place(case, configurations)
        return self.cases

    # Triggers ---------------------------------------------------------------------------------------------

    def _trigger(self, trigger: Trigger) -> None:
        last = self.cases[-1] if self.cases else None
        if last is None:
            self._open(trigger)
        elif last.is_open:
            self._join(last, trigger)
        elif last.reason is Reason.SCORE_REVISED or last.resolved_at is None:
            self._open(trigger)
        elif self._is_answered(trigger):
            self._add(last, trigger)
            last.record(trigger.seen, SYSTEM, "triggered", Reason.EVIDENCE, _about(trigger))
        elif trigger.position - last.resolved_at <= trigger.configuration.reopen_within:
            self._add(last, trigger)
            self._reopen(
                last,
                trigger.seen,
                SYSTEM,
                reason=Reason.LOW_AFTER_CLOSING,
                pending={trigger.id},
                detail=_about(trigger),
            )
        else:
            self._open(trigger)

    def _open(self, trigger: Trigger) -> None:
        configuration = trigger.configuration
        case = Case(
            rule=trigger.rule.id,
            triggers=[],
            status=Status.OPEN,
            reason=Reason.LOW_SCORE,
            opened_at=trigger.seen,
            clock_from=trigger.seen,
            configuration=configuration,
            route=configuration.route,
            owner=_as_owner(configuration, configuration.fallback),
            pending={trigger.id},
        )
        self._add(case, trigger)
        self.cases.append(case)
        case.record(trigger.seen, SYSTEM, "opened", Reason.LOW_SCORE, _about(trigger))

    def _join(self, case: Case, trigger: Trigger) -> None:
        self._add(case, trigger)
        case.pending.add(trigger.id)
        if case.status in _WAITING:
            case.clock_from = min(case.clock_from, trigger.seen)
        if case.contacted_at is not None and trigger.position > case.contacted_at:
            case.contact_from = max(case.contact_from or trigger.seen, trigger.seen)
        case.record(trigger.seen, SYSTEM, "triggered", Reason.LOW_SCORE, _about(trigger))

    def _add(self, case: Case, trigger: Trigger) -> None:
        case.triggers.append(trigger)
        case.opened_at = min(case.opened_at, trigger.seen)
        self.home[trigger.id] = case

    def _is_answered(self, trigger: Trigger) -> bool:
        """Tell whether a better score of the metric had followed by the time the trigger was first seen."""
        return any(
            fact.metric == trigger.fact.metric and trigger.position < fact.at <= trigger.seen
            for fact in self.good
        )

    def _revised(self, case: Case, entry: LogEntry) -> None:
        case.revised.add(entry.case_id)
        was_pending = entry.case_id in case.pending
        case.pending.discard(entry.case_id)
        if case.is_open and case.contacted_at is None and was_pending and not case.pending:
            case.resolved_at = entry.at
            case.move(Status.RESOLVED, entry.at, SYSTEM, "resolved", reason=Reason.SCORE_REVISED)
        else:  # somebody has spoken to the customer, or other scores still stand: only a flag
            case.record(entry.at, SYSTEM, "revised", Reason.SCORE_REVISED)

    # Clock and people -------------------------------------------------------------------------------------

    def _tick(self, case: Case, entry: LogEntry) -> None:
        target = entry.body["target"]
        case.ticks.add(entry.id)
        if case.status not in _WAITING or case.escalated_at is not None:
            case.record(entry.at, SYSTEM, "escalated", Reason.OVERTAKEN)
            return
        case.escalated_at, case.escalated_to = entry.at, target
        case.record(
            entry.at,
            SYSTEM,
            "escalated",
            Reason.ACKNOWLEDGE_OVERDUE,
            {"action": entry.body["action"], "to": target, "due_at": entry.body["due_at"]},
        )
        if entry.body["action"] != "hand_over":
            return
        chosen = self._chosen(case, entry.id)
        if chosen is not None:
            owner = CaseOwner.from_body(chosen.body["owner"])
            self._give(case, owner, entry.at, reason=Reason.ACKNOWLEDGE_OVERDUE)
        else:
            case.wants_hand_over = entry

    def _act(self, case: Case, entry: LogEntry) -> bool:
        """Apply an action; False if the case no longer allows it."""
        kind = ActionKind(str(entry.body["action"]))
        body = {key: value for key, value in entry.body.items() if key not in ("action", "owner")}
        if kind is ActionKind.NOTE:
            case.record(entry.at, entry.actor, kind, kind, body)
            return True
        if kind is ActionKind.REOPEN:
            allowed = case.status is Status.RESOLVED and case is self.cases[-1]
        elif kind is ActionKind.ACKNOWLEDGE:
            allowed = case.status in _WAITING
        else:
            allowed = case.is_open
        if not allowed:
            case.record(entry.at, entry.actor, kind, Reason.OVERTAKEN, body)
            return False
        if kind is ActionKind.ACKNOWLEDGE:
            case.acknowledged_at = entry.at
            case.move(
                Status.ACKNOWLEDGED, entry.at, entry.actor, "acknowledged", reason=Reason.BY_HAND, detail=body
            )
        elif kind is ActionKind.CONTACT:
            case.contacted_at = entry.at
            case.acknowledged_at = case.acknowledged_at or entry.at
            case.move(
                Status.CONTACTED, entry.at, entry.actor, "contacted", reason=Reason.BY_HAND, detail=body
            )
        elif kind is ActionKind.ASSIGN:
            owner = CaseOwner.from_body(entry.body["owner"])
            self._give(case, owner, entry.at, reason=Reason.BY_HAND, actor=entry.actor, detail=body)
        elif kind is ActionKind.REOPEN:
            self._reopen(case, entry.at, entry.actor, reason=Reason.BY_HAND, pending=set(), detail=body)
        else:
            return self._resolve(case, entry, body)
        return True

    def _resolve(self, case: Case, entry: LogEntry, body: Mapping[str, object]) -> bool:
        """Close a case, unless it holds a low score that its author could not know of."""
        unseen = [
            trigger
            for trigger in case.triggers
            if trigger.id not in entry.known
            and trigger.id not in case.revised
            and (case.contacted_at is None or trigger.position > case.contacted_at)
            and not self._is_answered(trigger)
        ]
        if unseen:
            seen = min(trigger.seen for trigger in unseen)
            ids = {trigger.id for trigger in unseen}
            self._reopen(case, seen, entry.actor, reason=Reason.LATE_TRIGGER, pending=ids, detail=body)
            return False
        case.resolved_at = entry.at
        case.root_cause = str(body["root_cause"]) if "root_cause" in body else None
        case.pending.clear()
        case.move(Status.RESOLVED, entry.at, entry.actor, "resolved", reason=Reason.BY_HAND, detail=body)
        return True

    def _reopen(
        self,
        case: Case,
        at: datetime,
        actor: str,
        *,
        reason: Reason,
        pending: set[str],
        detail: Mapping[str, object],
    ) -> None:
        case.clock_from = at
        case.openings += 1
        case.pending = pending
        case.acknowledged_at = case.contacted_at = case.contact_from = None
        case.resolved_at = case.root_cause = None
        case.escalated_at = case.escalated_to = case.wants_hand_over = None
        case.move(Status.REOPENED, at, actor, "reopened", reason=reason, detail=detail)

    # Owners -----------------------------------------------------------------------------------------------

    def _chosen(self, case: Case, cause: str) -> LogEntry | None:
        """Return the first logged choice of an owner for a cause, under any id of the case."""
        found = [
            entry
            for trigger in case.triggers
            for entry in self.assigned.get(trigger.id, ())
            if entry.body["cause"] == cause
        ]
        return min(found, key=lambda entry: (entry.at, entry.seq, entry.id), default=None)

    def _give(
        self,
        case: Case,
        owner: CaseOwner,
        at: datetime,
        *,
        reason: Reason,
        actor: str = SYSTEM,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        self.by_hand[id(case)] = owner
        case.record(at, actor, "assigned", reason, {**(detail or {}), "owner": owner.as_body()})

    def _place(self, case: Case, configurations: Configurations) -> None:
        """Say which route and owner the case has: as logged when it was opened, else as configured."""
        chosen = self._chosen(case, "opened")
        if chosen is not None:
            case.is_assigned = True
            case.configuration = configurations.by_digest(chosen.body["config"])
            case.route = case.configuration.find_route(chosen.body["route"])
            case.copies = tuple(chosen.body["copies"])
            case.owner = CaseOwner.from_body(chosen.body["owner"])
        else:
            case.configuration = case.triggers[0].configuration
            answer = find_route(case.configuration, routing_labels(case.triggers[0]))
            case.route = answer.owner
            case.copies = answer.names[1:]
            case.owner = _as_owner(case.configuration, answer.owner.owner)
        case.owner = self.by_hand.get(id(case), case.owner)


def routing_labels(trigger: Trigger) -> Labels:
    """Return what routes can match: the score's labels, its rule and its severity."""
    return {
        **trigger.fact.labels,
        "rule": trigger.rule.id,
        "severity": severity_of(trigger.rule, trigger.fact.labels),
    }


def wanted_timers(cases: Iterable[Case]) -> list[WantedTimer]:
    """Return the timers that the cases call for; all others are obsolete."""
    wanted: list[WantedTimer] = []
    for case in cases:
        wait = case.route.deadlines.acknowledge
        if wait is None or case.status not in _WAITING or case.escalated_at is not None:
            continue
        # Part of the id is which opening it is for: a reopened case is given its time again.
        opening = f"{case.openings} {case.clock_from.isoformat()}"
        id_ = derive_id("timer", case.id, ACKNOWLEDGE_TIMER, "0", opening)
        if tick_id(id_) in case.ticks:
            continue
        due_at = case.clock_from + wait + case.route.step.wait
        wanted.append(WantedTimer(id_, case.id, ACKNOWLEDGE_TIMER, 0, due_at))
    return wanted


def tick_id(timer: str) -> str:
    """Return the id of the log entry that a timer leaves; the log takes it once."""
    return derive_id(LogKind.TICK, timer)


def _as_owner(configuration: Configuration, ref: OwnerRef) -> CaseOwner:
    team = ref.id if ref.kind == "team" else None
    return CaseOwner(ref.kind, ref.id, configuration.name_of(ref), team)


def _about(trigger: Trigger) -> dict[str, object]:
    return {"trigger": trigger.id, "metric": trigger.fact.metric, "value": trigger.fact.value}
