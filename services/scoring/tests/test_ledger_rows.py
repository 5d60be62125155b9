"""Rows of the ledger: what is written in binary is what is read back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cxloop_scoring.domain.buckets import Entry, Resolved
from cxloop_scoring.domain.dimensions import COLUMNS, Dimensions
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.observations import Observation
from cxloop_scoring.store.ledger_rows import LEDGER_COLUMNS
from cxloop_scoring.store.writing import append_ledger

AT = datetime(2026, 3, 6, 11, 30, 0, 123456, tzinfo=UTC)
LARGEST = 2**63 - 1
NOWHERE: tuple[int | None, ...] = (None,) * len(COLUMNS)
EVERYWHERE: tuple[int | None, ...] = tuple(range(1, 1 + len(COLUMNS)))


@pytest.mark.parametrize(
    ("observation", "resolved"),
    [
        pytest.param(
            Observation(1, 900, 2, microseconds(AT), -LARGEST, Dimensions(), "ticket:é:1"),
            Resolved(EVERYWHERE, (7, 2**31 - 1), ()),
            id="everything is known",
        ),
        pytest.param(
            Observation(3, 0, None, microseconds(AT), None, Dimensions()),
            Resolved(NOWHERE, None, ()),
            id="nothing is known",
        ),
        pytest.param(
            Observation(30, -LARGEST, 0, microseconds(AT.replace(year=1999)), LARGEST, Dimensions()),
            Resolved(NOWHERE, (5,), ()),
            id="values are large, and times lie before 2000",
        ),
    ],
)
async def test_what_is_written_is_what_is_read(
    worker: Any, observation: Observation, resolved: Resolved
) -> None:
    recorded_at = AT + timedelta(days=1, microseconds=1)
    entries = [Entry(sign, observation, 0, resolved) for sign in (-1, 1, 1)]
    documents = ["response:ü:1", "response:b:22", "response:c:333"]
    await append_ledger(worker.connection, entries, documents, recorded_at)
    rows = await worker.connection.fetch(f"SELECT {', '.join(LEDGER_COLUMNS)} FROM ledger ORDER BY document")
    assert [(row["document"], row["sign"]) for row in rows] == [
        ("response:b:22", 1),
        ("response:c:333", 1),
        ("response:ü:1", -1),
    ]
    for row in rows:
        assert row["metric"] == observation.metric
        assert row["value"] == observation.value
        assert row["band"] == observation.band
        assert microseconds(row["at"]) == observation.at
        assert row["customer"] == observation.customer
        assert row["ticket"] == observation.ticket
        assert tuple(row[name] for name in COLUMNS) == resolved.columns
        assert row["more"] == (None if resolved.more is None else list(resolved.more))
        assert row["recorded_at"] == recorded_at
