"""Buckets: what a batch changes in the hours and days, as differences that add up in any order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from cxloop_scoring.domain.histogram import Histogram, duration_bin, encode_histogram
from cxloop_scoring.domain.metrics import DURATIONS, LEDGER_ONLY
from cxloop_scoring.domain.observations import Observation
from cxloop_scoring.domain.windows import HOUR

VALUE_BITS: Final = 32
DIMENSION_BITS: Final = 16
_VALUE_MASK: Final = (1 << VALUE_BITS) - 1
HOURS_A_DAY: Final = 24

CellKey = int
"""A dimension and its value in one integer, ordered as the pair is; 0 is the total."""


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


# Rows travel as bare tuples, for a batch may hold tens of thousands of them. All begin with the key, packed so
# that three integers sort as the primary key does: metric << 16 | dimension, at << 32 | value, and the shard.
CountedRow = tuple[int, int, int, int, int, int, int, int, int]
"""Key, n, sum, squares, low, middle, high: of scores, counts and rates; the bands are of scores alone."""
TimedRow = tuple[int, int, int, int, int, bytes]
"""Key, n, sum, encoded histogram: of durations. Their squares would overflow 64 bits within weeks."""


@dataclass(frozen=True, slots=True)
class BucketRows:
    """Differences for one table, sorted by key; what comes to nothing is left out."""

    counted: list[CountedRow]
    timed: list[TimedRow]


_Group = tuple[int, int, int]
"""Metric, hour or day, shard."""
_Sums = dict[_Group, dict[CellKey, list[int]]]
_Times = dict[_Group, dict[CellKey, tuple[list[int], Histogram]]]


class Changes:
    """Differences of one batch by hour, from which those by day follow."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._banded: _Sums = {}
        self._plain: _Sums = {}
        self._timed: _Times = {}
        for entry in entries:
            metric = entry.observation.metric
            if metric in DURATIONS:
                self._add_timed(entry)
            elif metric not in LEDGER_ONLY:
                if entry.observation.band is None:
                    self._add_plain(entry)
                else:
                    self._add_banded(entry, entry.observation.band)

    def _add_banded(self, entry: Entry, band: int) -> None:
        sign, (metric, value, _, at, _, _, _), shard, resolved = entry
        cells = self._banded.setdefault((metric, at // HOUR, shard), {})
        total = sign * value
        squares = total * value
        place = 2 + band
        for key in resolved.cells:
            cell = cells.get(key)
            if cell is None:
                cell = cells[key] = [0, 0, 0, 0, 0]
            cell[0] += total
            cell[1] += squares
            cell[place] += sign

    def _add_plain(self, entry: Entry) -> None:
        sign, (metric, value, _, at, _, _, _), shard, resolved = entry
        cells = self._plain.setdefault((metric, at // HOUR, shard), {})
        total = sign * value
        squares = total * value
        for key in resolved.cells:
            cell = cells.get(key)
            if cell is None:
                cells[key] = [sign, total, squares]
            else:
                cell[0] += sign
                cell[1] += total
                cell[2] += squares

    def _add_timed(self, entry: Entry) -> None:
        sign, (metric, value, _, at, _, _, _), shard, resolved = entry
        cells = self._timed.setdefault((metric, at // HOUR, shard), {})
        total = sign * value
        number = duration_bin(value)
        for key in resolved.cells:
            found = cells.get(key)
            if found is None:
                cells[key] = ([sign, total], {number: sign})
            else:
                cell, histogram = found
                cell[0] += sign
                cell[1] += total
                histogram[number] = histogram.get(number, 0) + sign

    def hours(self) -> BucketRows:
        """Give the rows by hour."""
        return _rows(self._banded, self._plain, self._timed)

    def days(self) -> BucketRows:
        """Give the rows by day."""
        return _rows(_by_day(self._banded), _by_day(self._plain), _times_by_day(self._timed))


def _by_day(hours: _Sums) -> _Sums:
    days: _Sums = {}
    for (metric, hour, shard), cells in hours.items():
        into = days.setdefault((metric, hour // HOURS_A_DAY, shard), {})
        for key, cell in cells.items():
            known = into.get(key)
            into[key] = cell if known is None else [a + b for a, b in zip(known, cell, strict=True)]
    return days


def _times_by_day(hours: _Times) -> _Times:
    days: _Times = {}
    for (metric, hour, shard), cells in hours.items():
        into = days.setdefault((metric, hour // HOURS_A_DAY, shard), {})
        for key, (cell, histogram) in cells.items():
            known = into.get(key)
            if known is None:
                into[key] = (cell.copy(), histogram.copy())
                continue
            total, bins = known
            total[0] += cell[0]
            total[1] += cell[1]
            for number, count in histogram.items():
                bins[number] = bins.get(number, 0) + count
    return days


def _rows(banded: _Sums, plain: _Sums, timed: _Times) -> BucketRows:
    rows = BucketRows([], [])
    for (metric, at, shard), cells in banded.items():
        metric_bits, at_bits = metric << DIMENSION_BITS, at << VALUE_BITS
        rows.counted.extend(
            (
                *(metric_bits | key >> VALUE_BITS, at_bits | key & _VALUE_MASK, shard),
                *(low + middle + high, a, b, low, middle, high),
            )
            for key, (a, b, low, middle, high) in cells.items()
            if a or b or low or middle or high
        )
    for (metric, at, shard), cells in plain.items():
        metric_bits, at_bits = metric << DIMENSION_BITS, at << VALUE_BITS
        rows.counted.extend(
            (metric_bits | key >> VALUE_BITS, at_bits | key & _VALUE_MASK, shard, n, total, squares, 0, 0, 0)
            for key, (n, total, squares) in cells.items()
            if n or total or squares
        )
    _extend_timed(rows.timed, timed)
    rows.counted.sort()
    rows.timed.sort()
    return rows


def _extend_timed(
    rows: list[TimedRow], timed: Mapping[_Group, Mapping[CellKey, tuple[list[int], Histogram]]]
) -> None:
    for (metric, at, shard), cells in timed.items():
        metric_bits, at_bits = metric << DIMENSION_BITS, at << VALUE_BITS
        for key, ((n, total), histogram) in cells.items():
            bins = histogram
            if 0 in histogram.values():
                bins = {number: count for number, count in histogram.items() if count}
            if n or total or bins:
                rows.append(
                    (
                        metric_bits | key >> VALUE_BITS,
                        at_bits | key & _VALUE_MASK,
                        shard,
                        n,
                        total,
                        encode_histogram(bins),
                    )
                )
