"""Cases with their scores, customers and money."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.facts import Responded, Tombstone, decode_facts
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.joined.loop import (
    Case,
    LowScore,
    RawTallies,
    count_arms,
    count_opened,
    count_recovered,
)
from cxloop_scoring.domain.joined.revenue import YEAR, count_money, customers_at_risk
from cxloop_scoring.domain.joined.tallies import Tally
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store.meeting import FAR, SCORES, Asked
from cxloop_scoring.store.sums import Parameters

_OPENED: Final = int(MetricNumber.CASE_OPENED)
_CLOSED: Final = int(MetricNumber.CASE_CLOSED)
_CONTACTED: Final = int(MetricNumber.CASE_CONTACTED)
_LOW: Final = int(Band.LOW)


class _Links(NamedTuple):
    """Which scores raised which case, and which cases count nowhere."""

    triggers: Mapping[str, frozenset[str]]
    """Score documents by case document."""
    superseded: frozenset[str]


async def closed_cases(asked: Asked, rules: Rules) -> RawTallies:
    """Count opened cases; hits are closed. Low scores of the spans are counted beside, with or without a case."""
    del rules
    tallies = count_opened(await _cases(asked), asked.spans, asked.now)
    parameters = Parameters()
    low = asked.chosen_net(parameters, SCORES, ("band",))
    statement = f"""
        SELECT place, grouped, count(*), count(*) FILTER (WHERE EXISTS (
            SELECT FROM case_links AS t WHERE t.kind = 0 AND t.subject = one.document {asked.known(parameters, "t")}
                AND NOT EXISTS (
                    SELECT FROM case_links AS g
                    WHERE g.kind = 1 AND g.subject = t.case_document {asked.known(parameters, "g")}
                )
        ))
        FROM ({low}) AS one WHERE band = {_LOW} GROUP BY place, grouped
    """
    for place, group, n, covered in await asked.connection.fetch(statement, *parameters.values):
        tally = tallies.setdefault((place, group), Tally())
        tally.count("low", n)
        tally.count("covered", covered)
    return tallies


async def recovered_cases(asked: Asked, rules: Rules) -> RawTallies:
    """Count cases closed in the spans whose customer gave a next score; hits gave one above the low band."""
    del rules
    cases = [
        case
        for case in await _cases(asked)
        if case.closed_at is not None and any(s.since <= case.closed_at < s.until for s in asked.spans)
    ]
    scores = await _scores(asked, {document for case in cases for document in case.triggers})
    wanted = [
        _Wanted(case.document, score.owner, score.metric, case.closed_at)
        for case in cases
        for document in case.triggers
        if case.closed_at is not None and (score := scores.get(document)) is not None
    ]
    nexts = await _next_scores(asked, wanted)
    return count_recovered(cases, asked.spans, {key: band > _LOW for key, (_, band) in nexts.items()})


async def arms(asked: Asked, rules: Rules) -> RawTallies:
    """Count the customers with a low score who gave another one, contacted before it or not."""
    del rules
    parameters = Parameters()
    low = asked.chosen_net(parameters, SCORES, ("band",))
    rows = await asked.connection.fetch(
        f"""
        SELECT DISTINCT ON (place, grouped, owner, metric) place, grouped, document, metric, at, owner
        FROM ({low}) AS one WHERE band = {_LOW} AND owner IS NOT NULL
        ORDER BY place, grouped, owner, metric, at DESC, document DESC
        """,
        *parameters.values,
    )
    latest = {
        f"{place} {group} {document}": (place, group, document, metric, microseconds(at), owner)
        for place, group, document, metric, at, owner in rows
    }
    nexts = await _next_scores(
        asked, [_Wanted(key, owner, metric, at) for key, (_, _, _, metric, at, owner) in latest.items()]
    )
    contacted: dict[str, int] = {}
    for case in await _cases(asked, filtered=False):
        if case.contacted_at is not None:
            for document in case.triggers:
                contacted[document] = min(case.contacted_at, contacted.get(document, case.contacted_at))
    return count_arms(
        (
            LowScore(place, group, document, nexts[key][0], nexts[key][1] > _LOW)
            for key, (place, group, document, _, _, _) in latest.items()
            if key in nexts
        ),
        contacted,
    )


async def money_at_risk(asked: Asked, rules: Rules) -> RawTallies:
    """Count customers with an open case at the end of each span, and what they were worth in the year before."""
    cases = [case for case in await _cases(asked) if any(case.open_at(span.until) for span in asked.spans)]
    scores = await _scores(asked, {document for case in cases for document in case.triggers})
    owners = {document: score.owner for document, score in scores.items()}
    customers = customers_at_risk(cases, asked.spans, owners)
    return count_money(customers, await _money(asked, rules.costs.currency, customers))


async def _links(asked: Asked) -> _Links:
    parameters = Parameters()
    rows = await asked.connection.fetch(
        f"SELECT kind, subject, case_document FROM case_links AS k WHERE TRUE {asked.known(parameters, 'k')}",
        *parameters.values,
    )
    triggers: dict[str, set[str]] = {}
    for kind, subject, case in rows:
        if kind == 0:
            triggers.setdefault(case, set()).add(subject)
    return _Links(
        {case: frozenset(subjects) for case, subjects in triggers.items()},
        frozenset(subject for kind, subject, _ in rows if kind == 1),
    )


async def _cases(asked: Asked, *, filtered: bool = True) -> list[Case]:
    """Read the cases that were opened before the end of the last span, without superseded ones."""
    links = await _links(asked)
    parameters = Parameters()
    numbers = parameters.add([_OPENED, _CLOSED, _CONTACTED])
    until = parameters.add(instant(asked.until if filtered else FAR))
    chosen = asked.filters(parameters) if filtered else ""
    rows = await asked.connection.fetch(
        f"""
        SELECT document, metric, at, value, {_groups(asked, parameters)} AS groups FROM ledger AS l
        WHERE metric = ANY({numbers}::int2[]) AND at < {until}::timestamptz {chosen} {asked.known(parameters)}
        GROUP BY document, metric, at, value, groups HAVING sum(sign) > 0
        """,
        *parameters.values,
    )
    held: dict[str, tuple[int, tuple[int, ...], dict[int, int]]] = {}
    for document, metric, at, value, groups in rows:
        if document not in links.superseded:
            held.setdefault(document, (microseconds(at), tuple(groups), {}))[2][metric] = value

    def moment(opened: int, after: int | None) -> int | None:
        return None if after is None else opened + after * 1000

    return [
        Case(
            document,
            opened,
            moment(opened, after[_OPENED] or None),
            moment(opened, after.get(_CLOSED)),
            moment(opened, after.get(_CONTACTED)),
            groups,
            links.triggers.get(document, frozenset()),
        )
        for document, (opened, groups, after) in held.items()
        if _OPENED in after
    ]


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
    wanted = sorted(documents)
    times = {
        instant(fact.at)
        for row in await asked.connection.fetch(
            "SELECT facts FROM documents WHERE id = ANY($1::text[])", wanted
        )
        for fact in decode_facts(row[0]).values()
        if isinstance(fact, Responded | Tombstone)
    }
    if not times:
        return {}
    parameters = Parameters()
    own = f"AND l.at = ANY({parameters.add(sorted(times))}::timestamptz[])"
    own += f" AND l.document = ANY({parameters.add(wanted)}::text[])"
    net = asked.net(parameters, SCORES, (), Span(BEGINNING, FAR), own)
    rows = await asked.connection.fetch(
        f"SELECT document, owner, metric FROM ({net}) AS net WHERE owner IS NOT NULL ORDER BY metric",
        *parameters.values,
    )
    return {row[0]: _Score(row[1], row[2]) for row in rows}


class _Wanted(NamedTuple):
    """Somebody's next score of a metric after a moment; the first of several with one key counts."""

    key: str
    owner: int
    metric: int
    after: int


