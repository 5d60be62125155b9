"""Contacts and reported work by group, channel and contact type, for what they cost."""

from collections.abc import Iterable

from cxloop_scoring.domain.cost import ContactCount, Handled
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.meeting import Asked, plan_for_many
from cxloop_scoring.store.met_customers import walked_contacts
from cxloop_scoring.store.sums import Parameters
from cxloop_scoring.store.words import words_of


async def contacts(asked: Asked) -> list[ContactCount]:
    """Count contacts of the question's spans; `by` of the question is the group, None where none is asked for.

    A repeated contact is one of `repeat_contact_rate`; contacts without a customer are never repeated.
    """
    await plan_for_many(asked.connection)
    parameters = Parameters()
    group, join = asked.group(parameters)
    walked = walked_contacts(asked, parameters, ("channel", "contact_type", *asked.filed))
    statement = f"""
        SELECT {group}, l.channel, l.contact_type, count(*), count(*) FILTER (WHERE l.repeated)
        FROM ({walked}) AS l JOIN {asked.of_spans(parameters)} ON l.at >= s.since AND l.at < s.until {join}
        WHERE TRUE {asked.filters(parameters)} GROUP BY 1, 2, 3
    """
    rows = await asked.connection.fetch(statement, *parameters.values)
    words = await _words(asked.connection, (id_ for row in rows for id_ in row[:3]))
    return [
        ContactCount(words.get(row[0]), words.get(row[1]), words.get(row[2]), row[3], row[4]) for row in rows
    ]


async def handled(asked: Asked) -> list[Handled]:
    """Add up reported work on tickets whose last solve lies in the question's spans."""
    parameters = Parameters()
    work = asked.chosen(parameters, (MetricNumber.HANDLE_TIME,), ("channel", "value"))
    rows = await asked.connection.fetch(
        f"""
        SELECT grouped, channel, sum(sign * value)::int8 FROM ({work}) AS work
        GROUP BY grouped, channel HAVING sum(sign) > 0
        """,
        *parameters.values,
    )
    words = await _words(asked.connection, (id_ for row in rows for id_ in row[:2]))
    return [Handled(words.get(row[0]), words.get(row[1]), row[2]) for row in rows]


async def _words(connection: Connection, ids: Iterable[int | None]) -> dict[int | None, str]:
    words = await words_of(connection, {id_ for id_ in ids if id_})
    return {id_: text for id_, (_, text) in words.items()}
