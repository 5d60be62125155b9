"""Raw events to documents: which content of an event stands, in which order, under whose customer."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cxloop_common.events import (
    CanonicalEventBase,
    SurveyResponded,
    SurveySent,
    TicketCreated,
    TicketEvent,
    TicketMerged,
    TicketReplied,
    TouchpointRecorded,
    content_hash,
)
from cxloop_common.events.cloudevents import event_data
from cxloop_common.identifiers import best_ranked, document_id

from .rows import micros


class Fact(NamedTuple):
    """One event that stands; facts sort by time, then by event id."""

    at: int
    id: str
    event: CanonicalEventBase


class Message(NamedTuple):
    """Something that customer and agent both see on a ticket."""

    at: int
    id: str
    by_customer: bool


Documents = Mapping[str, Sequence[Fact]]


def documents(events: Iterable[CanonicalEventBase]) -> Documents:
    """Sort events into documents; of two contents under one id the least (time, content hash) stands."""
    # Touchpoints of two sources may share an id in the lifecycle of one person.
    said: dict[str, dict[tuple[str, str], list[tuple[int, str, CanonicalEventBase]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for event in events:
        document = document_of(event)
        if document is not None:
            content = (micros(event.time), content_hash(event_data(event)), event)
            said[document][event.id, event.source].append(content)
    found: dict[str, Sequence[Fact]] = {}
    for document, contents in said.items():
        least = {name: min(variants, key=lambda one: one[:2]) for name, variants in contents.items()}
        facts = [Fact(at, name, event) for (name, _), (at, _, event) in least.items()]
        found[document] = sorted(facts, key=lambda fact: (fact.at, fact.id, fact.event.source))
    return found


def document_of(event: CanonicalEventBase) -> str | None:
    """Name the document; lifecycles go by the identifier itself here, None for an anonymous touchpoint."""
    if isinstance(event, TicketEvent | SurveyResponded | SurveySent):
        return event.document
    if isinstance(event, TouchpointRecorded):
        hint = best_ranked(event.identifiers)
        return None if hint is None else f"lifecycle:{hint}"
    raise TypeError(event.TYPE)


def customer_of(facts: Iterable[Fact]) -> str | None:
    """Give the best-ranked identifier of the latest event that carries any."""
    hints = [hint for fact in facts if (hint := best_ranked(fact.event.identifiers)) is not None]
    return hints[-1] if hints else None


def survivors(document: str, facts: Iterable[Fact]) -> set[str]:
    """Give every ticket that this one was ever merged into; into itself means nothing."""
    into = {
        document_id("ticket", fact.event.source, fact.event.into_ticket_id)
        for fact in facts
        if isinstance(fact.event, TicketMerged)
    }
    return into - {document}


def messages(found: Documents) -> Mapping[str, Sequence[Message]]:
    """Give the messages of each ticket, with those of all tickets that were merged into it, however far away."""
    own = {
        document: set(_messages(facts)) for document, facts in found.items() if document.startswith("ticket:")
    }
    into = {document: survivors(document, found[document]) for document in own}
    all_: dict[str, set[Message]] = defaultdict(set)
    for document, said in own.items():
        reached, waiting = {document}, [document]
        while waiting:
            for target in into.get(waiting.pop(), set()) - reached:
                reached.add(target)
                waiting.append(target)
        for target in reached:
            all_[target] |= said
    return {document: sorted(said, key=lambda one: one[:2]) for document, said in all_.items()}


def _messages(facts: Iterable[Fact]) -> Iterator[Message]:
    for at, name, event in facts:
        if isinstance(event, TicketCreated) and event.created_by == "customer":
            yield Message(at, name, by_customer=True)
        if isinstance(event, TicketReplied) and event.public and event.author != "bot":
            yield Message(at, name, by_customer=event.author == "customer")