async def _next_scores(asked: Asked, wanted: Sequence[_Wanted]) -> dict[str, tuple[int, int]]:
    """Give time (microseconds) and band of the next scores there are."""
    if not wanted:
        return {}
    parameters = Parameters()
    keys = parameters.add([one.key for one in wanted])
    owners = parameters.add([one.owner for one in wanted])
    metrics = parameters.add([one.metric for one in wanted])
    moments = parameters.add([instant(one.after) for one in wanted])
    metrics_asked = sorted({one.metric for one in wanted})
    later = Span(min(one.after for one in wanted), FAR)
    net = asked.net(parameters, metrics_asked, ("band",), later)
    rows = await asked.connection.fetch(
        f"""
        SELECT DISTINCT ON (w.key) w.key, net.at, net.band
        FROM unnest({keys}::text[], {owners}::int8[], {metrics}::int2[], {moments}::timestamptz[])
            AS w (key, owner, metric, after)
        JOIN ({net}) AS net ON net.owner = w.owner AND net.metric = w.metric AND net.at > w.after
        ORDER BY w.key, net.at, net.document
        """,
        *parameters.values,
    )
    return {row[0]: (microseconds(row[1]), row[2]) for row in rows}


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
    owner, join = asked.owner(parameters)
    places = parameters.add([place for place, _ in pairs])
    holders = parameters.add([customer for _, customer in pairs])
    since = parameters.add([instant(max(BEGINNING, asked.spans[place].until - YEAR)) for place, _ in pairs])
    until = parameters.add([instant(asked.spans[place].until) for place, _ in pairs])
    number = parameters.add(int(MetricNumber.CUSTOMER_VALUE))
    rows = await asked.connection.fetch(
        f"""
        SELECT w.place, w.customer, sum(l.sign * l.value)::int8
        FROM ledger AS l {join}
        JOIN unnest({places}::int4[], {holders}::int8[], {since}::timestamptz[], {until}::timestamptz[])
            AS w (place, customer, since, until)
            ON w.customer = {owner} AND l.at >= w.since AND l.at < w.until
        WHERE l.metric = {number}::int2 AND l.more @> ARRAY[{parameters.add(unit)}::int4] {asked.known(parameters)}
        GROUP BY w.place, w.customer
        """,
        *parameters.values,
    )
    return {(row[0], row[1]): row[2] for row in rows}
