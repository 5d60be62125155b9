"""The second worker: journey's records to the customers of identifiers."""

from collections.abc import Callable
from datetime import datetime

from cxloop_common.events import EventDecodeError, decode_event
from cxloop_common.processor import Batch, PoisonError, PoisonReason, Transaction
from cxloop_common.topics import JOURNEY_EVENT
from cxloop_scoring.domain.customers import Ownership, least_of_each_version, ownerships
from cxloop_scoring.store.identities import remember_owners


class IdentityHandler:
    """Keeps the highest version of each identifier.

    It books nothing: metrics that meet a customer's documents join identifiers when they are asked, so a merge
    restates them at once and touches no ledger row.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    async def handle(self, batch: Batch, transaction: Transaction) -> None:
        """Write what a batch says of identifiers, in its transaction."""
        said: list[Ownership] = []
        for record in batch:
            try:
                said += ownerships(decode_event(JOURNEY_EVENT, record.headers, record.value))
            except EventDecodeError as error:
                batch.park(record, PoisonError(PoisonReason.UNREADABLE, str(error), record))
        await remember_owners(transaction.connection, least_of_each_version(said), self._now())
