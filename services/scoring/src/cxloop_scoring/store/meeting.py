"""Pieces of statements on ledger rows that meet: net of withdrawals, under journey's customers.

Every piece reads the ledger as `l`. The customer of a row is called `owner`: journey's where its identifier is
known to journey, else the identifier itself; both as of the question's `as_of`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.questions import Question
from cxloop_scoring.domain.rules import DEFAULT_RULES, Rules
from cxloop_scoring.domain.windows import BEGINNING, Span
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.identities import canonical
from cxloop_scoring.store.questions import dimension_numbers, value_ids
from cxloop_scoring.store.relationship import WORK_MEM
from cxloop_scoring.store.sums import Parameters, filters, grouping, known, of_span

_Read = TypeVar("_Read")

SCORES: Final = (MetricNumber.NPS, MetricNumber.CSAT, MetricNumber.CES, MetricNumber.CES_V1)
"""Metrics whose observations are answers of customers on a scale."""

FAR: Final = 4_102_444_800_000_000
"""The year 2100, later than anything that is booked; microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with everything that its statements need."""

    connection: Connection
    question: Question
    spans: tuple[Span, ...]
    ids: tuple[int, ...]
    """The value id of each filter."""
    dimensions: Mapping[str, int]
    """Dimension numbers by name."""
    now: int
    """When it is asked, or the `as_of` before: what lies later cannot be known; microseconds since 1970."""
    rules: Rules = DEFAULT_RULES
    metrics: frozenset[str] = frozenset()
    """Names of the metrics that are asked for together, where the answers share what they read."""
    _read: dict[object, Any] = field(default_factory=dict[object, Any], repr=False, compare=False)

    async def once(self, read: Callable[["Asked"], Awaitable[_Read]]) -> _Read:
        """Read what several metrics need, and keep it for the next of them."""
        if read not in self._read:
            self._read[read] = await read(self)
        found: _Read = self._read[read]
        return found

    @property
    def since(self) -> int:
        """Begin of the first span."""
        return min(span.since for span in self.spans)

    @property
    def until(self) -> int:
        """End of the last span."""
        return max(span.until for span in self.spans)

    @property
    def filed(self) -> tuple[str, ...]:
        """Columns of the ledger that filters and groups look at."""
        names = self.question.dimensions
        return (*(name for name in COLUMNS if name in names), *(("more",) if names - set(COLUMNS) else ()))

    def known(self, parameters: Parameters, row: str = "l") -> str:
        """Write the condition that leaves out what was recorded after `as_of`."""
        return known(self.question.as_of, parameters, row)

    def owner(self, parameters: Parameters) -> tuple[str, str]:
        """Write the customer of a ledger row, and the join that finds it."""
        return canonical("l", parameters.moment(self.question.as_of))

    def filters(self, parameters: Parameters) -> str:
        """Write the conditions of `where`, and that a row belongs to a group where one is asked for."""
        by = self.question.by
        grouped = f" AND l.{by} IS NOT NULL" if by in COLUMNS else ""
        return grouped + filters(self.question.where, self.ids, parameters)

    def group(self, parameters: Parameters) -> tuple[str, str]:
        """Write the group of a row (0 where none is asked for), and the join that finds it."""
        return grouping(self.question.by, self.dimensions, parameters)

    def of_spans(self, parameters: Parameters) -> str:
        """Write the spans as rows `s` of place, since and until."""
        places = parameters.add(list(range(len(self.spans))))
        since = parameters.add([instant(span.since) for span in self.spans])
        until = parameters.add([instant(span.until) for span in self.spans])
        return f"unnest({places}::int4[], {since}::timestamptz[], {until}::timestamptz[]) AS s (place, since, until)"

    def chosen(self, parameters: Parameters, metrics: Sequence[int], columns: Sequence[str]) -> str:
        """Write the signed rows of the question: `place`, `grouped`, `columns` and `sign`."""
        group, join = self.group(parameters)
        numbers = parameters.add([int(metric) for metric in metrics])
        return f"""
            SELECT s.place, {group} AS grouped, {_named(columns)} l.sign
            FROM {self.of_spans(parameters)}
            CROSS JOIN LATERAL {of_span(numbers, spans=len(self.spans))} AS l
            {join}
            WHERE TRUE {self.filters(parameters)} {self.known(parameters)}
        """

    def chosen_net(
        self, parameters: Parameters, metrics: Sequence[int], columns: Sequence[str], more: str = ""
    ) -> str:
        """Write the rows of the question that are in force: `place`, `grouped`, `columns` and `owner`."""
        return self.owned(parameters, self.chosen_rows(parameters, metrics, columns, more))

    def chosen_rows(
        self, parameters: Parameters, metrics: Sequence[int], columns: Sequence[str], more: str = ""
    ) -> str:
        """Write the same without `owner`.

        `more` are conditions on single rows, which hold for a withdrawal where they hold for what it withdraws.
        """
        group, join = self.group(parameters)
        place, source, within = "0", "ledger AS l", ""
        if len(self.spans) > 1:
            place, source = "s.place", f"{self.of_spans(parameters)} CROSS JOIN ledger AS l"
            within = " AND l.at >= s.since AND l.at < s.until"
        return self._in_force(
            parameters,
            metrics,
            {"place": place, "grouped": group, **_own_names(columns)},
            Span(self.since, self.until),
            source=f"{source} {join}",
            conditions=f"{within} {self.filters(parameters)} {more}",
        )

    def net(
        self,
        parameters: Parameters,
        metrics: Sequence[int],
        columns: Sequence[str],
        span: Span,
        more: str = "",
    ) -> str:
        """Write all rows in force of a span, whatever the question's filters: `columns` and `owner`."""
        return self.owned(parameters, self.net_rows(parameters, metrics, columns, span, more))

    def net_rows(
        self,
        parameters: Parameters,
        metrics: Sequence[int],
        columns: Sequence[str],
        span: Span,
        more: str = "",
        *,
        written: Mapping[str, str] | None = None,
    ) -> str:
        """Write the same without `owner`; `written` are columns before them, each with its expression."""
        names = {**(written or {}), **_own_names(columns)}
        return self._in_force(parameters, metrics, names, span, source="ledger AS l", conditions=more)

    def owned(self, parameters: Parameters, rows: str) -> str:
        """Write rows that have a `customer` with their `owner`."""
        owner, join = self.owner(parameters)
        return f"SELECT l.*, {owner} AS owner FROM ({rows}) AS l {join}"

    def _in_force(
        self,
        parameters: Parameters,
        metrics: Sequence[int],
        names: Mapping[str, str],
        span: Span,
        *,
        source: str,
        conditions: str,
    ) -> str:
        """Write the net rows of a span: `names` are the columns, each with what it is in `source`."""
        numbers = parameters.add([int(metric) for metric in metrics])
        since = parameters.add(instant(max(BEGINNING, span.since)))
        until = parameters.add(instant(span.until))

        def among(row: str) -> str:
            return f"""
                {row}.metric = ANY({numbers}::int2[]) AND {row}.at >= {since}::timestamptz
                    AND {row}.at < {until}::timestamptz {self.known(parameters, row)}
            """

        columns = ", ".join(f"{value} AS {name}" for name, value in names.items())
        # Times and documents first: they tell rows apart at once where rows are sorted by the keys.
        order = sorted(names, key=lambda name: (name != "at", name != "document"))
        keys = ", ".join(str(list(names).index(name) + 1) for name in order)
        corrected = f"""(
            SELECT FROM ledger AS w WHERE {among("w")} AND w.sign < 0 AND w.metric = l.metric AND w.at = l.at
        )"""
        rows = f"FROM {source} WHERE {among('l')} {conditions}"
        # What has no withdrawal at its time is in force as it stands; few rows are left to be added up.
        return f"""
            SELECT {columns} {rows} AND l.sign > 0 AND NOT EXISTS {corrected}
            UNION ALL
            SELECT {columns} {rows} AND EXISTS {corrected} GROUP BY {keys} HAVING sum(l.sign) > 0
        """


