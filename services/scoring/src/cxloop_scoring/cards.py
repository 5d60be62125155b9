"""Cards: single documents as they are shown, with their clocks, targets, observations and revisions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from cxloop_scoring.domain.documents import contributions, fold, source_of
from cxloop_scoring.domain.facts import (
    AGENT,
    CUSTOMER,
    Deleted,
    Facts,
    Merged,
    Tombstone,
    conflicts,
    event_ids,
)
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.metrics import BY_NUMBER, MetricNumber
from cxloop_scoring.domain.observations import Observation
from cxloop_scoring.domain.responses import Response, Send
from cxloop_scoring.domain.rules import Clock, Rules
from cxloop_scoring.domain.tickets import TARGET, Ticket, fold_ticket
from cxloop_scoring.presentation import BANDS, deliveries_of, in_unit, name_of
from cxloop_scoring.store.explaining import HeldDocument, LedgerRow
from cxloop_scoring.store.scales import Scale

_AUTHORS: Final = ("nobody", "customer", "agent", "bot")
_BUSINESS: Final = {
    int(metric.business): metric.name for metric in BY_NUMBER.values() if metric.business is not None
}
"""Names of the metrics whose durations in business hours a number holds."""


def _at(moment: int | None) -> datetime | None:
    return None if moment is None else instant(moment)


def _seconds(since: int | None, until: int | None) -> float | None:
    return None if since is None or until is None else max(0, until - since) / 1_000_000


def _named(number: int) -> str:
    return _BUSINESS.get(number, "") or name_of(number)


def _observation(found: Observation) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "metric": _named(found.metric),
        "value": in_unit(found.metric, found.value),
        "band": None if found.band is None else BANDS[found.band],
        "at": instant(found.at),
    }
    if found.metric in _BUSINESS:
        shown["hours"] = "business"
    if found.metric == MetricNumber.SLA_BREACH_RATE:
        shown["target"] = dict(found.dimensions.more).get(TARGET)
    return shown


def _revisions(rows: list[LedgerRow]) -> list[dict[str, Any]]:
    """Show what was booked and withdrawn at each recording, oldest first."""
    shown: list[dict[str, Any]] = []
    for recorded_at, found in groupby(rows, lambda row: row.recorded_at):
        change: dict[str, Any] = {"recorded_at": recorded_at, "withdrawn": [], "booked": []}
        for row in found:
            change["booked" if row.sign > 0 else "withdrawn"].append(
                {
                    "metric": _named(row.metric),
                    "value": in_unit(row.metric, row.value),
                    "band": None if row.band is None else BANDS[row.band],
                    "at": row.at,
                    **({"hours": "business"} if row.metric in _BUSINESS else {}),
                }
            )
        shown.append(change)
    return shown


def _common(held: HeldDocument, rules: Rules, rows: list[LedgerRow]) -> dict[str, Any]:
    events = event_ids(held.facts)
    return {
        "document": held.id,
        "revision": [held.generation, len(held.facts)],
        "revisions": _revisions(rows),
        "event_ids": events,
        "deliveries": deliveries_of(events),
        "conflicts": {
            "lost": conflicts(held.facts),
            "event_ids": sorted(
                {key.partition("\x00")[0] for key, fact in held.facts.items() if isinstance(fact, Tombstone)}
            ),
        },
        "observations": [_observation(found) for found in contributions(held.id, held.facts, rules)],
    }


def _scale(least: float, most: float, lower_is_better: bool) -> dict[str, Any]:  # noqa: FBT001 - as it is stored
    return {
        "min": least,
        "max": most,
        "polarity": "lower_is_better" if lower_is_better else "higher_is_better",
    }


def response_card(
    held: HeldDocument, rules: Rules, rows: list[LedgerRow], others: Sequence[Scale] = ()
) -> dict[str, Any]:
    """Show a response; `metric` and what follows from it are missing while only its sending is known.

    `others` are the scales of other answers to its survey that contradict its own.
    """
    card = _common(held, rules, rows)
    folded = fold(held.id, held.facts)
    sent = folded if isinstance(folded, Send) else folded.sent if isinstance(folded, Response) else None
    card["sent_at"] = None if sent is None else instant(sent.at)
    if isinstance(folded, Response):
        answer = folded.answer
        card |= {
            "metric": answer.metric,
            "score": answer.score,
            "scale": {**_scale(answer.least, answer.most, answer.lower_is_better), "good": answer.good},
            "scale_conflicts": [_scale(*other) for other in others],
            "normalised": folded.normalised,
            "band": BANDS[folded.band],
            "sentiment": None if answer.polarity is None else answer.polarity / 100,
            "answered_at": instant(answer.at),
            "dimensions": folded.dimensions.named(),
            "ticket": folded.ticket,
            "wants_contact": answer.wants_contact,
            "anomalies": [found.value for found in folded.anomalies],
        }
    return card


def _state(held: HeldDocument, ticket: Ticket | None, merged: bool) -> str:  # noqa: FBT001 - private, one caller
    if any(isinstance(fact, Deleted) for fact in held.facts.values()):
        return "deleted"
    if merged:
        return "merged"
    return "counted" if ticket is not None else "incomplete"


def ticket_card(held: HeldDocument, rules: Rules, now: datetime, rows: list[LedgerRow]) -> dict[str, Any]:
    """Show a ticket; its clocks are missing until its creation is known, and once it was deleted."""
    facts: Facts = held.facts
    ticket = fold_ticket(source_of(held.id), held.id, facts)
    into = sorted({fact.into for fact in facts.values() if isinstance(fact, Merged) and fact.into != held.id})
    card = _common(held, rules, rows) | {
        "state": _state(held, ticket, bool(into)),
        "merged_into": into,
    }
    if ticket is not None:
        card |= {
            "created_by": _AUTHORS[ticket.created_by],
            "dimensions": ticket.dimensions.named(),
            "tags": [value for name, value in ticket.dimensions.more if name == "tag"],
            "clocks": _clocks(ticket),
            "cycles": _cycles(ticket, rules),
            "durations": _durations(ticket, rules),
            "handoffs": ticket.handoffs,
            "escalated": ticket.escalated,
            "handle_time": None if ticket.worked is None else ticket.worked / 1000,
            "sla": _targets(ticket, rules, microseconds(now)),
            "anomalies": [found.value for found in ticket.anomalies],
        }
    return card


def _clocks(ticket: Ticket) -> dict[str, Any]:
    return {
        "created_at": _at(ticket.created_at),
        "waiting_since": _at(ticket.waiting_since),
        "first_reply_at": _at(ticket.first_reply_at),
        "first_solved_at": _at(ticket.first_solved_at),
        "last_solved_at": _at(ticket.last_solved_at),
        "merged_at": _at(ticket.merged_at),
        "reopened": ticket.reopened,
        "reopened_at": [_at(at) for at in ticket.solves.reopenings],
        "customer_waits_since": _at(ticket.messages.waiting_since),
        "inbound_messages": ticket.messages.inbound,
        "customer_facing": ticket.created_by == CUSTOMER or ticket.waiting_since is not None,
    }


def _both(since: int | None, until: int | None, ticket: Ticket, rules: Rules) -> dict[str, Any]:
    """Give a duration in seconds around the clock, and in the business time that applies to the ticket."""
    calendar = rules.calendar_for(ticket.dimensions.team)
    business = None
    if calendar is not None and since is not None and until is not None:
        business = calendar.between(since, until) / 1_000_000
    return {"seconds": _seconds(since, until), "business_seconds": business}


def _cycles(ticket: Ticket, rules: Rules) -> list[dict[str, Any]]:
    first = 0 if ticket.created_by == AGENT else 1
    return [
        {
            "kind": "first_response" if number < first else "next_response",
            "since": _at(cycle.since),
            "answered": _at(cycle.answered),
            **_both(cycle.since, cycle.answered, ticket, rules),
        }
        for number, cycle in enumerate(ticket.messages.cycles)
    ]


def _durations(ticket: Ticket, rules: Rules) -> Mapping[str, dict[str, Any]]:
    created = ticket.created_at
    return {
        "first_response_time": _both(ticket.waiting_since, ticket.first_reply_at, ticket, rules),
        "first_resolution_time": _both(created, ticket.first_solved_at, ticket, rules),
        "full_resolution_time": _both(created, ticket.last_solved_at, ticket, rules),
    }


def _targets(ticket: Ticket, rules: Rules, now: int) -> list[dict[str, Any]]:
    calendar = rules.calendar_for(ticket.dimensions.team)
    shown: list[dict[str, Any]] = []
    for target in rules.sla_targets(ticket.dimensions.named()):
        if target.clock is Clock.FIRST_RESPONSE:
            start, done = ticket.waiting_since, ticket.first_reply_at
        else:
            start, done = ticket.created_at, ticket.first_solved_at
        due = None if start is None else target.due(start, calendar)
        shown.append(
            {
                "target": target.clock.value,
                "within": target.within / 1_000_000,
                "hours": target.hours.value,
                "started_at": _at(start),
                "due_at": _at(due),
                "done_at": _at(done),
                "status": _standing(due, done, now),
            }
        )
    return shown


def _standing(due: int | None, done: int | None, now: int) -> str:
    if due is None:
        return "not_started"
    if done is not None:
        return "met" if done <= due else "breached"
    return "breached" if now > due else "running"
