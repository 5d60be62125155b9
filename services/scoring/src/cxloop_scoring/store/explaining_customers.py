"""What contacts, sends, changes of state and latest responses of a page add to their answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

from cxloop_scoring.domain.joined.contacts import WEEK
from cxloop_scoring.domain.joined.response_rate import ANSWER_TIME
from cxloop_scoring.domain.joined.verdicts import (
    MetRow,
    Stay,
    Verdict,
    answered_send,
    by_matter,
    first_contact,
    kept_customer,
    latest_score,
    repeated_contact,
    stay,
)
from cxloop_scoring.domain.lifecycle import lifecycle_document
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store.meeting import SCORES
from cxloop_scoring.store.met_rows import MetRows

Judge: TypeAlias = Callable[[MetRows, Sequence[MetRow]], Awaitable[list[Verdict]]]
"""Gives the verdict on each row of a page, in their order; rows outside of the page are looked up for these alone."""

_CONTACTS: Final = (MetricNumber.REPEAT_CONTACT_RATE,)


def owners_of(rows: Sequence[MetRow]) -> set[int]:
    """Give the customers of rows; anonymous ones have none."""
    return {row.owner for row in rows if row.owner is not None}


def by_owner(rows: Sequence[MetRow]) -> dict[int, list[MetRow]]:
    """Sort rows by customer; each list keeps their order."""
    found: dict[int, list[MetRow]] = {}
    for row in rows:
        if row.owner is not None:
            found.setdefault(row.owner, []).append(row)
    return found


def _around(rows: Sequence[MetRow], before: int, after: int) -> Span:
    """Give the span from so long before the first row to so long after the last, both included."""
    times = [row.at for row in rows]
    return Span(min(times) - before, max(times) + after + 1) if times else Span(0, 0)


async def first_contacts(met: MetRows, rows: Sequence[MetRow]) -> list[Verdict]:
    """Judge first solves and candidates by the contacts of the week after."""
    candidates = [row for row in rows if row.metric == MetricNumber.FIRST_CONTACT_RESOLUTION]
    contacts = await met.of_customers(owners_of(candidates), _CONTACTS, _around(candidates, 0, WEEK))
    met_ones = by_matter(contacts)
    return [first_contact(row, met_ones) for row in rows]


async def repeated_contacts(met: MetRows, rows: Sequence[MetRow]) -> list[Verdict]:
    """Judge contacts by those of the week before."""
    met_ones = by_matter(await met.of_customers(owners_of(rows), _CONTACTS, _around(rows, WEEK, 0)))
    return [repeated_contact(row, met_ones) for row in rows]


async def answered_sends(met: MetRows, rows: Sequence[MetRow]) -> list[Verdict]:
    """Judge sends; those that name no response by the answers that their customer gave."""
    unlinked = [row for row in rows if row.metric == MetricNumber.SEND_UNLINKED]
    answers = by_owner(await met.of_customers(owners_of(unlinked), SCORES, _around(unlinked, 0, ANSWER_TIME)))
    return [answered_send(row, () if row.owner is None else answers.get(row.owner, ())) for row in rows]


async def staying_customers(met: MetRows, rows: Sequence[MetRow]) -> list[Verdict]:
    """Judge changes of state for retention."""
    return await _kept(met, rows, leaving=False)


async def leaving_customers(met: MetRows, rows: Sequence[MetRow]) -> list[Verdict]:
    """Judge changes of state for churn."""
    return await _kept(met, rows, leaving=True)


async def _kept(met: MetRows, rows: Sequence[MetRow], *, leaving: bool) -> list[Verdict]:
    # A lifecycle is named after its identifier: whatever a customer told is found without a search.
    identifiers = await met.identifiers(owners_of(rows))
    documents = [lifecycle_document(identifier) for identifier in identifiers]
    told = by_owner(await met.of_documents(documents, (MetricNumber.LIFECYCLE,)))
    stays: Mapping[int | None, Stay] = {owner: stay(walked, met.span) for owner, walked in told.items()}
    return [kept_customer(row, stays.get(row.owner, Stay(None, None)), leaving=leaving) for row in rows]


async def latest_scores(met: MetRows, rows: Sequence[MetRow]) -> list[Verdict]:
    """Tell of latest responses which ones of the window they replaced."""
    given = by_owner(await met.of_customers(owners_of(rows), (MetricNumber.NPS,), met.span, filtered=True))
    found: list[Verdict] = []
    for row in rows:
        own = () if row.owner is None else given.get(row.owner, ())
        before = [one for one in own if one[:2] < row[:2]]
        found.append(latest_score(row, before[-1] if before else None))
    return found
