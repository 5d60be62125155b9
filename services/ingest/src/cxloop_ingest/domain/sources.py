"""A configured source: who sends, how that is proven, and how its bodies are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum
from typing import Final, Literal

from cxloop_ingest.domain.expressions import Expression
from cxloop_ingest.domain.signatures import Credentials, Scheme
from cxloop_ingest.domain.times import Unit


class Sender(StrEnum):
    """Which adapter reads a source's bodies."""

    ZENDESK = "zendesk"
    DELIGHTED = "delighted"
    STANDARD_WEBHOOKS = "standardwebhooks"
    """Any sender that signs as Standard Webhooks; its bodies are read by the source's mapping."""
    MAPPING = "mapping"
    """Any other sender; verify must be stated."""
    CLOUDEVENTS = "cloudevents"
    """Canonical CloudEvents, in any of the three modes; verify must be stated."""


DEFAULT_SCHEME: Final[Mapping[Sender, Scheme]] = {
    Sender.ZENDESK: Scheme.ZENDESK,
    Sender.DELIGHTED: Scheme.DELIGHTED,
    Sender.STANDARD_WEBHOOKS: Scheme.STANDARD_WEBHOOKS,
}
"""How a sender signs unless the source says otherwise; senders not listed have no signature of their own."""


@dataclass(frozen=True, slots=True)
class ScaleDefault:
    """The bounds of a metric's scores where the sender does not send them."""

    min: float
    max: float
    polarity: Literal["higher_is_better", "lower_is_better"] = "higher_is_better"
    good: tuple[float, ...] | None = None

    def as_data(self) -> dict[str, object]:
        """Give the scale as the field of an event."""
        scale: dict[str, object] = {"min": self.min, "max": self.max, "polarity": self.polarity}
        if self.good is not None:
            scale["good"] = self.good
        return scale


@dataclass(frozen=True, slots=True)
class TicketLink:
    """Where a survey response names the ticket it is about, and which source that ticket belongs to."""

    id: Expression
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a mapping: which items make an event, and of what."""

    name: str
    type: str
    when: Expression | None = None
    each: Expression | None = None
    """Gives a list; every element is an item of its own."""
    ignore: bool = False
    """Items that match are known and of no use."""
    id: Expression | None = None
    """The sender's own id of the event, from the body; without it the item's content is the id."""
    time: Expression | None = None
    time_unit: Unit | None = None
    identifiers: tuple[tuple[str, Expression], ...] = ()
    """Scheme and value; `requester` and other bare kinds are qualified with the source's name."""
    data: Mapping[str, Expression] = field(default_factory=dict[str, Expression])
    """Fields of the event; a dot in a name makes an object (`scale.min`)."""
    dimensions: Mapping[str, Expression] = field(default_factory=dict[str, Expression])


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of a source; every rule that matches makes events."""

    rules: tuple[Rule, ...] = ()
    unmatched: Literal["quarantine", "ignore"] = "quarantine"


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of sources.yaml, its secrets read."""

    name: str
    sender: Sender
    credentials: Credentials
    allow_test: bool = False
    """Whether test sends signed with Zendesk's published secret are answered 200; they are stored nowhere."""
    time_zone: tzinfo | None = None
    """Zone of times that carry none."""
    phone_region: str | None = None
    """ISO 3166 country of phone numbers without a country code."""
    scales: Mapping[str, ScaleDefault] = field(default_factory=dict[str, ScaleDefault])
    survey_id: str | None = None
    touchpoint: str | None = None
    channel: str | None = None
    ticket: TicketLink | None = None
    dimensions: Mapping[str, Expression] = field(default_factory=dict[str, Expression])
    headers: frozenset[str] = frozenset()
    """Further request headers to keep, lower case."""
    mapping: RuleSet = RuleSet()
