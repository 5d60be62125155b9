"""What cases, low scores and amounts of a page add to their answer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cxloop_scoring.domain.cases import LinkKind
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.joined.verdicts import (
    Met,
    MetRow,
    Reason,
    Role,
    Verdict,
    lifted_score,
    next_score,
    recovered_case,
)
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store.case_links import in_force
from cxloop_scoring.store.explaining_customers import by_owner, owners_of
from cxloop_scoring.store.meeting import FAR, SCORES
from cxloop_scoring.store.met_rows import MetRows
from cxloop_scoring.store.sums import Parameters, conditions

_OPENED: Final = int(MetricNumber.CASE_OPENED)
_CLOSED: Final = int(MetricNumber.CASE_CLOSED)
_MILLISECOND_US: Final = 1000


async def _links(
    met: MetRows, kind: LinkKind, column: str, documents: Collection[str]
) -> list[tuple[str, str]]:
    """Read pairs of subject and case document whose `column` is one of `documents`."""
    parameters = Parameters([int(kind), sorted(set(documents))])
    known = in_force("t", parameters.moment(met.as_of))
    rows = await met.connection.fetch(
        f"""
        SELECT DISTINCT t.subject, t.case_document FROM case_links AS t
        WHERE t.kind = $1::int2 AND t.{column} = ANY($2::text[]) {known} ORDER BY 1, 2
        """,
        *parameters.values,
    )
    return [(row[0], row[1]) for row in rows]


async def _superseded(met: MetRows, cases: Collection[str]) -> dict[str, Verdict]:
    """Give a verdict on each case that another one stands for: it counts nowhere."""
    pairs = await _links(met, LinkKind.SUPERSEDED, "subject", cases)
    opened = {row.document: row for row in await met.of_documents([heir for _, heir in pairs], (_OPENED,))}
    found: dict[str, Verdict] = {}
    for case, heir in pairs:
        by = (Met(Role.SUPERSEDING_CASE, heir, opened[heir].at),) if heir in opened else ()
        found.setdefault(case, Verdict(0, 0, Reason.SUPERSEDED, by))
    return found


async def _trigger_scores(met: MetRows, cases: Collection[str]) -> dict[str, list[MetRow]]:
    """Give the scores in force that raised cases, where their customer is known."""
    pairs = await _links(met, LinkKind.TRIGGER, "case_document", cases)
    scores = {
        row.document: row
        for row in await met.of_documents({score for score, _ in pairs}, SCORES)
        if row.owner is not None
    }
    found: dict[str, list[MetRow]] = {}
    for score, case in pairs:
        if score in scores:
            found.setdefault(case, []).append(scores[score])
    return found


def _moment(row: MetRow) -> int:
    """Give the time that a case's row tells of, as far from its opening as its value says."""
    return row.at + row.value * _MILLISECOND_US


async def closed_cases(met: MetRows, rows: Sequence[MetRow]) -> list[Verdict]:
    """Judge openings, which n counts, and closings."""
    superseded = await _superseded(met, {row.document for row in rows})

    def judged(row: MetRow) -> Verdict:
        if row.document in superseded:
            return superseded[row.document]
        if row.metric == _OPENED:
            return Verdict(1, 0, Reason.OPENED)
        return Verdict(0, 1, Reason.CLOSED, (Met(Role.CASE_CLOSED, row.document, _moment(row)),))

    return [judged(row) for row in rows]


async def recovered_cases(met: MetRows, rows: Sequence[MetRow]) -> list[Verdict]:
    """Judge closed cases by the next score of their customers."""
    documents = {row.document for row in rows}
    superseded = await _superseded(met, documents)
    triggers = await _trigger_scores(met, documents - superseded.keys())
    asked = [score for scores in triggers.values() for score in scores]
    first = min((_moment(row) for row in rows), default=FAR)
    later = by_owner(
        await met.of_customers(owners_of(asked), sorted({score.metric for score in asked}), Span(first, FAR))
    )

    def judged(row: MetRow) -> Verdict:
        if row.document in superseded:
            return superseded[row.document]
        nexts = [
            following
            for score in triggers.get(row.document, ())
            if score.owner is not None
            and (following := next_score(later.get(score.owner, ()), score.metric, _moment(row)))
        ]
        return recovered_case(row, _moment(row), min(nexts, key=lambda one: one[:2], default=None))

    return [judged(row) for row in rows]


