"""Contacts, sends and changes of state of one customer, counted by PostgreSQL."""

from collections.abc import Sequence
from typing import Final

from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.joined.contacts import WEEK
from cxloop_scoring.domain.joined.loop import RawTallies
from cxloop_scoring.domain.joined.response_rate import ANSWER_TIME
from cxloop_scoring.domain.joined.tallies import Tally
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store.meeting import SCORES, Asked
from cxloop_scoring.store.sums import Parameters

_SOLVED: Final = (MetricNumber.FIRST_RESOLUTION_TIME,)
_CANDIDATES: Final = (MetricNumber.FIRST_CONTACT_RESOLUTION,)
_CONTACTS: Final = (MetricNumber.REPEAT_CONTACT_RATE,)
_JUDGED: Final = "AND l.customer IS NOT NULL AND l.contact_type IS NOT NULL"
_WEEK: Final = "interval '7 days'"
_ANSWER_TIME: Final = "interval '90 days'"


async def resolved_at_first_contact(asked: Asked) -> RawTallies:
    """Count solved tickets; hits took one contact, and nobody came back about the matter within a week."""
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
    candidates = asked.chosen_rows(parameters, _CANDIDATES, ("contact_type",))
    after = Span(asked.since, asked.until + WEEK)
    contacts = asked.net_rows(
        parameters,
        _CONTACTS,
        ("contact_type",),
        after,
        _JUDGED,
        written={"place": "NULL::int4", "grouped": "NULL::int4"},
    )
    # Few candidates have a contact about their matter that is not before them; those alone are walked with it, from
    # the last to the first. So a customer with thousands of tickets costs what they are, not their square. A
    # candidate has seen as many contacts as come after it. The next of them tells, or the one after it where the
    # next is of the same ticket, which has one contact at most.
    statement = f"""
        WITH met AS MATERIALIZED ({asked.owned(parameters, f"{candidates} UNION ALL {contacts}")}),
        spread AS (
            SELECT owner, contact_type, min(at) AS first, max(at) AS last FROM met WHERE place IS NULL
            GROUP BY owner, contact_type
        ),
        doubtful AS MATERIALIZED (
            SELECT met.* FROM met JOIN spread USING (owner, contact_type)
            WHERE place IS NOT NULL AND last > at AND first <= at + {_WEEK}
        ),
        walked AS MATERIALIZED (
            SELECT l.*, count(*) FILTER (WHERE place IS NULL) OVER (
                PARTITION BY owner, contact_type ORDER BY at DESC, place NULLS LAST ROWS UNBOUNDED PRECEDING
            ) AS seen
            FROM (
                SELECT * FROM doubtful
                UNION ALL
                SELECT * FROM met
                WHERE place IS NULL AND (owner, contact_type) IN (SELECT owner, contact_type FROM doubtful)
            ) AS l
        ),
        marked AS MATERIALIZED (
            SELECT one.*, seen - further AS number FROM walked AS one CROSS JOIN generate_series(0, 1) AS further
            WHERE place IS NOT NULL
        ),
        refuted AS (
            SELECT one.place, one.grouped, one.document, one.at
            FROM marked AS one JOIN walked AS c
                ON c.owner = one.owner AND c.contact_type = one.contact_type AND c.seen = one.number
            WHERE c.place IS NULL AND c.document <> one.document AND c.at <= one.at + {_WEEK}
            GROUP BY one.place, one.grouped, one.document, one.at
        )
        SELECT place, grouped, sum(n)::int8 FROM (
            SELECT place, grouped, count(*) AS n FROM met WHERE place IS NOT NULL GROUP BY place, grouped
            UNION ALL
            SELECT place, grouped, -count(*) FROM refuted GROUP BY place, grouped
        ) AS counted GROUP BY place, grouped
    """
    for place, group, hits in await asked.connection.fetch(statement, *parameters.values):
        tallies.setdefault((place, group), Tally()).hits = hits
    return tallies


async def repeated_contacts(asked: Asked) -> RawTallies:
    """Count contacts whose customer and contact type are known; hits had an earlier one within a week."""
    parameters = Parameters()
    group, join = asked.group(parameters)
    statement = f"""
        SELECT s.place, {group}, count(*) FILTER (WHERE l.judged), count(*) FILTER (WHERE l.repeated),
            count(*) FILTER (WHERE NOT l.judged)
        FROM ({walked_contacts(asked, parameters, ("contact_type", *asked.filed))}) AS l
        JOIN {asked.of_spans(parameters)} ON l.at >= s.since AND l.at < s.until {join}
        WHERE TRUE {asked.filters(parameters)} GROUP BY 1, 2
    """
    rows = await asked.connection.fetch(statement, *parameters.values)
    return {(row[0], row[1]): Tally(row[2], row[3], {"unjudged": row[4]}) for row in rows}


def walked_contacts(asked: Asked, parameters: Parameters, columns: Sequence[str]) -> str:
    """Write the contacts of the question's spans and of the week before, whatever its filters.

    Beside `columns`, which name `contact_type`, they have `judged` and `repeated`: their customer and contact type
    are known, and had an earlier contact within a week.
    """
    before = Span(asked.since - WEEK, asked.until)
    net = asked.net(parameters, _CONTACTS, tuple(dict.fromkeys(columns)), before)
    # The one just before tells for all: were it more than a week ago, so would be those before it.
    return f"""
        SELECT l.*, judged AND coalesce(
            lag(at) OVER (PARTITION BY owner, contact_type ORDER BY at, document) >= at - {_WEEK}, FALSE
        ) AS repeated
        FROM (
            SELECT net.*, owner IS NOT NULL AND contact_type IS NOT NULL AS judged FROM ({net}) AS net
        ) AS l
    """


async def answered_sends(asked: Asked) -> RawTallies:
    """Count surveys sent; hits were answered, by the response they name or by their customer."""
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


async def cohorts(asked: Asked) -> RawTallies:
    """Count customers who were active just before a span; hits had left just before its end.

    A customer is filed where the change that made them active is filed.
    """
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
    statement = f"""
        SELECT count(*), count(*) FILTER (WHERE until_left > coalesce(until_active, '-infinity')),
            coalesce(bool_or(since_active = since_left OR until_active = until_left), FALSE)
        FROM (
            SELECT max(at) FILTER (WHERE value = 1 AND at < {since}::timestamptz) AS since_active,
                max(at) FILTER (WHERE value = 0 AND at < {since}::timestamptz) AS since_left,
                max(at) FILTER (WHERE value = 1) AS until_active, max(at) FILTER (WHERE value = 0) AS until_left
            FROM ({net}) AS l GROUP BY owner
        ) AS customers
        WHERE since_active >= coalesce(since_left, '-infinity')
    """
    ((n, lost, contradicting),) = await asked.connection.fetch(statement, *parameters.values)
    if contradicting:
        return None
    return {(0, 0): Tally(n, lost)} if n else {}
