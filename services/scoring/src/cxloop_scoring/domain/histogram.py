"""Histograms of durations: integer counters of fixed bins, 1 % wide at most, that add and subtract exactly.

The mapping is DDSketch's, linear between powers of two (Masson, Rim, Lee 2019, PVLDB 12(12), section 2.2, and
the fast mappings of its reference implementations): 64 bins an octave, found by shifts, so that Python and
SQL agree to the bit. Below 128 every integer has its own bin; above, a bin's middle lies within 1/128 of
every value in it.
"""

import struct
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

_BITS: Final = 6
_PER_OCTAVE: Final = 1 << _BITS
_PAIR: Final = struct.Struct("<Hi")

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
    for number, count in _PAIR.iter_unpack(held):
        histogram[number] = histogram.get(number, 0) + count
    return {number: count for number, count in histogram.items() if count}


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


def at_rank(histogram: Mapping[int, int], rank: int) -> float:
    """Give the value of the ``rank``-th smallest entry, from 1. Raises ValueError beyond the entries."""
    numbers = sorted(histogram)
    for number, reached in zip(numbers, accumulate(histogram[n] for n in numbers), strict=True):
        if rank <= reached:
            return bin_middle(number)
    raise ValueError("the histogram has fewer entries")


def quantile(histogram: Mapping[int, int], q: float) -> float | None:
    """Give a quantile in milliseconds, linear between ranks as in NumPy; None if empty."""
    n = sum(histogram.values())
    if n <= 0:
        return None
    position = (n - 1) * q
    below = int(position)
    low = at_rank(histogram, below + 1)
    share = position - below
    if not share:
        return low
    return low + (at_rank(histogram, below + 2) - low) * share
