"""Buckets: what a batch changes in the hours and days, as differences that add up in any order."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cxloop_scoring.domain.histogram import Histogram, duration_bin
from cxloop_scoring.domain.metrics import DURATIONS
from cxloop_scoring.domain.observations import Observation
from cxloop_scoring.domain.windows import HOUR

_VALUE_BITS: Final = 32
_VALUE_MASK: Final = (1 << _VALUE_BITS) - 1
HOURS_A_DAY: Final = 24

CellKey = int
"""A dimension and its value in one integer, ordered as the pair is; 0 is the total."""


def cell_key(dimension: int, value: int) -> CellKey:
    """Join a dimension's number and a value's id."""
    return dimension << _VALUE_BITS | value


@dataclass(frozen=True, slots=True)
class Resolved:
    """Dimensions of an observation as numbers."""

    columns: tuple[int | None, ...]
    """Value ids of the built-in single-valued dimensions."""
    more: tuple[int, ...] | None
    """Value ids of tags and declared dimensions, sorted; None where there are none."""
    cells: tuple[CellKey, ...]
    """The cells an observation counts in: the total, and one for each known value."""


class Entry(NamedTuple):
    """One signed observation of one shard, with its dimensions resolved."""

    sign: int
    observation: Observation
    shard: int
    resolved: Resolved


class BucketRow(NamedTuple):
    """A difference to one bucket row; sorts by the primary key.

    at: number of the hour or day since 1970. squares: sum of squared hundredths, 0 for durations, whose
    squared milliseconds would overflow 64 bits within weeks.
    """

    metric: int
    dimension: int
    at: int
    value: int
    shard: int
    n: int
    sum: int
    squares: int
    low: int
    middle: int
    high: int
    histogram: Histogram | None


_Cell = list[int]
_Group = tuple[int, int, int]
"""Metric, hour or day, shard."""

_N, _SUM, _SQUARES, _BAND = 0, 1, 2, 3


class Changes:
    """Differences of one batch by hour, from which those by day follow."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._scores: dict[_Group, dict[CellKey, _Cell]] = {}
        self._durations: dict[_Group, dict[CellKey, tuple[_Cell, Histogram]]] = {}
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        sign, (metric, value, band, at, _, _), shard, resolved = entry
        group = (metric, at // HOUR, shard)
        total = sign * value
        if metric in DURATIONS:
            timed = self._durations.get(group)
            if timed is None:
                timed = self._durations[group] = {}
            number = duration_bin(value)
            for key in resolved.cells:
                found = timed.get(key)
                if found is None:
                    timed[key] = ([sign, total], {number: sign})
                else:
                    cell, histogram = found
                    cell[0] += sign
                    cell[1] += total
                    histogram[number] = histogram.get(number, 0) + sign
            return
        cells = self._scores.get(group)
        if cells is None:
            cells = self._scores[group] = {}
        squares = total * value
        place = _BAND + band if band is not None else -1
        for key in resolved.cells:
            cell = cells.get(key)
            if cell is None:
                cell = cells[key] = [0, 0, 0, 0, 0, 0]
            cell[_N] += sign
            cell[_SUM] += total
            cell[_SQUARES] += squares
            if place > 0:
                cell[place] += sign

    def hours(self) -> list[BucketRow]:
        """Give the rows by hour, sorted by key; those that come to nothing are left out."""
        return _rows(self._scores, self._durations)

    def days(self) -> list[BucketRow]:
        """Give the rows by day, sorted by key."""
        scores: dict[_Group, dict[CellKey, _Cell]] = {}
        for (metric, hour, shard), cells in self._scores.items():
            _sum_cells(scores.setdefault((metric, hour // HOURS_A_DAY, shard), {}), cells)
        durations: dict[_Group, dict[CellKey, tuple[_Cell, Histogram]]] = {}
        for (metric, hour, shard), timed in self._durations.items():
            _sum_timed(durations.setdefault((metric, hour // HOURS_A_DAY, shard), {}), timed)
        return _rows(scores, durations)


def _sum_cells(into: dict[CellKey, _Cell], cells: Mapping[CellKey, _Cell]) -> None:
    for key, cell in cells.items():
        known = into.get(key)
        if known is None:
            into[key] = cell.copy()
        else:
            for place, amount in enumerate(cell):
                if amount:
                    known[place] += amount


def _sum_timed(
    into: dict[CellKey, tuple[_Cell, Histogram]], timed: Mapping[CellKey, tuple[_Cell, Histogram]]
) -> None:
    for key, (cell, histogram) in timed.items():
        known = into.get(key)
        if known is None:
            into[key] = (cell.copy(), histogram.copy())
            continue
        total, bins = known
        total[0] += cell[0]
        total[1] += cell[1]
        for number, count in histogram.items():
            bins[number] = bins.get(number, 0) + count


def _rows(
    scores: Mapping[_Group, Mapping[CellKey, _Cell]],
    durations: Mapping[_Group, Mapping[CellKey, tuple[_Cell, Histogram]]],
) -> list[BucketRow]:
    rows = [*_score_rows(scores), *_duration_rows(durations)]
    rows.sort()
    return rows


def _score_rows(scores: Mapping[_Group, Mapping[CellKey, _Cell]]) -> Iterator[BucketRow]:
    for (metric, at, shard), cells in scores.items():
        for key, cell in cells.items():
            if any(cell):
                yield BucketRow(metric, key >> _VALUE_BITS, at, key & _VALUE_MASK, shard, *_six(cell), None)


def _six(cell: Sequence[int]) -> tuple[int, int, int, int, int, int]:
    n, total, squares, low, middle, high = cell
    return n, total, squares, low, middle, high


def _duration_rows(
    durations: Mapping[_Group, Mapping[CellKey, tuple[_Cell, Histogram]]],
) -> Iterator[BucketRow]:
    for (metric, at, shard), timed in durations.items():
        for key, ((n, total), histogram) in timed.items():
            bins = {number: count for number, count in histogram.items() if count}
            if n or total or bins:
                yield BucketRow(
                    metric, key >> _VALUE_BITS, at, key & _VALUE_MASK, shard, n, total, 0, 0, 0, 0, bins
                )
