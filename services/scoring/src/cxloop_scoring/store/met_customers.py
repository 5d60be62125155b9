"""Contacts, sends and changes of state of one customer, counted by PostgreSQL."""

from typing import Final

from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.joined.contacts import WEEK
from cxloop_scoring.domain.joined.loop import RawTallies
from cxloop_scoring.domain.joined.response_rate import ANSWER_TIME
from cxloop_scoring.domain.joined.tallies import Tally
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store.meeting import SCORES, Asked
from cxloop_scoring.store.relationship import MICROSECONDS
from cxloop_scoring.store.sums import Parameters

_SOLVED: Final = (MetricNumber.FIRST_RESOLUTION_TIME,)
_CANDIDATES: Final = (MetricNumber.FIRST_CONTACT_RESOLUTION,)
_CONTACTS: Final = (MetricNumber.REPEAT_CONTACT_RATE,)
_JUDGED: Final = "AND l.customer IS NOT NULL AND l.contact_type IS NOT NULL"
_WEEK: Final = "interval '7 days'"
_ANSWER_TIME: Final = "interval '90 days'"


async def resolved_at_first_contact(asked: Asked, rules: Rules) -> RawTallies:
    """Count solved tickets; hits took one contact, and nobody came back about the matter within a week."""
    del rules
    parameters = Parameters()
    recent = parameters.add(instant(asked.now - WEEK))
    statement = f"""
        SELECT place, grouped, sum(sign)::int8 AS n,
            coalesce(sum(sign) FILTER (WHERE at > {recent}::timestamptz), 0)::int8 AS provisional
        FROM ({asked.chosen(parameters, _SOLVED, ("at",))}) AS solved GROUP BY place, grouped
    """
    tallies: RawTallies = {}
    for place, group, n, provisional in await asked.connection.fetch(statement, *parameters.values):
        tallies[place, group] = Tally(n, 0, {"provisional": provisional})
    parameters = Parameters()
    candidates = asked.chosen_net(parameters, _CANDIDATES, ("contact_type",))
    after = Span(asked.since, asked.until + WEEK)
    contacts = asked.net(parameters, _CONTACTS, ("contact_type",), after, _JUDGED)
    statement = f"""
        SELECT place, grouped, count(*) FROM ({candidates}) AS one
        WHERE NOT EXISTS (
            SELECT FROM ({contacts}) AS c
            WHERE c.owner = one.owner AND c.contact_type = one.contact_type AND c.document <> one.document
                AND c.at > one.at AND c.at <= one.at + {_WEEK}
        )
        GROUP BY place, grouped
    """
    for place, group, hits in await asked.connection.fetch(statement, *parameters.values):
        tallies.setdefault((place, group), Tally()).hits = hits
    return tallies


async def repeated_contacts(asked: Asked, rules: Rules) -> RawTallies:
    """Count contacts whose customer and contact type are known; hits had an earlier one within a week."""
    del rules
    parameters = Parameters()
    contacts = asked.chosen(parameters, _CONTACTS, ("customer", "contact_type"))
    statement = f"""
        SELECT place, grouped,
            coalesce(sum(sign) FILTER (WHERE customer IS NOT NULL AND contact_type IS NOT NULL), 0)::int8,
            coalesce(sum(sign) FILTER (WHERE customer IS NULL OR contact_type IS NULL), 0)::int8
        FROM ({contacts}) AS contacts GROUP BY place, grouped HAVING sum(sign) > 0
    """
    tallies: RawTallies = {}
    for place, grouped, judged, unjudged in await asked.connection.fetch(statement, *parameters.values):
        tallies[place, grouped] = Tally(judged, 0, {"unjudged": unjudged})
    parameters = Parameters()
    before = Span(asked.since - WEEK, asked.until)
    group, join = asked.group(parameters)
    net = asked.net(parameters, _CONTACTS, ("contact_type", *asked.filed), before, _JUDGED)
    # The one just before tells for all: were it more than a week ago, so would be those before it.
    statement = f"""
        WITH walked AS (
            SELECT net.*, lag(at) OVER (PARTITION BY owner, contact_type ORDER BY at, document) AS before
            FROM ({net}) AS net
        )
        SELECT s.place, {group}, count(*)
        FROM (SELECT * FROM walked WHERE before >= at - {_WEEK}) AS l
        JOIN {asked.of_spans(parameters)} ON l.at >= s.since AND l.at < s.until {join}
        WHERE TRUE {asked.filters(parameters)} GROUP BY 1, 2
    """
    for place, grouped, hits in await asked.connection.fetch(statement, *parameters.values):
        tallies[place, grouped].hits = hits
    return tallies


