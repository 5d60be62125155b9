"""The rows that a page's rows may have met: of their customers, and of documents that are known by name."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.joined.verdicts import MetRow, in_order
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.held import facts_of
from cxloop_scoring.store.identities import canonical, identifiers_of
from cxloop_scoring.store.sums import Parameters, Reading, conditions, known

_ROW = "l.at, l.document, l.metric, l.value, l.band, l.customer, l.contact_type, l.survey, l.source"


class MetRows:
    """Reads rows in force, as of a question's `as_of`. Filters are left aside but where they are named."""

    def __init__(self, connection: Connection, reading: Reading) -> None:
        self.connection = connection
        self.reading = reading
        self._owners: dict[int, int] = {}

    @property
    def span(self) -> Span:
        """The one that is explained."""
        (span,) = self.reading.spans
        return span

    @property
    def as_of(self) -> datetime | None:
        """The moment whose knowledge counts; None for now."""
        return self.reading.question.as_of

    async def owners(self, identifiers: Iterable[int | None]) -> dict[int, int]:
        """Give the customer of each identifier; those of earlier calls are known."""
        new = {one for one in identifiers if one is not None} - self._owners.keys()
        if new:
            parameters = Parameters([sorted(new)])
            owner, join = canonical("l", parameters.moment(self.as_of))
            rows = await self.connection.fetch(
                f"SELECT l.customer, {owner} FROM unnest($1::int8[]) AS l (customer) {join}",
                *parameters.values,
            )
            self._owners.update((row[0], row[1]) for row in rows)
        return self._owners

    async def identifiers(self, owners: Iterable[int]) -> list[int]:
        """Give all identifiers of customers."""
        parameters = Parameters([sorted(set(owners))])
        if not parameters.values[0]:
            return []
        rows = await self.connection.fetch(
            f"""
            WITH wanted AS MATERIALIZED (SELECT unnest($1::int8[]) AS owner)
            {identifiers_of("wanted", parameters.moment(self.as_of))}
            """,
            *parameters.values,
        )
        found = {row[0]: row[1] for row in rows}
        self._owners.update(found)
        return sorted(found)

    async def of_customers(
        self,
        owners: Iterable[int],
        metrics: Sequence[int],
        span: Span,
        *,
        filtered: bool = False,
    ) -> list[MetRow]:
        """Read rows of customers in order of time; `filtered` leaves those that the question is about."""
        identifiers = await self.identifiers(owners)
        if not identifiers or span.since >= span.until:
            return []
        numbers = [int(metric) for metric in metrics]
        since, until = instant(max(BEGINNING, span.since)), instant(span.until)
        # The index knows metric, time and customer, and can be read alone for these.
        times = await self.connection.fetch(
            """
            SELECT DISTINCT l.at FROM ledger AS l
            WHERE l.metric = ANY($1::int2[]) AND l.at >= $2::timestamptz AND l.at < $3::timestamptz
                AND l.customer = ANY($4::int8[])
            """,
            *(numbers, since, until, identifiers),
        )
        parameters = Parameters([numbers, sorted(row[0] for row in times), identifiers])
        where = conditions(self.reading, parameters) if filtered else known(self.as_of, parameters)
        return await self._net(f"l.customer = ANY($3::int8[]) {where}", parameters)

    async def of_documents(self, documents: Collection[str], metrics: Sequence[int]) -> list[MetRow]:
        """Read rows of documents in order of time.

        The ledger has no index on documents: it is asked for the times of their facts. Of content that lost
        since the tombstone tells the time.
        """
        if not documents:
            return []
        held = await facts_of(self.connection, documents)
        times = {fact.at for facts in held.values() for fact in facts.values()}
        parameters = Parameters(
            [
                [int(metric) for metric in metrics],
                [instant(at) for at in sorted(times)],
                sorted(set(documents)),
            ]
        )
        return await self._net(f"l.document = ANY($3::text[]) {known(self.as_of, parameters)}", parameters)

    async def _net(self, condition: str, parameters: Parameters) -> list[MetRow]:
        rows = await self.connection.fetch(
            f"""
            SELECT {_ROW} FROM ledger AS l
            WHERE l.metric = ANY($1::int2[]) AND l.at = ANY($2::timestamptz[]) AND {condition}
            GROUP BY {_ROW} HAVING sum(l.sign) > 0
            """,
            *parameters.values,
        )
        return in_order(await self.met(rows))

    async def met(self, rows: Iterable[Any]) -> list[MetRow]:
        """Make rows of records that have the names of the ledger's columns."""
        given = list(rows)
        owners = await self.owners(row["customer"] for row in given)
        return [
            MetRow(
                microseconds(row["at"]),
                row["document"],
                row["metric"],
                row["value"],
                row["band"],
                None if row["customer"] is None else owners[row["customer"]],
                row["contact_type"],
                row["survey"],
                row["source"],
            )
            for row in given
        ]
