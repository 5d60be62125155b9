"""Log entries that people and timers write. Their ids are derived, so that a retry writes nothing twice."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cxloop_alerting.domain.case import Case, WantedTimer
from cxloop_alerting.domain.facts import ActionKind, LogEntry, LogKind
from cxloop_alerting.domain.fold import tick_id
from cxloop_common.events.base import rfc3339


def tick_entry(case: Case, timer: WantedTimer, now: datetime) -> LogEntry:
    """Return the entry of a timer that fired: it says what the case's chain asked for at that moment."""
    step = case.route.step
    return LogEntry(
        tick_id(timer.id),
        LogKind.TICK,
        case.id,
        case.triggers[0].fact.document,
        case.rule,
        max(now, last_change(case)),
        0,
        body={
            "timer": timer.kind,
            "step": timer.step,
            "action": step.action,
            "target": str(step.target),
            "due_at": rfc3339(timer.due_at),
        },
    )


def action_entry(
    case: Case, kind: ActionKind, *, id_: str, actor: str, body: Mapping[str, Any], now: datetime
) -> LogEntry:
    """Return the entry of an accepted action: its author saw the triggers that the case has now."""
    return LogEntry(
        id_,
        LogKind.ACTION,
        case.id,
        case.triggers[0].fact.document,
        case.rule,
        # Not before what it answers, even if a clock was set back in between.
        max(now, last_change(case)),
        0,
        actor=actor,
        body={**body, "action": str(kind)},
        known=frozenset(case.trigger_ids),
    )


def last_change(case: Case) -> datetime:
    """Return when the case last changed, by its own history."""
    return max(change.at for change in case.history)