async def answered_sends(asked: Asked, rules: Rules) -> RawTallies:
    """Count surveys sent; hits were answered, by the response they name or by their customer."""
    del rules
    parameters = Parameters()
    sends = asked.chosen(parameters, (MetricNumber.RESPONSE_RATE, MetricNumber.SEND_UNLINKED), ("value",))
    statement = f"""
        SELECT place, grouped, sum(sign)::int8, sum(sign * value)::int8
        FROM ({sends}) AS sends GROUP BY place, grouped HAVING sum(sign) > 0
    """
    rows = await asked.connection.fetch(statement, *parameters.values)
    tallies: RawTallies = {(row[0], row[1]): Tally(row[2], row[3]) for row in rows}
    parameters = Parameters()
    known = "AND l.customer IS NOT NULL AND l.survey IS NOT NULL"
    unlinked = asked.chosen_net(
        parameters, (MetricNumber.SEND_UNLINKED,), ("survey", "source", "value"), known
    )
    later = Span(asked.since, asked.until + ANSWER_TIME)
    answers = asked.net(parameters, SCORES, ("survey", "source"), later, known)
    statement = f"""
        SELECT place, grouped, count(*) FROM ({unlinked}) AS one
        WHERE value = 0 AND EXISTS (
            SELECT FROM ({answers}) AS a
            WHERE a.owner = one.owner AND a.survey = one.survey AND a.source = one.source
                AND a.at >= one.at AND a.at < one.at + {_ANSWER_TIME}
        )
        GROUP BY place, grouped
    """
    for place, grouped, hits in await asked.connection.fetch(statement, *parameters.values):
        tallies[place, grouped].hits += hits
    return tallies


async def cohorts(asked: Asked, rules: Rules) -> RawTallies:
    """Count customers who were active just before a span; hits had left just before its end.

    A customer is filed where the change that made them active is filed.
    """
    del rules
    if len(asked.spans) == 1 and not asked.filed:
        found = await _whole_cohort(asked)
        if found is not None:
            return found
    parameters = Parameters()
    lifetime = Span(BEGINNING, asked.until)
    group, join = asked.group(parameters)
    # Changes of all identifiers of a customer are walked together; a state lasts until the next change.
    statement = f"""
        WITH told AS (
            SELECT net.*, lag(value) OVER (PARTITION BY owner ORDER BY at, document) AS before
            FROM ({asked.net(parameters, (MetricNumber.LIFECYCLE,), ("value", *asked.filed), lifetime)}) AS net
            WHERE owner IS NOT NULL
        ),
        changes AS MATERIALIZED (
            SELECT told.*, coalesce(lead(at) OVER (PARTITION BY owner ORDER BY at, document), 'infinity') AS ended
            FROM told WHERE value IS DISTINCT FROM before
        )
        SELECT s.place, {group}, count(*), count(*) FILTER (WHERE last.value = 0)
        FROM {asked.of_spans(parameters)}
        JOIN changes AS l ON l.value = 1 AND l.at < s.since AND l.ended >= s.since
        JOIN changes AS last ON last.owner = l.owner AND last.at < s.until AND last.ended >= s.until
        {join}
        WHERE TRUE {asked.filters(parameters)} GROUP BY 1, 2
    """
    rows = await asked.connection.fetch(statement, *parameters.values)
    return {(row[0], row[1]): Tally(row[2], row[3]) for row in rows}


async def _whole_cohort(asked: Asked) -> RawTallies | None:
    """Count the cohort of one span by the last word on each customer; None where documents must decide.

    They must where documents of one customer tell of different states in the same microsecond.
    """
    parameters = Parameters()
    since = parameters.add(instant(max(BEGINNING, asked.since)))
    net = asked.net(
        parameters,
        (MetricNumber.LIFECYCLE,),
        ("value",),
        Span(BEGINNING, asked.until),
        "AND l.customer IS NOT NULL",
    )
    # Of states at one time `up` prefers active, and `down` left; so far apart they are that times decide first.
    statement = f"""
        SELECT count(*), count(*) FILTER (WHERE until_up & 1 = 0),
            coalesce(bool_or((since_up & 1) + (since_down & 1) <> 1 OR (until_up & 1) + (until_down & 1) <> 1), FALSE)
        FROM (
            SELECT max(up) FILTER (WHERE at < {since}::timestamptz) AS since_up,
                max(down) FILTER (WHERE at < {since}::timestamptz) AS since_down,
                max(up) AS until_up, max(down) AS until_down
            FROM (
                SELECT owner, at, {MICROSECONDS} * 2 + l.value AS up, {MICROSECONDS} * 2 + 1 - l.value AS down
                FROM ({net}) AS l
            ) AS states
            GROUP BY owner
        ) AS customers
        WHERE since_up & 1 = 1
    """
    ((n, lost, contradicting),) = await asked.connection.fetch(statement, *parameters.values)
    if contradicting:
        return None
    return {(0, 0): Tally(n, lost)} if n else {}
