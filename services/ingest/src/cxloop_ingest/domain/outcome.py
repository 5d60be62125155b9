"""The outcome of a delivery, and which of two outcomes counts, whatever their order and number."""

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import msgspec

from cxloop_ingest.domain.delivery import Delivery
from cxloop_ingest.domain.drafts import ItemProblem, Normalised, Status

_STANDING: Final = {Status.QUARANTINED: 0, Status.IGNORED: 1, Status.NORMALISED: 2}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What normalising a delivery gave, over all records of it that were merged."""

    delivery: Delivery
    """As in the record that counts, but with the least received_at of all."""
    status: Status
    reason: str | None
    detail: str | None
    items: tuple[ItemProblem, ...]
    event_ids: tuple[str, ...]

    @property
    def precedence(self) -> tuple[int, int, str]:
        """The order in which outcomes win: the highest attempt; then success, then the content's hash.

        Records of one attempt differ only where a sender posted again and code or configuration changed in
        between. Success wins there, because its events are published and nothing is left to mend.
        """
        return self.delivery.attempt, _STANDING[self.status], self.tie

    @property
    def tie(self) -> str:
        """Separate outcomes of equal attempt and standing (32 hex digits)."""
        content = (
            [(item.index, item.reason.value) for item in self.items],
            self.event_ids,
            self.detail,
            self.delivery.content_type,
            sorted(self.delivery.headers.items()),
        )
        return blake2b(msgspec.json.encode(content), digest_size=16).hexdigest()


def outcome_of(delivery: Delivery, result: Normalised) -> Outcome:
    """Describe what a record gave."""
    return Outcome(
        delivery=delivery,
        status=result.status,
        reason=result.reason.value if result.reason is not None else None,
        detail=result.problems[0].detail if result.problems else None,
        items=result.problems,
        event_ids=tuple(dict.fromkeys(event.id for event in result.events)),
    )


def merged(one: Outcome, other: Outcome) -> Outcome:
    """Give the outcome of both records of one delivery."""
    winner = max(one, other, key=lambda outcome: outcome.precedence)
    first = min(one.delivery.received_at, other.delivery.received_at)
    if winner.delivery.received_at == first:
        return winner
    return replace(winner, delivery=replace(winner.delivery, received_at=first))