async def lifted_scores(met: MetRows, rows: Sequence[MetRow]) -> list[Verdict]:
    """Judge low scores: whose customer was contacted, and what the next score was."""
    owners = owners_of(rows)
    latest: dict[tuple[int | None, int], MetRow] = {}
    for row in await met.of_customers(owners, SCORES, met.span, filtered=True):
        if row.band == Band.LOW:
            latest[row.owner, row.metric] = row
    later = by_owner(await met.of_customers(owners, SCORES, Span(met.span.since, FAR)))
    contacts = await _contacts(met, {row.document for row in rows})

    def judged(row: MetRow) -> Verdict:
        if row.owner is None:
            return Verdict(0, 0, Reason.ANONYMOUS)
        following = next_score(later.get(row.owner, ()), row.metric, row.at)
        return lifted_score(row, latest[row.owner, row.metric], following, contacts.get(row.document))

    return [judged(row) for row in rows]


async def _contacts(met: MetRows, scores: Collection[str]) -> dict[str, Met]:
    """Give the first contact with the customer in a case of each score."""
    pairs = await _links(met, LinkKind.TRIGGER, "subject", scores)
    superseded = await _superseded(met, {case for _, case in pairs})
    cases = {case for _, case in pairs} - superseded.keys()
    contacted = {
        row.document: Met(Role.CASE_CONTACTED, row.document, _moment(row))
        for row in await met.of_documents(cases, (MetricNumber.CASE_CONTACTED,))
    }
    found: dict[str, Met] = {}
    for score, case in pairs:
        if case in contacted:
            before = found.get(score, contacted[case])
            found[score] = min(before, contacted[case], key=lambda one: (one.at, one.document))
    return found


@dataclass(frozen=True, slots=True)
class Risk:
    """The cases that are open at the end of a window, and the customers behind them."""

    cases: Mapping[str, Verdict]
    """The verdict on each open case: it adds the customers that no earlier one has."""
    customers: Mapping[int, Met]
    """The first open case of each customer."""
    identifiers: Sequence[int]
    """All identifiers of these customers."""


async def risk_of(met: MetRows) -> Risk:
    """Find the cases of a question that are open at the end of its window; few ever are."""
    parameters = Parameters([_OPENED, _CLOSED, instant(met.span.until)])
    where = conditions(met.reading, parameters)
    rows = await met.connection.fetch(
        f"""
        SELECT document, max(at) AS at FROM (
            SELECT l.document, l.metric, l.value, l.at FROM ledger AS l
            WHERE l.metric IN ($1::int2, $2::int2) AND l.at < $3::timestamptz {where}
            GROUP BY l.document, l.metric, l.value, l.at HAVING sum(l.sign) > 0
        ) AS net
        GROUP BY document
        HAVING coalesce(
            bool_and(metric = $1 OR at + value * interval '1 millisecond' >= $3::timestamptz), TRUE
        )
        ORDER BY at, document
        """,
        *parameters.values,
    )
    opened = {row[0]: microseconds(row[1]) for row in rows}
    cases = await _superseded(met, opened.keys())
    triggers = await _trigger_scores(met, opened.keys() - cases.keys())
    customers: dict[int, Met] = {}
    for case, at in opened.items():
        if case in cases:
            continue
        owners = owners_of(triggers.get(case, ()))
        new = owners - customers.keys()
        customers.update(dict.fromkeys(new, Met(Role.CASE, case, at)))
        reason = Reason.AT_RISK if new else Reason.COUNTED_ALREADY if owners else Reason.ANONYMOUS
        by = tuple(sorted({customers[owner] for owner in owners - new}, key=lambda one: one.document))
        cases[case] = Verdict(len(new), 0, reason, by)
    return Risk(cases, customers, await met.identifiers(customers))


def amount_at_risk(row: MetRow, risk: Risk, *, counted: bool) -> Verdict:
    """Judge an amount, which is `counted` where it is of the configured currency, or an open case."""
    if row.metric == _OPENED:
        return risk.cases[row.document]
    by = () if row.owner is None else (risk.customers[row.owner],)
    return Verdict(0, row.value, Reason.WORTH, by) if counted else Verdict(0, 0, Reason.OTHER_CURRENCY, by)
