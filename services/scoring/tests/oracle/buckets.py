"""Buckets beside the ledger that they are sums of."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from . import rows as r

LEDGER_ONLY = frozenset({10, 11, 13, 14, 21, 22, 23, 24, 25, 26})
DURATIONS = frozenset(
    {r.FIRST_RESPONSE, r.NEXT_RESPONSE, r.FIRST_RESOLUTION, r.FULL_RESOLUTION, r.HANDLE_TIME, 30, 31, 32, 33}
)
Sums = Mapping[tuple[Any, ...], tuple[int, ...]]


async def held(worker: Any, table: str) -> Sums:
    """Read count, sum, squares and bands by metric, dimension, value and slot; over all shards."""
    words, names = await worker.words(), await worker.dimension_names()
    found: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 6)
    for row in await worker.connection.fetch(f"SELECT * FROM {table}"):
        filed = (names[row["dimension"]], words[row["value"]][1]) if row["dimension"] else (None, None)
        cell = found[row["metric"], *filed, row["at"]]
        for place, column in enumerate(("n", "sum", "squares", "low", "middle", "high")):
            cell[place] += row[column]
    return {key: tuple(cell) for key, cell in found.items() if any(cell)}


async def of_the_ledger(worker: Any, hours: int) -> Sums:
    """Add up the same from the net ledger."""
    found: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 6)
    for (_, metric, value, band, at, _, filed, *_), times in (await worker.net_ledger()).items():
        if metric in LEDGER_ONLY:
            continue
        slot = int(at.timestamp()) // (3600 * hours)
        for name, text in [(None, None), *filed]:
            cell = found[metric, name, text, slot]
            cell[0] += times
            cell[1] += times * value
            if metric not in DURATIONS:
                cell[2] += times * value * value
                if band is not None:
                    cell[3 + band] += times
    return {key: tuple(cell) for key, cell in found.items() if any(cell)}
