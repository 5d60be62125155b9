"""Cases with their scores, customers and money."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from cxloop_scoring.domain.cases import LinkKind
from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.facts import Responded, Tombstone
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
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store.case_links import in_force
from cxloop_scoring.store.held import facts_of
from cxloop_scoring.store.identities import identifiers_of
from cxloop_scoring.store.meeting import FAR, SCORES, Asked
from cxloop_scoring.store.sums import Parameters
from cxloop_scoring.store.words import declared_value

_OPENED: Final = int(MetricNumber.CASE_OPENED)
_CLOSED: Final = int(MetricNumber.CASE_CLOSED)
_LOW: Final = int(Band.LOW)
_IS_LOW: Final = f"AND l.band = {_LOW}"
_ANY: Final = "any"
"""The kind of all low scores, beside those of the arms."""
_MILLISECOND: Final = "interval '1 millisecond'"


async def closed_cases(asked: Asked) -> RawTallies:
    """Count opened cases; hits are closed. Low scores of the spans are counted beside, with or without a case."""
    tallies = count_opened(await asked.once(_held), asked.spans, asked.now)
    for found in await asked.once(_low_scores):
        if found.kind == _ANY:
            tally = tallies.setdefault((found.place, found.group), Tally())
            tally.count("low", found.n)
            tally.count("covered", found.hits)
    return tallies


async def recovered_cases(asked: Asked) -> RawTallies:
    """Count cases closed in the spans whose customer gave a next score; hits gave one above the low band."""
    cases = await _with_triggers(
        asked,
        [
            case
            for case in await asked.once(_held)
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


async def arms(asked: Asked) -> RawTallies:
    """Count the customers with a low score who gave another one, contacted before it or not."""
    tallies: RawTallies = {}
    for found in await asked.once(_low_scores):
        if found.kind != _ANY:
            tally = tallies.setdefault((found.place, found.group), Tally())
            tally.n += found.n
            tally.count(f"{found.kind}_n", found.n)
            tally.count(f"{found.kind}_hits", found.hits)
    return tallies


class _LowScores(NamedTuple):
    """Low scores of one kind: all of them, of which hits have a case; or an arm, of which hits recovered."""

    place: int
    group: int
    kind: str
    n: int
    hits: int


async def _low_scores(asked: Asked) -> list[_LowScores]:
    """Count low scores of the spans in the ways that are asked for, in one statement."""
    parameters = Parameters()
    parts = [f"low AS MATERIALIZED ({asked.chosen_rows(parameters, SCORES, (), _IS_LOW)})"]
    counts: list[str] = []
    if "recovery_lift" in asked.metrics:
        known = asked.owned(parameters, "SELECT * FROM low WHERE customer IS NOT NULL")
        contacts = asked.net_rows(
            parameters, (MetricNumber.CASE_CONTACTED,), ("value",), Span(BEGINNING, FAR)
        )
        parts += [
            f"""
            marks AS MATERIALIZED (
                SELECT row_number() OVER () AS mark, latest.* FROM (
                    SELECT DISTINCT ON (place, grouped, owner, metric) place, grouped, document, metric, at, owner
                    FROM ({known}) AS one ORDER BY place, grouped, owner, metric, at DESC, document DESC
                ) AS latest
            )""",
            _next_scores(asked, parameters, SCORES, Span(asked.since, FAR)),
            f"""
            contacted AS (
                SELECT t.subject AS document, min(c.at + c.value * {_MILLISECOND}) AS at
                FROM ({contacts}) AS c JOIN case_links AS t ON t.case_document = c.document
                WHERE {_triggers(asked, parameters)} AND {_not_superseded(asked, parameters, "c.document")}
                GROUP BY t.subject
            )""",
        ]
        counts.append(f"""
            SELECT m.place, m.grouped, CASE WHEN c.at <= n.at THEN 'contacted' ELSE 'uncontacted' END,
                count(*), count(*) FILTER (WHERE n.band > {_LOW})
            FROM marks AS m JOIN nexts AS n USING (mark) LEFT JOIN contacted AS c ON c.document = m.document
            GROUP BY 1, 2, 3
        """)
    if "closed_loop_rate" in asked.metrics:
        counts.append(f"""
            SELECT place, grouped, '{_ANY}', count(*), count(*) FILTER (WHERE EXISTS (
                SELECT FROM case_links AS t WHERE t.subject = one.document AND {_triggers(asked, parameters)}
                    AND {_not_superseded(asked, parameters, "t.case_document")}
            ))
            FROM low AS one GROUP BY place, grouped
        """)
    statement = f"WITH {', '.join(parts)} {' UNION ALL '.join(counts)}"
    return [_LowScores(*row) for row in await asked.connection.fetch(statement, *parameters.values)]


async def money_at_risk(asked: Asked) -> RawTallies:
    """Count customers with an open case at the end of each span, and what they were worth in the year before."""
    held = await asked.once(_held)
    cases = await _with_triggers(
        asked, [case for case in held if any(case.open_at(span.until) for span in asked.spans)]
    )
    scores = await _scores(asked, {document for case in cases for document in case.triggers})
    owners = {document: score.owner for document, score in scores.items()}
    customers = customers_at_risk(cases, asked.spans, owners)
    return count_money(customers, await _money(asked, customers))


def _linked(asked: Asked, parameters: Parameters, row: str) -> str:
    """Write the condition on a row of `case_links` that it is in force, or was at `as_of`."""
    return in_force(row, parameters.moment(asked.question.as_of))


def _triggers(asked: Asked, parameters: Parameters) -> str:
    """Write the condition on a row `t` of `case_links` that it names a score behind a case."""
    return f"t.kind = {int(LinkKind.TRIGGER)} {_linked(asked, parameters, 't')}"


def _not_superseded(asked: Asked, parameters: Parameters, document: str) -> str:
    return f"""NOT EXISTS (
        SELECT FROM case_links AS g
        WHERE g.kind = {int(LinkKind.SUPERSEDED)} AND g.subject = {document} {_linked(asked, parameters, "g")}
    )"""


async def _held(asked: Asked) -> list[Case]:
    """Read the cases of the question that the metrics asked for may count, without superseded ones.

    Triggers are left out. Closed-loop rate is content with cases that were opened in the spans.
    """
    parameters = Parameters()
    earlier = asked.metrics & {"recovery_rate", "revenue_at_risk"}
    groups = _groups(asked, parameters)
    net = asked.net_rows(
        parameters,
        (_OPENED, _CLOSED),
        ("value",),
        Span(BEGINNING if earlier else asked.since, asked.until),
        asked.filters(parameters),
        written={"groups": groups},
    )
    closed = f"max(value) FILTER (WHERE metric = {_CLOSED})"
    closed_at = f"max(at) + {closed} * {_MILLISECOND}"
    counted: list[str] = []
    if "closed_loop_rate" in asked.metrics:
        counted.append(f"max(at) >= {parameters.add(instant(asked.since))}::timestamptz")
    if "recovery_rate" in asked.metrics:
        counted.append(f"{closed_at} >= {parameters.add(instant(asked.since))}::timestamptz")
    if "revenue_at_risk" in asked.metrics:
        first_end = parameters.add(instant(min(span.until for span in asked.spans)))
        counted.append(f"{closed} IS NULL OR {closed_at} >= {first_end}::timestamptz")
    rows = await asked.connection.fetch(
        f"""
        SELECT document, max(at), max(value) FILTER (WHERE metric = {_OPENED}), {closed}, max(groups)
        FROM ({net}) AS net WHERE {_not_superseded(asked, parameters, "net.document")}
        GROUP BY document
        HAVING {" OR ".join(counted)}
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
        WHERE case_document = ANY($1::text[]) AND {_triggers(asked, parameters)}
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
        for document, facts in (await facts_of(asked.connection, documents)).items()
        for fact in facts.values()
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
    net = asked.net_rows(parameters, metrics, ("band",), later, "AND l.customer IS NOT NULL")
    return f"""
        wanted AS MATERIALIZED (SELECT DISTINCT owner FROM marks),
        identifiers AS MATERIALIZED (
            {identifiers_of("wanted", parameters.moment(asked.question.as_of))}
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


async def _money(asked: Asked, customers: Mapping[tuple[int, int], set[int]]) -> dict[tuple[int, int], int]:
    """Add up what customers were worth in the year before the end of each span, in hundredths of the currency."""
    pairs = sorted({(place, customer) for (place, _), found in customers.items() for customer in found})
    unit = await declared_value(asked.connection, "currency", asked.rules.costs.currency)
    if not pairs or unit is None:
        return {}
    parameters = Parameters()
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
            {identifiers_of("wanted", parameters.moment(asked.question.as_of))}
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
