"""From an adapter's drafts to canonical events: ids, identifiers, dimensions, and the checks all senders share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, cast

from cxloop_common.events import CANONICAL_EVENT, CanonicalEvent, EventDecodeError, SurveyResponded
from cxloop_common.events.cloudevents import validate_flat
from cxloop_common.identifiers import IdentifierClass, IdentifierError, derive_id
from cxloop_common.identifiers import normalise as normalise_identifier
from cxloop_ingest.domain.delivery import Delivery
from cxloop_ingest.domain.reading import Reason, UnreadableError, contains_nul, text
from cxloop_ingest.domain.sources import Source
from cxloop_ingest.domain.times import check_time

_LONGEST_DIMENSION: Final = 256


class Status(StrEnum):
    """What became of a delivery."""

    NORMALISED = "normalised"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class ItemProblem:
    """An item of a delivery that gave no event: its place in the delivery, and why."""

    index: int
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Normalised:
    """What a delivery holds: its good events beside its bad items."""

    events: tuple[CanonicalEvent, ...] = ()
    problems: tuple[ItemProblem, ...] = ()
    ignored: Reason | None = None
    """Why nothing came of a delivery that was understood."""

    @property
    def status(self) -> Status:
        """Quarantined with any bad item; ignored with neither events nor problems."""
        if self.problems:
            return Status.QUARANTINED
        return Status.NORMALISED if self.events else Status.IGNORED

    @property
    def reason(self) -> Reason | None:
        """The first problem's reason, or why it was ignored."""
        return self.problems[0].reason if self.problems else None if self.events else self.ignored


class IgnoredItem(Exception):  # noqa: N818  # not an error: the item was understood and is of no use
    """Raised by an adapter for an item that tells nothing of ours."""

    def __init__(self, reason: Reason = Reason.NOT_OURS) -> None:
        self.reason = reason
        super().__init__(reason.value)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event as its adapter reads it, before the checks.

    `object_id`, `kind`, `own_id` and `content` are what the event id is derived from: the thing it is about,
    which event of that thing, the sender's own id of the event from the signed bytes, and a content hash where
    that id is missing or can carry newer content. The delivery's id takes no part.
    """

    type: str
    object_id: str
    kind: str
    time: datetime
    data: Mapping[str, Any]
    own_id: str = ""
    content: str = ""
    identifiers: Sequence[str] = ()
    dimensions: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Gathered:
    """Events of one delivery, each once. One id with two contents is kept twice: readers settle that."""

    def __init__(self) -> None:
        self.all: list[CanonicalEvent] = []
        self._by_id: dict[str, list[CanonicalEvent]] = {}

    def add(self, event: CanonicalEvent) -> None:
        """Take an event unless an equal one is there."""
        known = self._by_id.setdefault(event.id, [])
        if event not in known:
            known.append(event)
            self.all.append(event)


Reader = Callable[[Any], Iterable["Draft | UnreadableError"]]
"""Reads one item; raises UnreadableError or IgnoredItem for the whole of it, or yields an error for a part."""


def collect(items: Iterable[Any], read: Reader, delivery: Delivery, source: Source | None) -> Normalised:
    """Read every item of a delivery; a bad item, or a bad part of one, never harms the others."""
    events = Gathered()
    problems: list[ItemProblem] = []
    ignored: Reason | None = None
    for index, item in enumerate(items):
        try:
            drafts = list(read(item))
        except UnreadableError as error:
            problems.append(ItemProblem(index, error.reason, error.detail))
            continue
        except IgnoredItem as nothing:
            ignored = ignored or nothing.reason
            continue
        for draft in drafts:
            if isinstance(draft, UnreadableError):
                problems.append(ItemProblem(index, draft.reason, draft.detail))
                continue
            try:
                events.add(build(draft, delivery, source))
            except UnreadableError as error:
                problems.append(ItemProblem(index, error.reason, error.detail))
    if not events.all and not problems and ignored is None:
        ignored = Reason.NOT_OURS
    return Normalised(tuple(events.all), tuple(problems), ignored)


def build(draft: Draft, delivery: Delivery, source: Source | None) -> CanonicalEvent:
    """Make the event of a draft. Raises UnreadableError."""
    check_time(draft.time, delivery.received_at)
    data = {name: value for name, value in draft.data.items() if value is not None}
    check_score(draft.type, data)
    region = source.phone_region if source is not None else None
    flat: dict[str, Any] = {
        **data,
        "id": derive_id(delivery.source, draft.object_id, draft.kind, draft.own_id, draft.content),
        "source": delivery.source,
        "type": draft.type,
        "time": draft.time,
        "identifiers": usable_identifiers(draft.identifiers, delivery.source, region),
    }
    if dimensions := clean_dimensions(draft.dimensions):
        flat["dimensions"] = dimensions
    return validated(flat)


def validated(flat: Mapping[str, Any]) -> CanonicalEvent:
    """Validate attributes and data together. Raises UnreadableError naming fields, never values."""
    try:
        event = validate_flat(CANONICAL_EVENT, flat)
    except EventDecodeError as error:
        raise UnreadableError(Reason.INVALID_EVENT, str(error)) from None
    if contains_nul(list(event.model_dump().values())):
        raise UnreadableError(Reason.NUL_CHARACTER, "a text of the event holds the character U+0000")
    return event


def check_score(kind: object, data: Mapping[str, Any]) -> None:
    """Raise UnreadableError for an answer whose score lies outside the scale that it names."""
    if kind != SurveyResponded.TYPE:
        return
    scale, score = data.get("scale"), data.get("score")
    if not isinstance(scale, dict) or isinstance(score, bool) or not isinstance(score, int | float):
        return  # the event's own validation says what is missing
    bounds = cast("dict[str, Any]", scale)
    least, most = bounds.get("min"), bounds.get("max")
    if isinstance(least, int | float) and isinstance(most, int | float) and not least <= score <= most:
        raise UnreadableError(
            Reason.SCORE_OUT_OF_SCALE, f"the score lies outside its scale of {least:g} to {most:g}"
        )


def usable_identifiers(candidates: Iterable[str], source: str, region: str | None) -> tuple[str, ...]:
    """Normalise identifiers and leave out what names nobody: placeholders, no-reply mailboxes, broken ones.

    Sorted, so that the order in which a sender lists them does not make another event.
    """
    found: set[str] = set()
    for candidate in candidates:
        try:
            identifier = normalise_identifier(candidate, source, region=region)
        except IdentifierError:
            continue
        if identifier.class_ is not IdentifierClass.BLOCKED:
            found.add(str(identifier))
    return tuple(sorted(found))


def clean_dimensions(values: Mapping[str, Any]) -> dict[str, str]:
    """Give dimensions as texts; empty values are no dimension, and long ones are cut off."""
    cleaned: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, bool):
            cleaned[name] = "true" if value else "false"
        elif isinstance(value, int | float):
            cleaned[name] = f"{value:g}" if isinstance(value, float) else str(value)
        elif (written := text(value)) is not None:
            cleaned[name] = written[:_LONGEST_DIMENSION]
    return cleaned


def evaluated_dimensions(source: Source, document: Any) -> dict[str, Any]:
    """Evaluate the source's declared dimensions on a body."""
    return {name: expression.evaluate(document) for name, expression in source.dimensions.items()}
