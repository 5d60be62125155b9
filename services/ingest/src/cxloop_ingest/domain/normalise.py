"""The choice of adapter, and what becomes of a body that none can read."""

from collections.abc import Callable, Mapping
from typing import Final

from cxloop_ingest.domain.adapters import cloudevents, delighted, mapping, zendesk
from cxloop_ingest.domain.delivery import Delivery, Via
from cxloop_ingest.domain.drafts import ItemProblem, Normalised
from cxloop_ingest.domain.reading import Reason, UnreadableError
from cxloop_ingest.domain.sources import Sender, Source

ADAPTERS: Final[Mapping[Sender, Callable[[Delivery, Source], Normalised]]] = {
    Sender.ZENDESK: zendesk.normalise,
    Sender.DELIGHTED: delighted.normalise,
    Sender.STANDARD_WEBHOOKS: mapping.normalise,
    Sender.MAPPING: mapping.normalise,
    Sender.CLOUDEVENTS: cloudevents.normalise,
}


def normalise(delivery: Delivery, source: Source | None) -> Normalised:
    """Give the events of a delivery and the problems of what gave none; never raises for what a sender wrote.

    `source` is None where sources.yaml no longer names it; such a delivery waits in quarantine.
    """
    if delivery.via is not Via.EVENTS and source is None:
        detail = "sources.yaml does not name this source any more"
        return Normalised(problems=(ItemProblem(0, Reason.SOURCE_UNKNOWN, detail),))
    try:
        if delivery.via is Via.EVENTS or source is None:
            return cloudevents.normalise(delivery, source)
        return ADAPTERS[source.sender](delivery, source)
    except UnreadableError as error:
        return Normalised(problems=(ItemProblem(0, error.reason, error.detail),))
