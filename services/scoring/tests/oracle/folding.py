"""The service's own way from records to observations, without a database: read, gather, link, fold."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from cxloop_common.events import CloudEvent, JourneyChanged, encode_event
from cxloop_scoring.domain.customers import hash_of
from cxloop_scoring.domain.documents import contributions, survivors
from cxloop_scoring.domain.facts import Facts, add_fact
from cxloop_scoring.domain.reading import read
from cxloop_scoring.domain.reading_outcomes import SaysNothingError
from cxloop_scoring.domain.rules import DEFAULT_RULES, Rules
from cxloop_scoring.domain.scores import link_of

from .rows import Row

Booked = tuple[str, int, int, int | None, int, int | None, frozenset[tuple[str, str]]]
"""Document, metric, value, band, at, hash of the customer, dimensions."""


def booked(records: Iterable[CloudEvent], rules: Rules = DEFAULT_RULES) -> Counter[Booked]:
    """Fold records as the worker does, in the order given; links come after all of them."""
    documents: dict[str, Facts] = {}

    def take(headers: Mapping[str, bytes], value: bytes | None) -> bool:
        try:
            found = read(headers, value)
        except SaysNothingError:
            return False
        return add_fact(documents.setdefault(found.document, {}), found.event_id, found.fact)

    for record in records:
        if not isinstance(record, JourneyChanged):
            _, value, headers = encode_event(record)
            take(dict(headers), value)
    news = True
    while news:
        links = [
            link_of(document, target, name, fact)
            for document, facts in documents.items()
            for target in survivors(document, facts)
            for name, fact in facts.items()
        ]
        news = sum(take(dict(link.headers), link.value) for link in links) > 0
    found: Counter[Booked] = Counter()
    for document, facts in documents.items():
        for one in contributions(document, facts, rules):
            band = None if one.band is None else int(one.band)
            dimensions = frozenset(one.dimensions.pairs())
            found[document, one.metric, one.value, band, one.at, one.customer, dimensions] += 1
    return found


def expected(rows: Iterable[Row]) -> Counter[Booked]:
    """Give the oracle's rows in the ledger's terms."""
    return Counter(
        (
            ledger_document(row),
            row.metric,
            row.value,
            row.band,
            row.at,
            None if row.customer is None else hash_of(row.customer),
            row.dimensions,
        )
        for row in rows
    )


def ledger_document(row: Row) -> str:
    """Name a row's document as the ledger does: a lifecycle by the hash of its identifier."""
    if not row.document.startswith("lifecycle:"):
        return row.document
    return f"lifecycle:{hash_of(row.document.removeprefix('lifecycle:')) % 2**64:016x}"


def difference(service: Counter[Any], oracle: Counter[Any]) -> str:
    """Show what only one of them has."""
    only = [("service", service - oracle), ("oracle", oracle - service)]
    lines = [
        f"only the {who} has {times} x {key}"
        for who, rest in only
        for key, times in sorted(rest.items(), key=repr)
    ]
    return "\n".join(lines)
