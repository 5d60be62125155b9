"""Lifecycles: whether a customer is active or has left, and what their touchpoints were worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cxloop_scoring.domain.dimensions import filed_under
from cxloop_scoring.domain.facts import Facts, Touched
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Observation, customer_of

LIFECYCLE: Final = "lifecycle:"
LEFT, ACTIVE = 0, 1
"""States of a customer; values of the ledger."""

_LIFECYCLE: Final = int(MetricNumber.LIFECYCLE)
_VALUE: Final = int(MetricNumber.CUSTOMER_VALUE)
_HASH_BITS: Final = 64


class Words(Protocol):
    """What an installation reads out of the names of touchpoints: lower-case beginnings."""

    @property
    def active_words(self) -> Sequence[str]:
        """Beginnings that show an active customer."""
        ...

    @property
    def left_words(self) -> Sequence[str]:
        """Beginnings that show a customer who left."""
        ...


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A folded lifecycle: touchpoints in order of time, ties settled by event id.

    Whether one shows an active customer is a matter of configuration, and so decided when it is observed.
    """

    touchpoints: tuple[Touched, ...]


def lifecycle_document(customer: int) -> str:
    """Give the id of the document that holds the touchpoints of an identifier, by its hash."""
    return f"{LIFECYCLE}{customer % (1 << _HASH_BITS):016x}"


def fold_lifecycle(facts: Facts) -> Lifecycle | None:
    """Fold the touchpoints of one identifier; None where there are none."""
    ordered = sorted((fact.at, key, fact) for key, fact in facts.items() if isinstance(fact, Touched))
    return Lifecycle(tuple(fact for _, _, fact in ordered)) if ordered else None


def state_shown(touchpoint: str, words: Words) -> int | None:
    """Say whether a touchpoint shows an active customer or one who left; None where it says nothing."""
    name = touchpoint.casefold()
    if name.startswith(tuple(words.active_words)):
        return ACTIVE
    return LEFT if name.startswith(tuple(words.left_words)) else None


def lifecycle_observations(lifecycle: Lifecycle, words: Words) -> list[Observation]:
    """Give each change of state, at the touchpoint that shows it, and each amount with its currency.

    What is true at no time is no state: of several changes at one moment only the last is told, and none where
    they come back to what was before. So the changes of an identifier are ordered by their times alone.
    """
    found: list[Observation] = []
    state: int | None = None
    changes: list[tuple[int, Touched]] = []
    before: int | None = None
    for fact in lifecycle.touchpoints:
        if fact.amount is not None:
            said = {**fact.said, "currency": fact.currency}
            found.append(_observed(_VALUE, fact.amount, fact, said))
        shown = state_shown(fact.touchpoint, words)
        if shown is None or shown == state:
            continue
        if changes and changes[-1][1].at == fact.at:
            changes.pop()
        else:
            before = state
        state = shown
        if shown != before:
            changes.append((shown, fact))
    return found + [_observed(_LIFECYCLE, shown, fact, fact.said) for shown, fact in changes]


def _observed(metric: int, value: int, fact: Touched, said: Mapping[str, str | None]) -> Observation:
    customer = customer_of(fact.identifiers).hash
    return Observation(metric, value, None, fact.at, customer, filed_under(fact.source, said))