async def plan_for_many(connection: Connection) -> None:
    """Have the statements that follow in this transaction planned for many rows, whatever statistics say.

    Right after rows came in masses there are none, and the server takes a range for a handful of rows: a loop
    in a loop then takes minutes where hashing takes a fraction of a second. Workers of such a plan would share
    hash tables in /dev/shm, of which a container usually has 64 MB for all of them.
    """
    await connection.execute(
        "SET LOCAL enable_nestloop = off; SET LOCAL max_parallel_workers_per_gather = 0; "
        f"SET LOCAL random_page_cost = 1.1; SET LOCAL work_mem = '{WORK_MEM}'"
    )


async def asked_of(
    connection: Connection, questions: Sequence[Question], rules: Rules, now: datetime
) -> Asked | None:
    """Look up what questions name that differ in nothing but their metric.

    None where a filter names a value that was never seen. Raises UnknownDimensionError.
    """
    first = questions[0]
    numbers = await dimension_numbers(connection, first.dimensions)
    ids = await value_ids(connection, first.where, numbers)
    if ids is None or not first.spans:
        return None
    moment = now if first.as_of is None else min(now, first.as_of)
    metrics = frozenset(question.metric.name for question in questions)
    return Asked(connection, first, first.spans, ids, numbers, microseconds(moment), rules, metrics)


def _named(columns: Sequence[str]) -> str:
    return "".join(f"l.{name}, " for name in columns)


def _own_names(columns: Sequence[str]) -> dict[str, str]:
    return {name: f"l.{name}" for name in (*columns, "metric", "document", "at", "customer")}
