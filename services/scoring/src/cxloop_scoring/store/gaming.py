"""What agents' tickets and scores look like, for the tests on numbers that were made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cxloop_scoring.domain.gaming import Reopened, Surveyed
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band
from cxloop_scoring.domain.windows import DAY, Span
from cxloop_scoring.store.meeting import FAR, SCORES, Asked, plan_for_many
from cxloop_scoring.store.sums import Parameters

SCORED: Final[Mapping[str, tuple[MetricNumber, int]]] = {
    "nps": (MetricNumber.NPS, 10),
    "csat": (MetricNumber.CSAT, 5),
    "ces": (MetricNumber.CES, 7),
}
"""Metrics whose distributions are compared, with the best score of their usual scale."""

_SURVEYS: Final = (*SCORES, MetricNumber.RESPONSE_RATE, MetricNumber.SEND_UNLINKED)
_LONGEST_TICKET: Final = 365 * DAY
"""How long before a response its ticket may have been created for its agent to be found; microseconds."""


@dataclass(frozen=True, slots=True)
class AgentRows:
    """Counts by agent."""

    surveyed: Mapping[str, Surveyed]
    scores: Mapping[str, Mapping[str, Mapping[int, int]]]
    """By metric and agent: how often each whole score was given."""
    reopened: Mapping[str, Reopened]


async def agent_rows(asked: Asked) -> AgentRows:
    """Count by agent what the question's filters and first span leave; unassigned tickets are nobody's."""
    await plan_for_many(asked.connection)
    surveyed, scores, reopened = await _surveyed(asked), await _scores(asked), await _reopened(asked)
    ids = {*surveyed, *reopened, *(agent for counts in scores.values() for agent in counts)}
    rows = await asked.connection.fetch(
        "SELECT id, value FROM dimension_values WHERE id = ANY($1::int4[])", sorted(ids)
    )
    name: dict[int, str] = {row[0]: row[1] for row in rows}
    return AgentRows(
        {name[agent]: found for agent, found in surveyed.items()},
        {
            metric: {name[agent]: found for agent, found in counts.items()}
            for metric, counts in scores.items()
        },
        {name[agent]: found for agent, found in reopened.items()},
    )


async def _surveyed(asked: Asked) -> dict[int, Surveyed]:
    """Count tickets created in the span, clean and troubled, and those that a survey asked about."""
    parameters = Parameters()
    later = Span(asked.since, FAR)
    tickets = asked.chosen_net(parameters, (MetricNumber.TICKET_VOLUME,), ("agent",))
    reopened = asked.net(parameters, (MetricNumber.REOPEN_RATE,), (), later, "AND value > 0")
    escalated = asked.net(parameters, (MetricNumber.ESCALATION_RATE,), (), later, "AND value > 0")
    handed = asked.net(parameters, (MetricNumber.HANDOFFS,), (), later, f"AND band = {int(Band.HIGH)}")
    surveys = asked.net(parameters, _SURVEYS, ("ticket",), later, "AND ticket IS NOT NULL")
    rows = await asked.connection.fetch(
        f"""
        WITH troubled AS (
            SELECT document FROM ({reopened}) AS r UNION SELECT document FROM ({escalated}) AS e
            UNION SELECT document FROM ({handed}) AS h
        ),
        surveyed AS (SELECT DISTINCT ticket AS document FROM ({surveys}) AS s)
        SELECT one.agent, count(*) FILTER (WHERE t.document IS NULL),
            count(*) FILTER (WHERE t.document IS NULL AND s.document IS NOT NULL),
            count(*) FILTER (WHERE t.document IS NOT NULL),
            count(*) FILTER (WHERE t.document IS NOT NULL AND s.document IS NOT NULL)
        FROM ({tickets}) AS one LEFT JOIN troubled AS t USING (document) LEFT JOIN surveyed AS s USING (document)
        WHERE one.agent IS NOT NULL GROUP BY one.agent
        """,
        *parameters.values,
    )
    return {row[0]: Surveyed(*row[1:]) for row in rows}


async def _scores(asked: Asked) -> dict[str, dict[int, dict[int, int]]]:
    """Count scores by the agent of the response, else of the ticket it is about."""
    parameters = Parameters()
    metrics = {int(number): name for name, (number, _) in SCORED.items()}
    given = asked.chosen_net(parameters, list(metrics), ("agent", "ticket", "value"))
    span = Span(asked.since - _LONGEST_TICKET, asked.until)
    tickets = asked.net(parameters, (MetricNumber.TICKET_VOLUME,), ("agent",), span, "AND agent IS NOT NULL")
    rows = await asked.connection.fetch(
        f"""
        SELECT one.metric, coalesce(one.agent, t.agent) AS answerable, one.value / 100 AS score, count(*)
        FROM ({given}) AS one LEFT JOIN ({tickets}) AS t ON t.document = one.ticket
        WHERE coalesce(one.agent, t.agent) IS NOT NULL GROUP BY 1, 2, 3
        """,
        *parameters.values,
    )
    found: dict[str, dict[int, dict[int, int]]] = {name: {} for name in SCORED}
    for metric, agent, score, count in rows:
        found[metrics[metric]].setdefault(agent, {})[score] = count
    return found


async def _reopened(asked: Asked) -> dict[int, Reopened]:
    """Count reopened tickets, and those of them that a merge took out of the numbers."""
    parameters = Parameters()
    merged = int(MetricNumber.MERGED_AWAY)
    both = asked.chosen_net(
        parameters, (MetricNumber.REOPEN_RATE, MetricNumber.MERGED_AWAY), ("agent", "value")
    )
    rows = await asked.connection.fetch(
        f"""
        SELECT agent, count(*), count(*) FILTER (WHERE metric = {merged}) FROM ({both}) AS one
        WHERE agent IS NOT NULL AND value > 0 GROUP BY agent
        """,
        *parameters.values,
    )
    return {row[0]: Reopened(row[1], row[2]) for row in rows}
