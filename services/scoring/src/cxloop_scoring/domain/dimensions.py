"""Dimensions: the names by which observations are told apart, and the values as they are stored."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final, NamedTuple, cast

LONGEST_VALUE: Final = 128
"""Bytes of a value (and of a declared name) that are kept; the rest is cut off at a character."""

OTHER: Final = "__other__"
"""Key of the group that is formed when answering, of all but the largest groups."""


class DimensionNumber(IntEnum):
    """Built-in dimensions as the buckets name them; declared ones get numbers from 100 on."""

    TOTAL = 0
    SOURCE = 1
    CHANNEL = 2
    CONTACT_TYPE = 3
    TEAM = 4
    AGENT = 5
    TOUCHPOINT = 6
    STAGE = 7
    SEGMENT = 8
    PRODUCT = 9
    LOCATION = 10
    SURVEY = 11
    TAG = 12


FIRST_DECLARED: Final = 100

COLUMNS: Final[tuple[str, ...]] = (
    "source",
    "channel",
    "contact_type",
    "team",
    "agent",
    "touchpoint",
    "stage",
    "segment",
    "product",
    "location",
    "survey",
)
"""Built-in dimensions with one value an observation; each is a column of the ledger, in this order."""

TAG: Final = "tag"
"""The built-in dimension with any number of values."""

BUILT_IN: Final[Mapping[str, int]] = {name: number for number, name in enumerate((*COLUMNS, TAG), start=1)}
"""Numbers of the built-in dimensions by name."""

_PLACES: Final = {name: place for place, name in enumerate(COLUMNS)}


class Dimensions(NamedTuple):
    """What one observation is filed under; None where nothing is known.

    `more` holds tags and declared dimensions as sorted pairs of name and value.
    """

    source: str | None = None
    channel: str | None = None
    contact_type: str | None = None
    team: str | None = None
    agent: str | None = None
    touchpoint: str | None = None
    stage: str | None = None
    segment: str | None = None
    product: str | None = None
    location: str | None = None
    survey: str | None = None
    more: tuple[tuple[str, str], ...] = ()

    @property
    def columns(self) -> tuple[str | None, ...]:
        """Give the single-valued built-in dimensions, in the order of `COLUMNS`."""
        return cast("tuple[str | None, ...]", self[:-1])

    def pairs(self) -> Iterable[tuple[str, str]]:
        """Iterate over name and value of everything that is known."""
        for name, value in zip(COLUMNS, self.columns, strict=True):
            if value is not None:
                yield name, value
        yield from self.more

    def with_declared(self, name: str, value: str) -> "Dimensions":
        """File under one declared dimension more; what was said under its name gives way."""
        others = [pair for pair in self.more if pair[0] != name]
        return self._replace(more=tuple(sorted([*others, (name, value)])))

    def named(self) -> dict[str, str]:
        """Render as a mapping; tags are left out, for they have no single value."""
        named = {name: value for name, value in zip(COLUMNS, self, strict=False) if value is not None}
        if self.more:
            named.update([pair for pair in self.more if pair[0] != TAG])
        return cast("dict[str, str]", named)


def storable(text: str) -> str:
    """Bring a name or value into the form that is stored: 128 bytes at most, no NUL (PostgreSQL has none)."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if len(text) * 4 > LONGEST_VALUE and len(encoded := text.encode()) > LONGEST_VALUE:
        text = encoded[:LONGEST_VALUE].decode(errors="ignore")
    return text


def filed_under(source: str, said: Mapping[str, str | None], tags: Iterable[str] = ()) -> Dimensions:
    """File an observation under all that was said of its document; None and the empty text mean unknown."""
    values: list[str | None] = [None] * len(COLUMNS)
    more: set[tuple[str, str]] = set()
    for name, value in said.items():
        if value:
            place = _PLACES.get(name)
            if place is None:
                more.add((name, value))
            else:
                values[place] = value
    values[0] = source
    for tag in tags:
        if tag:
            more.add((TAG, tag))
    return Dimensions._make([*values, tuple(sorted(more)) if more else ()])
