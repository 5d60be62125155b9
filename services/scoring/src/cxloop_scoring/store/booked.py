"""What the ledger says of documents that were booked with other formulas."""

from collections.abc import Mapping

from cxloop_scoring.domain.dimensions import COLUMNS, Dimensions
from cxloop_scoring.domain.documents import contributions
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.metrics import LIFELONG, MetricNumber
from cxloop_scoring.domain.observations import Observation
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.months import ledger_from
from cxloop_scoring.store.words import words_of
from cxloop_scoring.store.writing import StoredDocument

_NUMBERS = [int(number) for number in MetricNumber]
_NET = f"""
    SELECT document, metric, value, band, at, customer, {", ".join(COLUMNS)}, more, ticket,
           sum(sign)::int4 AS times
    FROM ledger
    WHERE metric = ANY($1::int2[]) AND at = ANY($2::timestamptz[]) AND document = ANY($3::text[])
    GROUP BY document, metric, value, band, at, customer, {", ".join(COLUMNS)}, more, ticket
    HAVING sum(sign) <> 0
"""


async def net_ledger(
    connection: Connection, documents: Mapping[str, StoredDocument]
) -> dict[str, list[Observation]]:
    """Give the observations in force of documents, read from the ledger.

    An observation is booked at the time of one of its document's facts, or at one that the document keeps for
    that purpose, which is how it is found without an index of its own on the document.
    """
    times = {fact.at for document in documents.values() for fact in document.facts.values()}
    times.update(at for document in documents.values() for at in document.booked_at)
    rows = await connection.fetch(_NET, _NUMBERS, [instant(at) for at in sorted(times)], sorted(documents))
    ids = {value for row in rows for value in row[6 : 6 + len(COLUMNS)] if value is not None}
    ids.update(value for row in rows for value in row["more"] or ())
    words = {id_: (name or "tag", text) for id_, (name, text) in (await words_of(connection, ids)).items()}
    booked: dict[str, list[Observation]] = {document: [] for document in documents}
    for row in rows:
        columns = [None if value is None else words[value][1] for value in row[6 : 6 + len(COLUMNS)]]
        more = tuple(sorted(words[value] for value in row["more"] or ()))
        observation = Observation(
            row["metric"],
            row["value"],
            row["band"],
            microseconds(row["at"]),
            row["customer"],
            Dimensions._make([*columns, more]),
            row["ticket"],
        )
        booked[row["document"]].extend([observation] * row["times"])
    return booked


async def booked_before(
    connection: Connection, documents: Mapping[str, StoredDocument], rules: Rules
) -> dict[str, list[Observation]]:
    """Give what was booked of documents by other rules than these, so that these can be booked instead.

    Months that were dropped stay as they were booked: of them only what new facts change is booked, by today's
    rules, so the old facts are taken as booked by these.
    """
    booked = await net_ledger(connection, documents)
    horizon = await ledger_from(connection)  # after the ledger, see there
    if horizon is None:
        return booked
    since = microseconds(horizon)

    def is_kept(one: Observation) -> bool:
        return one.at >= since or one.metric in LIFELONG

    return {
        id_: [one for one in booked[id_] if is_kept(one)]
        + [one for one in contributions(id_, document.facts, rules) if not is_kept(one)]
        for id_, document in documents.items()
    }
