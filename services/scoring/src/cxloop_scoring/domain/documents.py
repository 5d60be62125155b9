"""Documents: the pure function from facts to observations, and what a merged ticket passes on."""

from functools import lru_cache
from typing import Final, TypeAlias
from urllib.parse import quote, unquote

from cxloop_common.identifiers import document_id
from cxloop_scoring.domain.facts import (
    AGENT,
    CUSTOMER,
    NOBODY,
    Created,
    Fact,
    Facts,
    Linked,
    Merged,
    Replied,
    Tombstone,
)
from cxloop_scoring.domain.observations import Observation
from cxloop_scoring.domain.responses import Response, fold_response, response_observations
from cxloop_scoring.domain.tickets import Ticket, fold_ticket, ticket_observations

TICKET: Final = "ticket:"
RESPONSE: Final = "response:"


@lru_cache(maxsize=4096)
def _encoded_source(source: str) -> str:
    return quote(source, safe="", errors="surrogatepass")


def document_of(kind: str, source: str, object_id: str) -> str:
    """Give a document id, as `document_id` does, for `ticket`, `response` and `send`, at less cost.

    Most ids are letters and digits, which percent-encoding leaves alone.
    """
    if object_id.isascii() and object_id.isalnum():
        return f"{kind}:{_encoded_source(source)}:{object_id}"
    if kind == "send":
        return f"send:{_encoded_source(source)}:{quote(object_id, safe='', errors='surrogatepass')}"
    return document_id(kind, source, object_id)


@lru_cache(maxsize=4096)
def _decoded_source(encoded: str) -> str:
    return unquote(encoded, errors="surrogatepass")


def source_of(document: str) -> str:
    """Give the source that a document id names."""
    return _decoded_source(document.split(":", 2)[1])


Folded: TypeAlias = Ticket | Response
"""What a document amounts to."""


def fold(document: str, facts: Facts) -> Folded | None:
    """Fold a document: a function of its facts alone; None where it counts for nothing yet, or no more."""
    if document.startswith(TICKET):
        return fold_ticket(source_of(document), document, facts)
    return fold_response(source_of(document), facts)


def observations(folded: Folded | None) -> list[Observation]:
    """Give all observations of a folded document."""
    if folded is None:
        return []
    return ticket_observations(folded) if isinstance(folded, Ticket) else response_observations(folded)


def contributions(document: str, facts: Facts) -> list[Observation]:
    """Give all observations of a document: a function of its facts alone."""
    return observations(fold(document, facts))


def survivors(document: str, facts: Facts) -> set[str]:
    """Give the documents that a ticket was merged into: all that were ever named."""
    if not document.startswith(TICKET):
        return set()
    return {fact.into for fact in facts.values() if isinstance(fact, Merged) and fact.into != document}


def linked(fact: Fact) -> Linked | Tombstone:
    """Turn a fact into what it means for the survivor: a customer's or an agent's public message, or nothing.

    Meaningless facts travel too: one of them may be the content that wins over another under its event id.
    """
    if isinstance(fact, Linked | Tombstone):
        return fact
    author = NOBODY
    if isinstance(fact, Created) and fact.by == CUSTOMER:
        author = CUSTOMER
    elif isinstance(fact, Replied) and fact.public and fact.author in (CUSTOMER, AGENT):
        author = fact.author
    return Linked(fact.at, fact.digest, author)
