"""Dimension values cost memory once, and no more than is allowed."""

from typing import Any

import pytest

from cxloop_scoring.domain.dimensions import Dimensions
from cxloop_scoring.store import vocabulary
from cxloop_scoring.store.vocabulary import Vocabulary


def agents(since: int, until: int) -> set[Dimensions]:
    return {Dimensions(source="zd", agent=f"agent-{number}") for number in range(since, until)}


async def test_memory_is_bounded_however_many_values_there_are(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "_RESOLVED_KEPT", 300)
    monkeypatch.setattr(vocabulary, "_VALUES_KEPT", 1_000)
    words = Vocabulary(worker.database)
    first = dict(await words.resolve(agents(0, 100)))
    for batch in range(40):
        found = await words.resolve(agents(batch * 100, batch * 100 + 100))
        assert len(found) <= 300 + 2 * 100
        assert sum(map(len, words._values.values())) <= 1_000 + 2 * 101
    # Forgotten and looked up again, a value has the number that it always had.
    again = await words.resolve(agents(0, 100))
    assert {one: again[one] for one in first} == first
