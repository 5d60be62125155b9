"""What the customers with open cases were worth."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.joined.loop import Case, RawTallies
from cxloop_scoring.domain.joined.tallies import Tally
from cxloop_scoring.domain.statistics import status
from cxloop_scoring.domain.windows import DAY, Span

YEAR: Final = 365 * DAY
"""How far back a customer's worth is added up, from the end of the span; microseconds."""

_HUNDREDTHS: Final = 100


def customers_at_risk(
    cases: Iterable[Case], spans: Sequence[Span], owners: Mapping[str, int]
) -> dict[tuple[int, int], set[int]]:
    """Give the customers with a case that is open at the end of a span, by span and group.

    `owners` gives the customer of each score document that has one.
    """
    found: dict[tuple[int, int], set[int]] = {}
    for case in cases:
        customers = {owners[document] for document in case.triggers if document in owners}
        for place, span in enumerate(spans):
            if customers and case.open_at(span.until):
                for group in case.groups:
                    found.setdefault((place, group), set()).update(customers)
    return found


def count_money(
    customers: Mapping[tuple[int, int], set[int]], money: Mapping[tuple[int, int], int]
) -> RawTallies:
    """Add up what customers were worth; `money` gives hundredths by span and customer.

    Hits are hundredths. Groups that share a customer both count them, so groups need not add up to the total.
    """
    return {
        (place, group): Tally(len(found), sum(money.get((place, customer), 0) for customer in found))
        for (place, group), found in customers.items()
    }


def revenue_at_risk(tally: Tally) -> Answer:
    """Answer with an amount of the configured currency; every customer is counted, so there is no interval."""
    value = tally.hits / _HUNDREDTHS if tally.n else None
    return Answer(value, tally.n, None, status(tally.n))
