"""What the fold reads: the newest revision of each score, and the log of what happened on our own clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from cxloop_alerting.domain.configuration import SEVERITIES, Configurations, Rule, Severity
from cxloop_alerting.domain.matchers import Labels, all_match
from cxloop_common.events import ScoreRecorded
from cxloop_common.identifiers import derive_id, parse_document_id


@dataclass(frozen=True, slots=True)
class ScoreFact:
    """A score as rules see it."""

    document: str
    hint: str
    """The customer hint; an anonymous score stands for itself, under its document id."""
    at: datetime
    revision: tuple[int, int]
    record_id: str
    metric: str
    band: str
    value: float
    scale: Mapping[str, Any]
    labels: Labels
    """Everything that matchers can ask for."""

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing says whose score it is."""
        return self.hint == self.document

    def supersedes(self, other: "ScoreFact") -> bool:
        """Tell whether this revision is the one to keep; of equal ones the least (time, id) is."""
        if self.revision != other.revision:
            return self.revision > other.revision
        return (self.at, self.record_id) < (other.at, other.record_id)


def score_fact(score: ScoreRecorded) -> ScoreFact:
    """Narrow a score record down to what rules, routing and alert records need."""
    document = parse_document_id(score.document)
    labels: dict[str, str | tuple[str, ...]] = dict(score.dimensions)
    # Own names win over dimensions of the same name: a sender must not be able to fake a band.
    labels |= {
        "metric": score.metric,
        "band": score.band,
        "value": f"{score.raw:g}",
        "normalised": str(score.normalised),
        "source": document.source,
        "kind": document.kind.value,
        "tag": tuple(score.tags),
    }
    if score.wants_contact is not None:
        labels["wants_contact"] = "true" if score.wants_contact else "false"
    return ScoreFact(
        document=score.document,
        hint=score.customer_hint or score.document,
        at=score.event_time,
        revision=score.revision,
        record_id=score.id,
        metric=score.metric,
        band=score.band,
        value=score.raw,
        scale=score.scale.model_dump(mode="json", exclude_none=True),
        labels=labels,
    )


class LogKind(StrEnum):
    """What a log entry says."""

    SEEN = "seen"
    """A trigger was first met. Deadlines run from here: by event time a late response is born overdue."""
    REVISED = "revised"
    """A trigger no longer triggers: its score was edited upwards."""
    ASSIGNED = "assigned"
    """Who got the case. Round-robin and load depend on arrival, so the choice is written down."""
    ACTION = "action"
    """Somebody did something to a case."""
    TICK = "tick"
    """A timer fired."""


class ActionKind(StrEnum):
    """What people do with cases."""

    ACKNOWLEDGE = "acknowledge"
    CONTACT = "contact"
    ASSIGN = "assign"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the append-only log."""

    id: str
    kind: LogKind
    case_id: str
    """Any id the case ever had: the id of one of its triggers."""
    document: str
    """The document of that trigger. Entries follow their document, so merges and splits move none of them."""
    rule: str
    at: datetime
    seq: int
    """Order of writing; settles equal times."""
    actor: str = "alerting"
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    known: frozenset[str] = frozenset()
    """Triggers that the author of an action could see."""


def trigger_id(rule: str, document: str) -> str:
    """Return the id of a trigger, and of the case whose first trigger it is: BLAKE2b-16 in hex."""
    return derive_id(rule, document)


def triggered_rules(fact: ScoreFact, configurations: Configurations) -> tuple[Rule, ...]:
    """Return the rules that a score triggers, judged by the configuration of the score's own time."""
    return tuple(
        rule
        for rule in configurations.at(fact.at).rules
        if all_match(rule.when, fact.labels)
        and not any(matcher.matches(fact.labels) for matcher in rule.unless)
    )


def severity_of(rule: Rule, labels: Labels) -> Severity:
    """Return the severity a score gives to a case: the rule's own, or the highest it is raised to."""
    raised: list[Severity] = [
        name for name, matchers in rule.raises if any(matcher.matches(labels) for matcher in matchers)
    ]
    severities: list[Severity] = [rule.severity, *raised]
    return max(severities, key=SEVERITIES.index)


def newest(facts: Iterable[ScoreFact]) -> dict[str, ScoreFact]:
    """Return the revision of each document that counts."""
    kept: dict[str, ScoreFact] = {}
    for fact in facts:
        held = kept.get(fact.document)
        if held is None or fact.supersedes(held):
            kept[fact.document] = fact
    return kept


def unlogged(
    facts: Iterable[ScoreFact], log: Iterable[LogEntry], configurations: Configurations, now: datetime
) -> list[LogEntry]:
    """Return the `seen` and `revised` entries that are due: written once each, with stable ids."""
    seen: dict[str, LogEntry] = {}
    revised: set[str] = set()
    for entry in log:
        if entry.kind is LogKind.SEEN:
            seen[entry.case_id] = entry
        elif entry.kind is LogKind.REVISED:
            revised.add(entry.case_id)
    due: list[LogEntry] = []
    for fact in facts:
        active: set[str] = set()
        for rule in triggered_rules(fact, configurations):
            trigger = trigger_id(rule.id, fact.document)
            active.add(trigger)
            if trigger not in seen:
                # Written down, so that a later edit of the score's time cannot make a case vanish.
                stale = now - fact.at > configurations.at(fact.at).open_within
                body = {"stale": stale}
                due.append(_entry(LogKind.SEEN, trigger, fact.document, rule=rule.id, at=now, body=body))
        due.extend(
            _entry(LogKind.REVISED, trigger, fact.document, rule=entry.rule, at=now, body={})
            for trigger, entry in seen.items()
            if entry.document == fact.document and trigger not in active and trigger not in revised
        )
    return due


def _entry(
    kind: LogKind, trigger: str, document: str, *, rule: str, at: datetime, body: Mapping[str, Any]
) -> LogEntry:
    return LogEntry(derive_id(kind, trigger), kind, trigger, document, rule, at, 0, body=body)
