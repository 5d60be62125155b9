"""Which rows explain a metric in which documents meet, and what each of them adds to the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.joined.revenue import YEAR
from cxloop_scoring.domain.joined.verdicts import Verdict
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store import explaining_cases, explaining_customers
from cxloop_scoring.store.explaining_cases import Risk, amount_at_risk, risk_of
from cxloop_scoring.store.explaining_customers import Judge
from cxloop_scoring.store.listing import ListedRow, Narrowing, Position, Rows, in_force
from cxloop_scoring.store.meeting import SCORES
from cxloop_scoring.store.met_rows import MetRows
from cxloop_scoring.store.sums import Parameters
from cxloop_scoring.store.words import declared_value

MEETING: Final[Mapping[str, tuple[MetricNumber, ...]]] = {
    "first_contact_resolution": (MetricNumber.FIRST_RESOLUTION_TIME, MetricNumber.FIRST_CONTACT_RESOLUTION),
    "repeat_contact_rate": (MetricNumber.REPEAT_CONTACT_RATE,),
    "response_rate": (MetricNumber.RESPONSE_RATE, MetricNumber.SEND_UNLINKED),
    "retention": (MetricNumber.LIFECYCLE,),
    "churn": (MetricNumber.LIFECYCLE,),
    "closed_loop_rate": (MetricNumber.CASE_OPENED, MetricNumber.CASE_CLOSED),
    "recovery_rate": (MetricNumber.CASE_CLOSED,),
    "recovery_lift": SCORES,
    "revenue_at_risk": (MetricNumber.CASE_OPENED, MetricNumber.CUSTOMER_VALUE),
}
"""Whose observations explain the metrics that are joined, those that n counts first."""

_FROM_THE_BEGINNING: Final = frozenset(
    (
        ("retention", MetricNumber.LIFECYCLE),
        ("churn", MetricNumber.LIFECYCLE),
        ("recovery_rate", MetricNumber.CASE_CLOSED),
        ("revenue_at_risk", MetricNumber.CASE_OPENED),
    )
)
"""Whose observations may count though they lie before the window, however long before it they do."""

_JUDGES: Final[Mapping[str, Judge]] = {
    "first_contact_resolution": explaining_customers.first_contacts,
    "repeat_contact_rate": explaining_customers.repeated_contacts,
    "response_rate": explaining_customers.answered_sends,
    "retention": explaining_customers.staying_customers,
    "churn": explaining_customers.leaving_customers,
    "closed_loop_rate": explaining_cases.closed_cases,
    "recovery_rate": explaining_cases.recovered_cases,
    "recovery_lift": explaining_cases.lifted_scores,
}


@dataclass(frozen=True, slots=True)
class Joined:
    """One question about a metric that is joined."""

    met: MetRows
    currency: str | None
    """The configured one."""
    risk: Risk | None
    """What of revenue at risk is open, which decides what is listed at all."""

    @classmethod
    async def of(cls, met: MetRows, currency: str | None) -> "Joined":
        """Prepare to list and judge the rows of a question."""
        at_risk = met.reading.question.metric.name == "revenue_at_risk"
        return cls(met, currency, await risk_of(met) if at_risk else None)

    @property
    def _name(self) -> str:
        return self.met.reading.question.metric.name

    async def rows(self, limit: int, after: Position | None) -> Rows:
        """Read the rows of a page, and some more."""
        found: Rows = {}
        for number in MEETING[self._name]:
            reading = replace(self.met.reading, spans=(self._reached(number),))
            if number == MetricNumber.CUSTOMER_VALUE:
                # What a customer was worth is theirs, whichever of their cases are asked for.
                reading = replace(reading, ids=(), question=replace(reading.question, where=()))
            narrowing = self._narrowing(number)
            found |= await in_force(self.met.connection, reading, number, limit, after, narrowing=narrowing)
        return found

    def _reached(self, number: MetricNumber) -> Span:
        if (self._name, number) in _FROM_THE_BEGINNING:
            return Span(BEGINNING, self.met.span.until)
        if number == MetricNumber.CUSTOMER_VALUE:
            return Span(self.met.span.until - YEAR, self.met.span.until)
        return self.met.span

    def _narrowing(self, number: MetricNumber) -> Narrowing | None:
        def closed_in_window(parameters: Parameters) -> str:
            since = parameters.add(instant(max(BEGINNING, self.met.span.since)))
            until = parameters.add(instant(self.met.span.until))
            closed_at = "l.at + l.value * interval '1 millisecond'"
            return f"{closed_at} >= {since}::timestamptz AND {closed_at} < {until}::timestamptz"

        def low(parameters: Parameters) -> str:
            return f"l.band = {parameters.add(int(Band.LOW))}::int2"

        def at_risk(parameters: Parameters) -> str:
            cases, identifiers = ((), ()) if self.risk is None else (self.risk.cases, self.risk.identifiers)
            if number == MetricNumber.CASE_OPENED:
                return f"l.document = ANY({parameters.add(sorted(cases))}::text[])"
            return f"l.customer = ANY({parameters.add(list(identifiers))}::int8[])"

        narrowings: Mapping[str, Narrowing] = {
            "recovery_rate": closed_in_window,
            "recovery_lift": low,
            "revenue_at_risk": at_risk,
        }
        return narrowings.get(self._name)

    async def verdicts(self, rows: Sequence[ListedRow]) -> list[Verdict]:
        """Judge the rows of a page."""
        met = await self.met.met(listed_fields(row) for row in rows)
        if self.risk is None:
            return await _JUDGES[self._name](self.met, met)
        unit = await declared_value(self.met.connection, "currency", self.currency)
        return [
            amount_at_risk(one, self.risk, counted=unit in row.more)
            for row, one in zip(rows, met, strict=True)
        ]


def listed_fields(row: ListedRow) -> dict[str, object]:
    """Name the fields of a listed row that can meet others, as the ledger does."""
    return {
        "at": row.at,
        "document": row.document,
        "metric": row.metric,
        "value": row.value,
        "band": row.band,
        "customer": row.customer,
        **{name: row.filed(name) for name in ("contact_type", "survey", "source")},
    }
