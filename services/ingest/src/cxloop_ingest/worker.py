"""The normaliser: deliveries in, canonical events and outcomes out, one batch at a time."""

from collections.abc import Callable, Mapping

from cxloop_common.events import encode_event
from cxloop_common.kafka.records import Message
from cxloop_common.processor import Batch, PoisonError, PoisonReason, Transaction
from cxloop_common.telemetry import Telemetry
from cxloop_common.topics import NORMALISED, TopicNames
from cxloop_ingest.domain.delivery import DeliveryDecodeError, from_record
from cxloop_ingest.domain.normalise import normalise
from cxloop_ingest.domain.outcome import Outcome, merged, outcome_of
from cxloop_ingest.domain.sources import Source
from cxloop_ingest.store import write_outcomes


class Normaliser:
    """The only writer of canonical topics.

    Events are published before COMMIT: they follow from the delivery's bytes alone, so that a second try can
    only repeat them. What an adapter cannot read is an outcome, not an error; dead letters hold only records
    that intake never wrote.
    """

    def __init__(
        self, names: TopicNames, sources: Callable[[], Mapping[str, Source]], telemetry: Telemetry
    ) -> None:
        self._topics = {kind: names.name(topic) for kind, topic in NORMALISED.items()}
        self._sources = sources
        self._telemetry = telemetry

    async def handle(self, batch: Batch, transaction: Transaction) -> None:
        """Normalise a batch; see `cxloop_common.processor.Handler`."""
        sources = self._sources()
        outcomes: dict[str, Outcome] = {}
        messages: list[Message] = []
        for record in batch:
            try:
                delivery = from_record(record.headers, record.value)
            except DeliveryDecodeError as error:
                batch.park(record, PoisonError(PoisonReason.UNREADABLE, str(error), record))
                continue
            result = normalise(delivery, sources.get(delivery.source))
            trace = record.headers.get("traceparent")
            for event in result.events:
                key, value, headers = encode_event(event, trace.decode("latin-1") if trace else None)
                messages.append(Message(self._topics[event.TYPE], key, value, tuple(headers)))
            outcome = outcome_of(delivery, result)
            known = outcomes.get(delivery.id)
            outcomes[delivery.id] = outcome if known is None else merged(known, outcome)
            self._telemetry.count("normalise", result.reason or result.status)
        transaction.publish(messages)
        await write_outcomes(transaction.connection, list(outcomes.values()))
