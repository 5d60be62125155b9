"""Documents: the pure function from facts to observations, and what a merged ticket passes on."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, Protocol, TypeAlias
from urllib.parse import quote, unquote

from cxloop_common.identifiers import document_id
from cxloop_scoring.domain.cases import CASE, FoldedCase, case_observations, fold_case
from cxloop_scoring.domain.clocks import ClockAnomaly
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
from cxloop_scoring.domain.lifecycle import LIFECYCLE, Lifecycle, fold_lifecycle, lifecycle_observations
from cxloop_scoring.domain.observations import Observation
from cxloop_scoring.domain.responses import (
    RESPONSE,
    SEND,
    Response,
    Send,
    fold_survey,
    response_observations,
    send_observations,
)
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.tickets import Ticket, fold_ticket, ticket_observations

__all__ = [
    "RESPONSE",
    "TICKET",
    "Folded",
    "anomalies",
    "contributions",
    "document_of",
    "fold",
    "linked",
    "observations",
    "source_of",
    "survivors",
    "times_of_their_own",
]

TICKET: Final = "ticket:"


@lru_cache(maxsize=4096)
def _encoded_source(source: str) -> str:
    return quote(source, safe="", errors="surrogatepass")


def document_of(kind: str, source: str, object_id: str) -> str:
    """Give a document id, as `document_id` does, for `ticket`, `response` and `send`, at less cost.

    Most ids are letters and digits with a hyphen or an underscore here and there, which percent-encoding leaves
    alone.
    """
    if object_id.isascii() and object_id.replace("_", "").replace("-", "").isalnum():
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


Folded: TypeAlias = Ticket | Response | Send | Lifecycle | FoldedCase
"""What a document amounts to."""


def _ticket(document: str, facts: Facts) -> Ticket | None:
    return fold_ticket(source_of(document), document, facts)


def _survey(document: str, facts: Facts) -> Response | Send | None:
    return fold_survey(document, source_of(document), facts)


def _lifecycle(_: str, facts: Facts) -> Lifecycle | None:
    return fold_lifecycle(facts)


def _case(_: str, facts: Facts) -> FoldedCase | None:
    return fold_case(facts)


_FOLDS: Final[Mapping[str, Callable[[str, Facts], Folded | None]]] = {
    TICKET: _ticket,
    RESPONSE: _survey,
    SEND: _survey,
    LIFECYCLE: _lifecycle,
    CASE: _case,
}
"""How a document is folded, by what its id begins with."""


def fold(document: str, facts: Facts) -> Folded | None:
    """Fold a document: a function of its facts alone; None where it counts for nothing yet, or no more.

    Raises KeyError for an id of no kind of document.
    """
    return _FOLDS[document[: document.find(":") + 1]](document, facts)


def observations(folded: Folded | None, rules: Rules) -> list[Observation]:
    """Give all observations of a folded document, by the rules of an installation."""
    if folded is None:
        return []
    if isinstance(folded, Ticket):
        return ticket_observations(folded, rules)
    if isinstance(folded, Response):
        return response_observations(folded)
    if isinstance(folded, Send):
        return send_observations(folded)
    if isinstance(folded, Lifecycle):
        return lifecycle_observations(folded, rules)
    return case_observations(folded)


def contributions(document: str, facts: Facts, rules: Rules) -> list[Observation]:
    """Give all observations of a document: a function of its facts and the rules alone."""
    return observations(fold(document, facts), rules)


def anomalies(folded: Folded | None) -> tuple[ClockAnomaly, ...]:
    """Name what contradicts itself in the times of a document."""
    return folded.anomalies if isinstance(folded, Ticket | Response) else ()


class Timed(Protocol):
    """What has a time, in microseconds since 1970."""

    @property
    def at(self) -> int:
        """When it counts."""
        ...


def times_of_their_own(facts: Facts, found: Iterable[Timed]) -> tuple[int, ...]:
    """Give the times of observations that no fact of their document has, sorted: a target that is due, alone."""
    return tuple(sorted({one.at for one in found} - {fact.at for fact in facts.values()}))


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
