"""A real ledger whose rows each test books itself, and the questions that are put to it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from cxloop_common.database import Database
from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.customers import Ownership, hash_of
from cxloop_scoring.domain.dimensions import BUILT_IN, COLUMNS
from cxloop_scoring.domain.facts import Responded, encode_facts
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.metrics import CATALOGUE, MetricNumber
from cxloop_scoring.domain.questions import Filter, Question
from cxloop_scoring.domain.rules import DEFAULT_RULES, Rules
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.store.identities import remember_owners
from cxloop_scoring.store.joined import joined_answers

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
NOW = NOON + timedelta(days=60)
WINDOW = (0, 10)
"""Days from noon."""

NPS, CSAT = MetricNumber.NPS, MetricNumber.CSAT
SOLVED, CANDIDATE = MetricNumber.FIRST_RESOLUTION_TIME, MetricNumber.FIRST_CONTACT_RESOLUTION
CONTACT = MetricNumber.REPEAT_CONTACT_RATE
SENT, UNLINKED = MetricNumber.RESPONSE_RATE, MetricNumber.SEND_UNLINKED
LIFECYCLE, VALUE = MetricNumber.LIFECYCLE, MetricNumber.CUSTOMER_VALUE
OPENED, CLOSED, CONTACTED = MetricNumber.CASE_OPENED, MetricNumber.CASE_CLOSED, MetricNumber.CASE_CONTACTED
LOW, MIDDLE, HIGH = 0, 1, 2


def day(days: float) -> datetime:
    return NOON + timedelta(days=days)


class Ledger:
    """Books rows and asks questions."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.recorded_at = NOON
        self._values: dict[tuple[str, str], int] = {}

    async def _value(self, name: str, text: str) -> int:
        number = BUILT_IN.get(name)
        if number is None:
            await self.connection.execute(
                "INSERT INTO dimensions (name) VALUES ($1) ON CONFLICT DO NOTHING", name
            )
            number = await self.connection.fetchval("SELECT id FROM dimensions WHERE name = $1", name)
        await self.connection.execute(
            "INSERT INTO dimension_values (dimension, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            number,
            text,
        )
        return int(
            await self.connection.fetchval(
                "SELECT id FROM dimension_values WHERE dimension = $1 AND value = $2", number, text
            )
        )

    async def book(
        self,
        document: str,
        metric: MetricNumber,
        at: datetime,
        *,
        value: int = 1,
        band: int | None = None,
        customer: str | None = None,
        sign: int = 1,
        ticket: str | None = None,
        **dimensions: Any,
    ) -> None:
        ids = {name: await self._value(name, text) for name, text in dimensions.items()}
        more = sorted(id_ for name, id_ in ids.items() if name not in COLUMNS)
        await self.connection.execute(
            f"""
            INSERT INTO ledger (document, metric, sign, value, band, at, customer, recorded_at, more, ticket,
                {", ".join(COLUMNS)})
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
                {", ".join(f"${number}" for number in range(11, 11 + len(COLUMNS)))})
            """,
            *(document, int(metric), sign, value, band, at),
            *(None if customer is None else hash_of(customer), self.recorded_at, more or None, ticket),
            *(ids.get(name) for name in COLUMNS),
        )

    async def own(self, customer: str, version: int, *identifiers: str) -> None:
        said = sorted(Ownership(hash_of(one), version, hash_of(customer)) for one in identifiers)
        await remember_owners(self.connection, said, self.recorded_at)

    async def contact(self, number: int, at: float, customer: str | None, kind: str | None = "bill") -> None:
        more: dict[str, Any] = {} if kind is None else {"contact_type": kind}
        await self.book(f"ticket:z:{number}", CONTACT, day(at), customer=customer, **more)

    async def solve(
        self, number: int, at: float, customer: str | None, *, candidate: bool = True, kind: str = "bill"
    ) -> None:
        for metric in (SOLVED, CANDIDATE) if candidate else (SOLVED,):
            await self.book(f"ticket:z:{number}", metric, day(at), customer=customer, contact_type=kind)

    async def score(
        self, name: str, at: float, customer: str, band: int, metric: MetricNumber = NPS, **more: Any
    ) -> None:
        await self.book(f"response:s:{name}", metric, day(at), band=band, customer=customer, **more)

    async def case(
        self,
        name: str,
        at: float,
        *,
        due: float | None = None,
        closed: float | None = None,
        contacted: float | None = None,
        trigger: str | None = None,
        supersedes: str | None = None,
        **dimensions: Any,
    ) -> None:
        times = {OPENED: due or at, CLOSED: closed, CONTACTED: contacted}
        for metric, moment in times.items():
            if moment is not None:
                took = round((moment - at) * 86_400_000)
                await self.book(f"case:{name}", metric, day(at), value=took, **dimensions)
        for kind, subject in (
            (0, None if trigger is None else f"response:s:{trigger}"),
            (1, None if supersedes is None else f"case:{supersedes}"),
        ):
            if subject is not None:
                await self.connection.execute(
                    "INSERT INTO case_links (kind, subject, case_document, recorded_at) VALUES ($1, $2, $3, $4)",
                    *(kind, subject, f"case:{name}", self.recorded_at),
                )

    async def remember(self, name: str, at: float) -> None:
        """Keep the document of a response, as the worker does."""
        answer = Responded(microseconds(day(at)), b"", "nps", 0, 0, 10, False, None, {}, (), None, None)  # noqa: FBT003 - array-like
        await self.connection.execute(
            "INSERT INTO documents (id, shard, generation, facts) VALUES ($1, 0, 0, $2)",
            f"response:s:{name}",
            encode_facts({"e": answer}),
        )

    async def answers(
        self,
        name: str,
        *windows: tuple[float, float],
        where: Mapping[str, str] | None = None,
        by: str | None = None,
        as_of: datetime | None = None,
        rules: Rules = DEFAULT_RULES,
        now: datetime = NOW,
    ) -> dict[tuple[int, str | None], Answer]:
        question = Question(
            CATALOGUE[name],
            tuple(
                Span(microseconds(day(since)), microseconds(day(until)))
                for since, until in windows or (WINDOW,)
            ),
            tuple(Filter(*item) for item in (where or {}).items()),
            by,
            as_of=as_of,
        )
        async with self.connection.transaction(isolation="repeatable_read", readonly=True):
            (found,) = await joined_answers(self.connection, [question], rules, now)
            return found

    async def ask(self, name: str, *windows: tuple[float, float], **more: Any) -> tuple[int, float | None]:
        """Give n and value of the first span."""
        found = (await self.answers(name, *windows, **more)).get((0, None))
        return (0, None) if found is None else (found.n, found.value)


@asynccontextmanager
async def ledger_of(database_url: str) -> AsyncGenerator[Ledger]:
    async with Database(database_url, schema="scoring") as database:
        await database.migrate("cxloop_scoring.migrations")
        connection = await database.connect()
        try:
            yield Ledger(connection)
        finally:
            await connection.close()
