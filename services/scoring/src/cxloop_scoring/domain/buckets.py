"""Buckets: what a batch changes in the hours and days, as differences that add up in any order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from cxloop_scoring.domain.histogram import PAIR_BYTES, decode_histogram, duration_bin, encode_histogram
from cxloop_scoring.domain.metrics import DURATIONS, LEDGER_ONLY
from cxloop_scoring.domain.observations import Observation
from cxloop_scoring.domain.windows import HOUR

T = TypeVar("T")
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


class Entry(msgspec.Struct, frozen=True, gc=False):
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


class _Timed(msgspec.Struct, gc=False):
    """Differences of durations in one cell; histograms in a row are their sum."""

    n: int
    sum: int
    histogram: bytes


_Times = dict[_Group, dict[CellKey, _Timed]]


class Changes:
    """Differences of one batch by hour, from which those by day follow."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._banded: _Sums = {}
        self._plain: _Sums = {}
        self._timed: _Times = {}
        for entry in entries:
            observation = entry.observation
            metric = observation.metric
            if metric in DURATIONS:
                self._add_timed(entry)
            elif metric not in LEDGER_ONLY:
                if observation.band is None:
                    self._add_plain(entry)
                else:
                    self._add_banded(entry, observation.band)

    def _add_banded(self, entry: Entry, band: int) -> None:
        sign, observation = entry.sign, entry.observation
        cells = self._banded.setdefault((observation.metric, observation.at // HOUR, entry.shard), {})
        total = sign * observation.value
        squares = total * observation.value
        place = 2 + band
        for key in entry.resolved.cells:
            cell = cells.get(key)
            if cell is None:
                cell = cells[key] = [0, 0, 0, 0, 0]
            cell[0] += total
            cell[1] += squares
            cell[place] += sign

    def _add_plain(self, entry: Entry) -> None:
        sign, observation = entry.sign, entry.observation
        cells = self._plain.setdefault((observation.metric, observation.at // HOUR, entry.shard), {})
        total = sign * observation.value
        squares = total * observation.value
        for key in entry.resolved.cells:
            cell = cells.get(key)
            if cell is None:
                cells[key] = [sign, total, squares]
            else:
                cell[0] += sign
                cell[1] += total
                cell[2] += squares

    def _add_timed(self, entry: Entry) -> None:
        sign, observation = entry.sign, entry.observation
        cells = self._timed.setdefault((observation.metric, observation.at // HOUR, entry.shard), {})
        total = sign * observation.value
        pair = encode_histogram({duration_bin(observation.value): sign})
        for key in entry.resolved.cells:
            cell = cells.get(key)
            if cell is None:
                cells[key] = _Timed(sign, total, pair)
            else:
                cell.n += sign
                cell.sum += total
                cell.histogram += pair

    def hours(self) -> BucketRows:
        """Give the rows by hour."""
        return _rows(self._banded, self._plain, self._timed)

    def days(self) -> BucketRows:
        """Give the rows by day."""
        return _rows(_by_day(self._banded), _by_day(self._plain), _times_by_day(self._timed))


def _by_day(hours: _Sums) -> _Sums:
    days: _Sums = {}
    for (metric, day, shard), parts in _parts_of_days(hours).items():
        # Most batches span one hour or two: what is alone in its day is its day.
        into = days[metric, day, shard] = parts[0] if len(parts) == 1 else parts[0].copy()
        for cells in parts[1:]:
            for key, cell in cells.items():
                known = into.get(key)
                into[key] = cell if known is None else [a + b for a, b in zip(known, cell, strict=True)]
    return days


def _times_by_day(hours: _Times) -> _Times:
    days: _Times = {}
    for (metric, day, shard), parts in _parts_of_days(hours).items():
        into = days[metric, day, shard] = parts[0] if len(parts) == 1 else parts[0].copy()
        for cells in parts[1:]:
            for key, cell in cells.items():
                known = into.get(key)
                into[key] = (
                    cell
                    if known is None
                    else _Timed(known.n + cell.n, known.sum + cell.sum, known.histogram + cell.histogram)
                )
    return days


def _parts_of_days(hours: Mapping[_Group, T]) -> dict[_Group, list[T]]:
    days: dict[_Group, list[T]] = {}
    for (metric, hour, shard), cells in hours.items():
        days.setdefault((metric, hour // HOURS_A_DAY, shard), []).append(cells)
    return days


def _rows(banded: _Sums, plain: _Sums, timed: _Times) -> BucketRows:
    counted: list[CountedRow] = []
    for (metric, at, shard), cells in banded.items():
        what, slot = metric << DIMENSION_BITS, at << VALUE_BITS
        for key, (total, squares, low, middle, high) in cells.items():
            if total or squares or low or middle or high:
                n = low + middle + high
                where = what | key >> VALUE_BITS, slot | key & _VALUE_MASK, shard
                counted.append((*where, n, total, squares, low, middle, high))
    for (metric, at, shard), cells in plain.items():
        what, slot = metric << DIMENSION_BITS, at << VALUE_BITS
        counted += [
            (what | key >> VALUE_BITS, slot | key & _VALUE_MASK, shard, n, total, squares, 0, 0, 0)
            for key, (n, total, squares) in cells.items()
            if n or total or squares
        ]
    times: list[TimedRow] = []
    for (metric, at, shard), durations in timed.items():
        what, slot = metric << DIMENSION_BITS, at << VALUE_BITS
        for key, cell in durations.items():
            histogram = cell.histogram
            if len(histogram) > PAIR_BYTES:
                histogram = encode_histogram(decode_histogram(histogram))
            if histogram or cell.n or cell.sum:
                where = what | key >> VALUE_BITS, slot | key & _VALUE_MASK, shard
                times.append((*where, cell.n, cell.sum, histogram))
    counted.sort()
    times.sort()
    return BucketRows(counted, times)
