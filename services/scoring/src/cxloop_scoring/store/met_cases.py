"""Cases with their scores, customers and money."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.facts import Responded, Tombstone, decode_facts
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.joined.loop import (
    Case,
    RawTallies,
    count_opened,
    count_recovered,
)
from cxloop_scoring.domain.joined.revenue import YEAR, count_money, customers_at_risk
from cxloop_scoring.domain.joined.tallies import Tally
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store.case_links import in_force
from cxloop_scoring.store.identities import identifiers_of
from cxloop_scoring.store.meeting import FAR, SCORES, Asked
from cxloop_scoring.store.sums import Parameters

_OPENED: Final = int(MetricNumber.CASE_OPENED)
_CLOSED: Final = int(MetricNumber.CASE_CLOSED)
_LOW: Final = int(Band.LOW)
_IS_LOW: Final = f"AND l.band = {_LOW}"
_MILLISECOND: Final = "interval '1 millisecond'"


async def closed_cases(asked: Asked, rules: Rules) -> RawTallies:
    """Count opened cases; hits are closed. Low scores of the spans are counted beside, with or without a case."""
    del rules
    opened = await _cases(asked, (_OPENED, _CLOSED), Span(asked.since, asked.until))
    tallies = count_opened(opened, asked.spans, asked.now)
    parameters = Parameters()
    low = asked.chosen_net(parameters, SCORES, (), _IS_LOW)
    statement = f"""
        SELECT place, grouped, count(*), count(*) FILTER (WHERE EXISTS (
            SELECT FROM case_links AS t WHERE t.kind = 0 AND t.subject = one.document {_linked(asked, parameters, "t")}
                AND NOT EXISTS (
                    SELECT FROM case_links AS g
                    WHERE g.kind = 1 AND g.subject = t.case_document {_linked(asked, parameters, "g")}
                )
        ))
        FROM ({low}) AS one GROUP BY place, grouped
    """
    for place, group, n, covered in await asked.connection.fetch(statement, *parameters.values):
        tally = tallies.setdefault((place, group), Tally())
        tally.count("low", n)
        tally.count("covered", covered)
    return tallies


async def recovered_cases(asked: Asked, rules: Rules) -> RawTallies:
    """Count cases closed in the spans whose customer gave a next score; hits gave one above the low band."""
    del rules
    cases = await _with_triggers(
        asked,
        [
            case
            for case in await _cases(
                asked, (_CLOSED,), Span(BEGINNING, asked.until), closed_since=asked.since
            )
            if case.closed_at is not None and any(s.since <= case.closed_at < s.until for s in asked.spans)
        ],
    )
    scores = await _scores(asked, {document for case in cases for document in case.triggers})
    wanted = {
        (case.document, score.owner, score.metric, case.closed_at)
        for case in cases
        for document in case.triggers
        if case.closed_at is not None and (score := scores.get(document)) is not None
    }
    return count_recovered(cases, asked.spans, await _recovered(asked, sorted(wanted)))


async def _recovered(asked: Asked, wanted: Sequence[tuple[str, int, int, int]]) -> dict[str, bool]:
    """Tell for cases whether the first score after a moment is above the low band; left out where there is none.

    wanted: case document, customer, metric and moment (microseconds); the first score of several counts.
    """
    if not wanted:
        return {}
    parameters = Parameters()
    documents, owners, metrics, moments = (parameters.add(list(part)) for part in zip(*wanted, strict=True))
    parameters.values[-1] = [instant(moment) for _, _, _, moment in wanted]
    later = Span(min(moment for _, _, _, moment in wanted), FAR)
    rows = await asked.connection.fetch(
        f"""
        WITH marks AS MATERIALIZED (
            SELECT number AS mark, document, owner, metric, at
            FROM unnest({documents}::text[], {owners}::int8[], {metrics}::int2[], {moments}::timestamptz[])
                WITH ORDINALITY AS m (document, owner, metric, at, number)
        ),
        {_next_scores(asked, parameters, sorted({metric for _, _, metric, _ in wanted}), later)}
        SELECT DISTINCT ON (m.document) m.document, n.band
        FROM marks AS m JOIN nexts AS n USING (mark) ORDER BY m.document, n.at, n.document
        """,
        *parameters.values,
    )
    return {row[0]: row[1] > _LOW for row in rows}


async def arms(asked: Asked, rules: Rules) -> RawTallies:
    """Count the customers with a low score who gave another one, contacted before it or not."""
    del rules
    parameters = Parameters()
    low = asked.chosen_net(parameters, SCORES, (), f"{_IS_LOW} AND l.customer IS NOT NULL")
    nexts = _next_scores(asked, parameters, SCORES, Span(asked.since, FAR))
    contacts = asked.net_rows(parameters, (MetricNumber.CASE_CONTACTED,), ("value",), Span(BEGINNING, FAR))
    rows = await asked.connection.fetch(
        f"""
        WITH marks AS MATERIALIZED (
            SELECT row_number() OVER () AS mark, latest.* FROM (
                SELECT DISTINCT ON (place, grouped, owner, metric) place, grouped, document, metric, at, owner
                FROM ({low}) AS one ORDER BY place, grouped, owner, metric, at DESC, document DESC
            ) AS latest
        ),
        {nexts},
        contacted AS (
            SELECT t.subject AS document, min(c.at + c.value * {_MILLISECOND}) AS at
            FROM ({contacts}) AS c JOIN case_links AS t ON t.case_document = c.document
            WHERE t.kind = 0 {_linked(asked, parameters, "t")} AND {_not_superseded(asked, parameters, "c.document")}
            GROUP BY t.subject
        )
        SELECT m.place, m.grouped, coalesce(c.at <= n.at, FALSE) AS reached,
            count(*), count(*) FILTER (WHERE n.band > {_LOW})
        FROM marks AS m JOIN nexts AS n USING (mark) LEFT JOIN contacted AS c ON c.document = m.document
        GROUP BY 1, 2, 3
        """,
        *parameters.values,
    )
    tallies: RawTallies = {}
    for place, group, reached, n, hits in rows:
        tally = tallies.setdefault((place, group), Tally())
        arm = "contacted" if reached else "uncontacted"
        tally.n += n
        tally.count(f"{arm}_n", n)
        tally.count(f"{arm}_hits", hits)
    return tallies


async def money_at_risk(asked: Asked, rules: Rules) -> RawTallies:
    """Count customers with an open case at the end of each span, and what they were worth in the year before."""
    before = Span(BEGINNING, asked.until)
    first_end = min(span.until for span in asked.spans)
    held = await _cases(asked, (_OPENED, _CLOSED), before, open_until=first_end)
    cases = await _with_triggers(
        asked, [case for case in held if any(case.open_at(span.until) for span in asked.spans)]
    )
    scores = await _scores(asked, {document for case in cases for document in case.triggers})
    owners = {document: score.owner for document, score in scores.items()}
    customers = customers_at_risk(cases, asked.spans, owners)
    return count_money(customers, await _money(asked, rules.costs.currency, customers))


def _linked(asked: Asked, parameters: Parameters, row: str) -> str:
    """Write the condition on a row of `case_links` that it is in force, or was at `as_of`."""
    as_of = asked.question.as_of
    return in_force(row, None if as_of is None else parameters.add(as_of))


def _not_superseded(asked: Asked, parameters: Parameters, document: str) -> str:
    return f"""NOT EXISTS (
        SELECT FROM case_links AS g WHERE g.kind = 1 AND g.subject = {document} {_linked(asked, parameters, "g")}
    )"""


async def _cases(
    asked: Asked,
    metrics: Sequence[int],
    opened: Span,
    *,
    closed_since: int | None = None,
    open_until: int | None = None,
) -> list[Case]:
    """Read the cases of the question that were opened in a span, without superseded ones and without triggers.

    metrics: what is asked of them; closings alone give the cases that are closed. closed_since leaves out what
    was closed before it, or is open; open_until what was closed before it, as a first sieve.
    """
    parameters = Parameters()
    chosen = asked.filters(parameters)
    if closed_since is not None:
        since = parameters.add(instant(closed_since))
        chosen += f" AND l.at + l.value * {_MILLISECOND} >= {since}::timestamptz"
    groups = _groups(asked, parameters)
    net = asked.net_rows(parameters, metrics, ("value",), opened, chosen, written={"groups": groups})
    having = ""
    if open_until is not None:
        until = parameters.add(instant(open_until))
        closed = f"max(value) FILTER (WHERE metric = {_CLOSED})"
        having = f"HAVING {closed} IS NULL OR max(at) + {closed} * {_MILLISECOND} >= {until}::timestamptz"
    rows = await asked.connection.fetch(
        f"""
        SELECT document, max(at), max(value) FILTER (WHERE metric = {_OPENED}),
            max(value) FILTER (WHERE metric = {_CLOSED}), max(groups)
        FROM ({net}) AS net WHERE {_not_superseded(asked, parameters, "net.document")}
        GROUP BY document {having}
        """,
        *parameters.values,
    )
    return [
        Case(
            document,
            begin := microseconds(at),
            begin + due * 1000 if due else None,
            None if closed is None else begin + closed * 1000,
            tuple(groups),
        )
        for document, at, due, closed, groups in rows
    ]


async def _with_triggers(asked: Asked, cases: Sequence[Case]) -> list[Case]:
    parameters = Parameters([[case.document for case in cases]])
    rows = await asked.connection.fetch(
        f"""
        SELECT subject, case_document FROM case_links AS t
        WHERE kind = 0 AND case_document = ANY($1::text[]) {_linked(asked, parameters, "t")}
        """,
        *parameters.values,
    )
    triggers: dict[str, set[str]] = {}
    for subject, case in rows:
        triggers.setdefault(case, set()).add(subject)
    return [replace(case, triggers=frozenset(triggers.get(case.document, ()))) for case in cases]


def _groups(asked: Asked, parameters: Parameters) -> str:
    by = asked.question.by
    if by is None:
        return "ARRAY[0]"
    if by in COLUMNS:
        return f"array_remove(ARRAY[l.{by}], NULL)"
    number = parameters.add(asked.dimensions[by])
    return f"ARRAY(SELECT v.id FROM dimension_values AS v WHERE v.id = ANY(l.more) AND v.dimension = {number}::int2)"


class _Score(NamedTuple):
    """Whose score it is, and of which metric."""

    owner: int
    metric: int


async def _scores(asked: Asked, documents: Iterable[str]) -> dict[str, _Score]:
    """Read the scores in force of documents that have a customer.

    The ledger has no index on documents: it is asked for the times at which these were answered. Under `as_of`
    that may be the time of content that lost since, of which the tombstone tells.
    """
    wanted = {
        (document, fact.at)
        for document, facts in await asked.connection.fetch(
            "SELECT id, facts FROM documents WHERE id = ANY($1::text[])", sorted(documents)
        )
        for fact in decode_facts(facts).values()
        if isinstance(fact, Responded | Tombstone)
    }
    if not wanted:
        return {}
    parameters = Parameters()
    names = parameters.add(sorted({document for document, _ in wanted}))
    times = parameters.add([instant(at) for at in sorted({at for _, at in wanted})])
    numbers = parameters.add([int(metric) for metric in SCORES])
    owner, join = asked.owner(parameters)
    rows = await asked.connection.fetch(
        f"""
        SELECT l.document, {owner}, l.metric FROM (
            SELECT l.document, l.metric, l.customer FROM ledger AS l
            WHERE l.metric = ANY({numbers}::int2[]) AND l.at = ANY({times}::timestamptz[])
                AND l.document = ANY({names}::text[]) AND l.customer IS NOT NULL {asked.known(parameters)}
            GROUP BY l.document, l.metric, l.at, l.customer HAVING sum(l.sign) > 0
        ) AS l {join}
        ORDER BY l.metric
        """,
        *parameters.values,
    )
    return {row[0]: _Score(row[1], row[2]) for row in rows}


def _next_scores(asked: Asked, parameters: Parameters, metrics: Sequence[int], later: Span) -> str:
    """Write `nexts`: the first score of a customer and metric after a moment, with `mark`, `at`, `document`, `band`.

    Reads rows `marks` of `mark`, `owner`, `metric` and `at`. Scores and marks of a customer are walked together
    from the last to the first: a mark has seen as many scores as come after it, and the last of those is its
    next. So a customer with thousands of both costs what they are, not their product.
    """
    as_of = asked.question.as_of
    net = asked.net_rows(parameters, metrics, ("band",), later, "AND l.customer IS NOT NULL")
    return f"""
        wanted AS MATERIALIZED (SELECT DISTINCT owner FROM marks),
        identifiers AS MATERIALIZED (
            {identifiers_of("wanted", None if as_of is None else parameters.add(as_of))}
        ),
        walked AS (
            SELECT i.owner, net.metric, net.at, net.document, net.band, NULL::int8 AS mark
            FROM ({net}) AS net JOIN identifiers AS i ON i.identifier = net.customer
            UNION ALL
            SELECT owner, metric, at, NULL, NULL, mark FROM marks
        ),
        counted AS (
            SELECT walked.*, count(*) FILTER (WHERE mark IS NULL) OVER (
                PARTITION BY owner, metric ORDER BY at DESC, mark NULLS LAST, document DESC
                ROWS UNBOUNDED PRECEDING
            ) AS seen
            FROM walked
        ),
        nexts AS (
            SELECT marked.mark, score.at, score.document, score.band FROM (
                SELECT mark, owner, metric, seen FROM counted WHERE mark IS NOT NULL AND seen > 0
            ) AS marked
            JOIN (SELECT * FROM counted WHERE mark IS NULL) AS score USING (owner, metric, seen)
        )
    """


async def _money(
    asked: Asked, currency: str | None, customers: Mapping[tuple[int, int], set[int]]
) -> dict[tuple[int, int], int]:
    """Add up what customers were worth in the year before the end of each span, in hundredths of a currency."""
    pairs = sorted({(place, customer) for (place, _), found in customers.items() for customer in found})
    unit = await asked.connection.fetchval(
        """
        SELECT v.id FROM dimension_values AS v JOIN dimensions AS d ON d.id = v.dimension
        WHERE d.name = 'currency' AND v.value = $1
        """,
        currency,
    )
    if not pairs or unit is None:
        return {}
    parameters = Parameters()
    as_of = asked.question.as_of
    places = parameters.add([place for place, _ in pairs])
    holders = parameters.add([customer for _, customer in pairs])
    since = parameters.add([instant(max(BEGINNING, asked.spans[place].until - YEAR)) for place, _ in pairs])
    until = parameters.add([instant(asked.spans[place].until) for place, _ in pairs])
    first = parameters.add(
        instant(max(BEGINNING, min(asked.spans[place].until for place, _ in pairs) - YEAR))
    )
    number = parameters.add(int(MetricNumber.CUSTOMER_VALUE))
    rows = await asked.connection.fetch(
        f"""
        WITH w AS MATERIALIZED (
            SELECT * FROM unnest({places}::int4[], {holders}::int8[], {since}::timestamptz[], {until}::timestamptz[])
                AS w (place, owner, since, until)
        ),
        wanted AS MATERIALIZED (SELECT DISTINCT owner FROM w),
        identifiers AS MATERIALIZED (
            {identifiers_of("wanted", None if as_of is None else parameters.add(as_of))}
        )
        SELECT w.place, w.owner, sum(l.sign * l.value)::int8
        FROM ledger AS l JOIN identifiers AS i ON i.identifier = l.customer
        JOIN w ON w.owner = i.owner AND l.at >= w.since AND l.at < w.until
        WHERE l.metric = {number}::int2 AND l.at >= {first}::timestamptz
            AND l.at < {parameters.add(instant(asked.until))}::timestamptz
            AND l.more @> ARRAY[{parameters.add(unit)}::int4] {asked.known(parameters)}
        GROUP BY w.place, w.owner
        """,
        *parameters.values,
    )
    return {(row[0], row[1]): row[2] for row in rows}
