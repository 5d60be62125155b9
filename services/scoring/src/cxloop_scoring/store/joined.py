"""Answers of metrics in which documents meet, each from one snapshot.

Where rows are many they are counted by PostgreSQL: contacts, sends, changes of state. Cases are few and are
counted here.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.joined import contacts, lifecycle, loop, response_rate, revenue
from cxloop_scoring.domain.joined.loop import RawTallies
from cxloop_scoring.domain.joined.tallies import Cell, Evaluate, Tally, largest
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.store import met_cases, met_customers
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.meeting import Asked, asked_of, plan_for_many
from cxloop_scoring.store.words import words_of

_Count: TypeAlias = Callable[[Asked], Awaitable[RawTallies]]

_PLANS: Final[Mapping[str, tuple[_Count, Evaluate]]] = {
    "first_contact_resolution": (met_customers.resolved_at_first_contact, contacts.first_contact_resolution),
    "repeat_contact_rate": (met_customers.repeated_contacts, contacts.repeat_contact_rate),
    "response_rate": (met_customers.answered_sends, response_rate.response_rate),
    "retention": (met_customers.cohorts, lifecycle.retention),
    "churn": (met_customers.cohorts, lifecycle.churn),
    "closed_loop_rate": (met_cases.closed_cases, loop.closed_loop_rate),
    "recovery_rate": (met_cases.recovered_cases, loop.recovery_rate),
    "recovery_lift": (met_cases.arms, loop.recovery_lift),
    "revenue_at_risk": (met_cases.money_at_risk, revenue.revenue_at_risk),
}


async def joined_answers(
    connection: Connection, questions: Sequence[Question], rules: Rules, now: datetime
) -> list[dict[Cell, Answer]]:
    """Answer questions that differ in nothing but their metric, by number of the span and group.

    What two of them need is read once. Nothing is withheld; spans and groups of which nothing is known are left
    out. Runs in the caller's transaction, which gives all statements one snapshot. Raises UnknownDimensionError.
    """
    asked = await asked_of(connection, questions, rules, now) if questions else None
    if asked is None:
        return [{} for _ in questions]
    await plan_for_many(connection)
    found: list[dict[Cell, Answer]] = []
    for question in questions:
        count, evaluate = _PLANS[question.metric.name]
        tallies = largest(await _named(asked, await asked.once(count)))
        found.append({cell: evaluate(tally) for cell, tally in tallies.items()})
    return found


async def _named(asked: Asked, raw: RawTallies) -> dict[Cell, Tally]:
    if asked.question.by is None:
        return {(place, None): tally for (place, _), tally in raw.items()}
    words = await words_of(asked.connection, {value for _, value in raw})
    return {(place, words[value][1]): tally for (place, value), tally in raw.items()}
