"""Customers: journey's word on which identifiers belong together, as hashes."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from cxloop_common.events import JourneyChanged


class Ownership(NamedTuple):
    """An identifier belongs to a customer, as of a version of journey's one sequence."""

    identifier: int
    version: int
    customer: int


def hash_of(text: str) -> int:
    """Hash an identifier or a customer id to a signed 64-bit integer, as observations name their customer.

    Identifiers on Kafka are normalised already.
    """
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def ownerships(change: JourneyChanged) -> list[Ownership]:
    """Give what a record says of each identifier it lists; after a merge they are the survivor's."""
    customer = hash_of(change.merged_into or change.customer_id)
    return [Ownership(hash_of(item.id), item.version, customer) for item in change.identifiers]


def least_of_each_version(said: Iterable[Ownership]) -> list[Ownership]:
    """Keep one customer for each identifier and version, the least, sorted.

    Journey draws a version once; should a record ever contradict another, order does not decide.
    """
    least: dict[tuple[int, int], int] = {}
    for identifier, version, customer in said:
        key = (identifier, version)
        least[key] = min(customer, least.get(key, customer))
    return [Ownership(*key, customer) for key, customer in sorted(least.items())]
