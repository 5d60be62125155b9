"""Observations: what one document adds to the metrics, and the difference between two states of it."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import msgspec

from cxloop_common.identifiers import best_ranked
from cxloop_scoring.domain.dimensions import Dimensions

T = TypeVar("T")


class Band(IntEnum):
    """Where a score lies; the numbers are the ledger's."""

    LOW = 0
    MIDDLE = 1
    HIGH = 2


# A struct is made in a quarter of the time that a named tuple takes, and a batch makes tens of thousands. It refers to
# nothing that refers back to it: the garbage collector need not look at it.
class Observation(msgspec.Struct, frozen=True, gc=False):
    """One value of one metric, with the time and the dimensions it counts under.

    value: milliseconds, hundredths (of a point of a score, of a currency), or a count. at: microseconds since
    1970, UTC. customer: a hash of the customer hint, None for an anonymous document. ticket: the document of the
    ticket that a response is about.
    """

    metric: int
    value: int
    band: int | None
    at: int
    customer: int | None
    dimensions: Dimensions
    ticket: str | None = None


class Customer(NamedTuple):
    """The customer hint of a document and its hash."""

    hint: str | None
    hash: int | None


NO_CUSTOMER = Customer(None, None)


@lru_cache(maxsize=65_536)
def customer_of(identifiers: tuple[str, ...]) -> Customer:
    """Choose the customer hint of an event and hash it to a signed 64-bit integer."""
    hint = best_ranked(identifiers)
    if hint is None:
        return NO_CUSTOMER
    digest = blake2b(hint.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return Customer(hint, int.from_bytes(digest, "big", signed=True))


def differences(booked: Sequence[Observation], now: Sequence[Observation]) -> list[tuple[int, Observation]]:
    """Give what has to be booked so that `booked` becomes `now`: pairs of sign and observation.

    Both are multisets. Withdrawals (-1) come before additions (+1); what is in both is left alone.
    """
    same = 0
    for before, after in zip(booked, now, strict=False):  # most often something was added at the end
        if before != after:
            break
        same += 1
    if same == len(booked):
        return [(1, observation) for observation in now[same:]]
    count: dict[Observation, int] = {}
    for observation in now[same:]:
        count[observation] = count.get(observation, 0) + 1
    for observation in booked[same:]:
        count[observation] = count.get(observation, 0) - 1
    return as_signed(count)


def as_signed(lacking: Mapping[T, int]) -> list[tuple[int, T]]:
    """Write a count as pairs: each with sign +1 as often as it is lacking, after each with -1 as it is too many."""
    return [(sign, one) for sign in (-1, 1) for one, times in lacking.items() for _ in range(sign * times)]
