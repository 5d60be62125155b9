"""Which identifiers are one customer: a function of the set of events, never of their order.

An identifier's *hash* is keyed BLAKE2b-128 over its text. A *pair* is two strong identifiers seen in one event.
A component of pairs within the limits is one customer; a component beyond them is *contested*, and its pairs
are taken in an order made from the set alone, the older link winning. An identifier paired with more of one
scheme than one customer may hold is *shared* (a mailbox, a desk phone) and joins nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations
from typing import Final, NamedTuple

from cxloop_common.identifiers import Identifier, IdentifierClass, IdentifierError, normalise

CUSTOMER_PREFIX: Final = "cus_"
LARGEST_CONTESTED: Final = 10_000
"""Identifiers of a contested component above which nothing in it joins: no person has so many."""

_LIMITS: Final = {"user": 1, "email": 4, "phone": 4}
_OTHER_LIMIT: Final = 3
_DECLARED_RANK: Final = 1
"""Ranks up to this one are ids that a system gave to a person: `user` and `<source>.requester`."""


def limit(scheme: str) -> int:
    """Most identifiers of a scheme that one customer may hold."""
    return _LIMITS.get(scheme, _OTHER_LIMIT)


@lru_cache(maxsize=4096)
def rank(scheme: str) -> int:
    """Trust in a scheme: 0 is best."""
    return Identifier(scheme, "", IdentifierClass.STRONG).rank


@lru_cache(maxsize=65_536)
def strong(text: str) -> Identifier | None:
    """Read an identifier if it is strong; None for every other class and for what is no identifier."""
    try:
        identifier = normalise(text)
    except IdentifierError:
        return None
    return identifier if identifier.class_ is IdentifierClass.STRONG else None


def strong_identifiers(texts: Iterable[str]) -> tuple[Identifier, ...]:
    """Give the strong identifiers among `texts`, each once, sorted by text."""
    found = {str(identifier): identifier for text in texts if (identifier := strong(text)) is not None}
    return tuple(found[text] for text in sorted(found))


def identifier_hash(text: str, key: bytes) -> bytes:
    """Hash an identifier's text with the deployment's key: 16 bytes, the same on every worker."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=key).digest()


def customer_id(founder: bytes) -> str:
    """Name a customer after the hash of its founder."""
    return CUSTOMER_PREFIX + founder.hex()


def founder_hash(customer: str) -> bytes | None:
    """Take a customer id apart; None for a text that is none."""
    digits = customer.removeprefix(CUSTOMER_PREFIX)
    if digits == customer or len(digits) != 32 or digits != digits.lower():  # noqa: PLR2004  # 16 bytes in hex
        return None
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Member:
    """One identifier as the partition sees it."""

    hash: bytes
    scheme: str
    first_seen: datetime


class Pair(NamedTuple):
    """Two members, the lower key first, and the least time of an event that carried both."""

    a: int
    b: int
    first_seen: datetime


class Placement(NamedTuple):
    """Where a member belongs: the root names its component, the founder its customer."""

    root: int
    founder: int


def pairs_of(members: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Give every two of an event's strong identifiers, the lower key first."""
    return combinations(sorted(set(members)), 2)


def is_shared(partners: Mapping[str, int]) -> bool:
    """Tell whether an identifier with so many partners, by scheme, belongs to more than one person.

    All pairs count, those with shared partners too: the count only grows, so the answer changes once.
    """
    return any(count > limit(scheme) for scheme, count in partners.items())


class Candidate(NamedTuple):
    """An identifier of an event as a place to hang the event on."""

    id: int
    scheme: str
    hash: bytes
    shared: bool


def anchor(candidates: Iterable[Candidate]) -> int | None:
    """Choose the best-ranked identifier that is not shared, else the best-ranked; ties by hash."""
    best = min(candidates, key=lambda one: (one.shared, rank(one.scheme), one.hash), default=None)
    return None if best is None else best.id


class _Forest:
    """Union-find that counts the schemes of each block."""

    def __init__(self, members: Mapping[int, Member]) -> None:
        self._parent = {key: key for key in members}
        self._counts = {key: Counter((member.scheme,)) for key, member in members.items()}

    def find(self, key: int) -> int:
        parent = self._parent
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    def within_limits(self, *blocks: int) -> bool:
        """Tell whether the blocks, taken together, keep every limit."""
        if len(blocks) == 1:
            total = self._counts[blocks[0]]
        else:
            total = Counter[str]()
            for block in blocks:
                total.update(self._counts[block])
        return all(count <= limit(scheme) for scheme, count in total.items())

    def join(self, a: int, b: int) -> None:
        """Make two blocks one; both arguments are blocks as `find` names them."""
        if self._counts[a].total() < self._counts[b].total():
            a, b = b, a
        self._parent[b] = a
        self._counts[a].update(self._counts.pop(b))

    def blocks(self) -> dict[int, list[int]]:
        found: defaultdict[int, list[int]] = defaultdict(list)
        for key in self._parent:
            found[self.find(key)].append(key)
        return found


def _trust(members: Mapping[int, Member], pair: Pair) -> tuple[int, datetime, list[bytes]]:
    """Order the pairs of a contested component: declared ids first, pairs of one scheme last, then by age."""
    a, b = members[pair.a], members[pair.b]
    declared = min(rank(a.scheme), rank(b.scheme)) <= _DECLARED_RANK
    tier = 2 if a.scheme == b.scheme else int(not declared)
    return tier, pair.first_seen, sorted((a.hash, b.hash))


def partition(
    members: Mapping[int, Member], pairs: Iterable[Pair], largest: int = LARGEST_CONTESTED
) -> dict[int, Placement]:
    """Place every member. `pairs` are those between two members, none of them shared.

    The root is the member of the component with the least hash, the founder the member of the customer with
    the least (first_seen, hash): both follow from the set alone.
    """
    known = tuple(pairs)
    whole = _Forest(members)
    for pair in known:
        a, b = whole.find(pair.a), whole.find(pair.b)
        if a != b:
            whole.join(a, b)
    components = whole.blocks()
    contested = {block for block in components if not whole.within_limits(block)}
    customers = {block: [keys] for block, keys in components.items()}
    if contested:
        by_component: defaultdict[int, list[Pair]] = defaultdict(list)
        for pair in known:
            if (block := whole.find(pair.a)) in contested:
                by_component[block].append(pair)
        for block in contested:
            inside = {key: members[key] for key in components[block]}
            links = by_component[block] if len(inside) <= largest else []
            customers[block] = _oldest_links(inside, links)
    placements: dict[int, Placement] = {}
    for block, groups in customers.items():
        root = min(components[block], key=lambda key: members[key].hash)
        for group in groups:
            founder = min(group, key=lambda key: (members[key].first_seen, members[key].hash))
            placements.update(dict.fromkeys(group, Placement(root, founder)))
    return placements


def _oldest_links(members: Mapping[int, Member], pairs: Iterable[Pair]) -> list[list[int]]:
    forest = _Forest(members)
    for pair in sorted(pairs, key=lambda pair: _trust(members, pair)):
        a, b = forest.find(pair.a), forest.find(pair.b)
        if a != b and forest.within_limits(a, b):
            forest.join(a, b)
    return list(forest.blocks().values())
