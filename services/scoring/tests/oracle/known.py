"""All that follows from a set of records, whichever way they came."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cxloop_common.events import AlertRecord, CanonicalEventBase, CloudEvent, JourneyChanged

from .configured import NOTHING, Configured
from .customers import Case, cases, identities, lifecycle_rows
from .folding import ledger_document
from .responses import Polarity, response_rows
from .rows import Row
from .standing import documents, messages
from .tickets import ticket_rows


@dataclass(frozen=True)
class Known:
    """Rows of all documents, who is whom, and the cases that count."""

    rows: Sequence[Row]
    customers: Mapping[str, str]
    cases: Sequence[Case]
    """Without those that another one supersedes."""

    @classmethod
    def of(
        cls, records: Iterable[CloudEvent], polarity: Polarity, configured: Configured = NOTHING
    ) -> "Known":
        """Work out what is known once these records were processed."""
        given = list(records)
        found = documents(one for one in given if isinstance(one, CanonicalEventBase))
        said = messages(found)
        rows: list[Row] = []
        for document, facts in found.items():
            if document.startswith("ticket:"):
                rows += ticket_rows(document, facts, said.get(document, ()), configured)
            elif document.startswith("lifecycle:"):
                rows += lifecycle_rows(document, facts, configured)
            else:
                rows += response_rows(document, facts, polarity)
        all_, superseded = cases(one for one in given if isinstance(one, AlertRecord))
        for case in all_:
            rows += case.rows()
        known = identities(one for one in given if isinstance(one, JourneyChanged))
        return cls(rows, known, [case for case in all_ if case.id not in superseded])

    @cached_property
    def by_metric(self) -> Mapping[int, Sequence[Row]]:
        """All rows of each metric number, by time, then document."""
        found: dict[int, list[Row]] = {}
        for row in sorted(self.rows, key=_order):
            found.setdefault(row.metric, []).append(row)
        return found

    def of_metrics(self, *metrics: int) -> list[Row]:
        """Give the rows of some metrics, by time, then document."""
        found = [row for metric in metrics for row in self.by_metric.get(metric, ())]
        return sorted(found, key=_order)

    def customer(self, row: Row) -> str | None:
        """Give journey's customer; an identifier that journey never told of stands for itself."""
        return None if row.customer is None else self.customers.get(row.customer, row.customer)


def _order(row: Row) -> tuple[int, str]:
    """Order rows by time, then by the name that the ledger has for their document."""
    return row.at, ledger_document(row)
