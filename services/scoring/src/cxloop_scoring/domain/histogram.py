"""Histograms of durations: integer counters of fixed bins, 1 % wide at most, that add and subtract exactly.

The mapping is DDSketch's, linear between powers of two (Masson, Rim, Lee 2019, PVLDB 12(12), section 2.2, and
the fast mappings of its reference implementations): 64 bins an octave, found by shifts, so that Python and
SQL agree to the bit. Below 128 every integer has its own bin; above, a bin's middle lies within 1/128 of
every value in it.
"""

import struct
import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

_BITS: Final = 6
_PER_OCTAVE: Final = 1 << _BITS
_PAIR: Final = struct.Struct("<Hi")
PAIR_BYTES: Final = _PAIR.size
"""What a bin and its count take."""
_BYTES: Final = struct.Struct("6s")
_MANY_PAIRS: Final = 200

Histogram = dict[int, int]
"""Bin to count; bins with nothing in them are absent. Counts of one shard may be negative."""


def encode_histogram(histogram: Mapping[int, int]) -> bytes:
    """Write pairs of bin (2 bytes) and count (4), little-endian. Two encodings in a row are their sum."""
    if len(histogram) == 1:
        return _PAIR.pack(*next(iter(histogram.items())))
    return b"".join([_PAIR.pack(number, count) for number, count in histogram.items()])


def decode_histogram(held: bytes) -> Histogram:
    """Read pairs of bin and count; pairs of one bin add up, and bins that come to nothing disappear."""
    histogram: Histogram = {}
    if len(held) > _MANY_PAIRS * _PAIR.size:
        if (bins := _of_single_observations(held)) is not None:
            return dict(Counter(bins))
        # Most pairs are alike: counting the bytes of each kind is quicker than reading all.
        for (pair,), times in Counter(_BYTES.iter_unpack(held)).items():
            number, count = _PAIR.unpack(pair)
            histogram[number] = histogram.get(number, 0) + count * times
        return {number: count for number, count in histogram.items() if count}
    for number, count in _PAIR.iter_unpack(held):
        histogram[number] = histogram.get(number, 0) + count
    return {number: count for number, count in histogram.items() if count}


def _of_single_observations(held: bytes) -> "array[int] | None":
    """Give the bins of pairs that all count one observation, as most do; None where one counts otherwise."""
    words = array("H", held)
    if sys.byteorder == "big":
        words.byteswap()
    n = len(words) // 3
    alike = words[1::3].count(1) == n and words[2::3].count(0) == n
    return words[::3] if alike else None


def duration_bin(value: int) -> int:
    """Give the bin of a duration in milliseconds. Raises ValueError for a negative one."""
    if value < 0:
        raise ValueError("a duration is not negative")
    if value < _PER_OCTAVE:
        return value
    shift = value.bit_length() - 1 - _BITS
    return (shift << _BITS) + (value >> shift)


def bin_middle(number: int) -> float:
    """Give the value that stands for a bin: the middle of the integers in it."""
    if number < 2 * _PER_OCTAVE:
        return float(number)
    shift = (number >> _BITS) - 1
    least = (number - (shift << _BITS)) << shift
    return least + ((1 << shift) - 1) / 2


def add_histogram(into: Histogram, other: Mapping[int, int], times: int = 1) -> None:
    """Add a histogram to another (``times=-1`` subtracts it); bins that come to nothing disappear."""
    for number, count in other.items():
        total = into.get(number, 0) + count * times
        if total:
            into[number] = total
        else:
            into.pop(number, None)


class Ranks:
    """A histogram sorted once, for as many ranks and quantiles as are asked of it."""

    def __init__(self, histogram: Mapping[int, int]) -> None:
        self._bins = sorted(histogram)
        self._reached = list(accumulate(histogram[number] for number in self._bins))
        self.n = self._reached[-1] if self._reached else 0

    def at(self, rank: int) -> float:
        """Give the value of the ``rank``-th smallest entry, from 1. Raises ValueError beyond the entries."""
        place = bisect_left(self._reached, rank)
        if place == len(self._bins):
            raise ValueError("the histogram has fewer entries")
        return bin_middle(self._bins[place])

    def quantile(self, q: float) -> float | None:
        """Give a quantile in milliseconds, linear between ranks as in NumPy; None if empty."""
        if self.n <= 0:
            return None
        position = (self.n - 1) * q
        below = int(position)
        low = self.at(below + 1)
        share = position - below
        return low if not share else low + (self.at(below + 2) - low) * share


def at_rank(histogram: Mapping[int, int], rank: int) -> float:
    """Give the value of the ``rank``-th smallest entry, from 1. Raises ValueError beyond the entries."""
    return Ranks(histogram).at(rank)


def quantile(histogram: Mapping[int, int], q: float) -> float | None:
    """Give a quantile in milliseconds, linear between ranks as in NumPy; None if empty."""
    return Ranks(histogram).quantile(q)
