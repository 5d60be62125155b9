"""The registry of topics: what each holds, who writes it, how it is keyed and kept.

AsyncAPI, JSON Schemas and the topic definitions of `deploy/` are generated from here.
`python -m cxloop_common.topics create` makes them on the broker of CXLOOP_KAFKA_BOOTSTRAP.
"""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter

from cxloop_common.events import (
    AlertRecord,
    CloudEvent,
    CustomerErased,
    JourneyChanged,
    MetricShifted,
    MetricSnapshot,
    ScoreLink,
    ScoreRecorded,
    SurveyResponded,
    SurveySent,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEscalated,
    TicketMerged,
    TicketReplied,
    TicketStatusChanged,
    TicketUpdated,
    TouchpointRecorded,
)

DAY_MS = 24 * 60 * 60 * 1000
LARGE_RECORD_BYTES = 4 * 1024 * 1024
"""Limit of topics that carry bodies as they came."""
DEAD_LETTER_BYTES = LARGE_RECORD_BYTES + 64 * 1024
"""A dead letter is the record as it came and the headers that say why: it must fit where the record did."""
RECORD_BYTES = 1024 * 1024 + 12
"""Kafka's own default of `max.message.bytes`."""
DEFAULT_PARTITIONS = 12
SERVICES = ("ingest", "scoring", "journey", "alerting")


@dataclass(frozen=True)
class Topic:
    """One topic: its name, what it holds and how long."""

    name: str
    summary: str
    written_by: tuple[str, ...]
    key: str
    events: tuple[type[CloudEvent], ...] = ()
    """Models of the values; empty where values are bytes as they came."""
    personal: bool = True
    """Personal topics forget after 30 days: that is the erasure promise."""
    compacted: bool = False
    max_record_bytes: int = RECORD_BYTES

    def config(self, retention_days: int = 30) -> dict[str, str]:
        """Topic settings. LogAppendTime: a record with an old event time would be deleted while it is read."""
        settings = {
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self.max_record_bytes),
        }
        if self.compacted:
            settings["cleanup.policy"] = "compact"
        else:
            settings["cleanup.policy"] = "delete"
            settings["retention.ms"] = str(retention_days * DAY_MS)
        return settings


TICKET_EVENTS: tuple[type[CloudEvent], ...] = (
    TicketCreated,
    TicketUpdated,
    TicketAssigned,
    TicketReplied,
    TicketStatusChanged,
    TicketEscalated,
    TicketMerged,
    TicketDeleted,
)

DELIVERIES = Topic(
    "cxloop.deliveries.v1",
    "What was accepted, as it came: the body's own bytes and the headers that matter, never authentication",
    ("ingest",),
    "delivery id",
    max_record_bytes=LARGE_RECORD_BYTES,
)
TICKETS = Topic("cxloop.tickets.v1", "What happened to tickets", ("ingest",), "document id", TICKET_EVENTS)
SURVEYS = Topic(
    "cxloop.surveys.v1",
    "Survey responses and sends",
    ("ingest",),
    "document id",
    (SurveyResponded, SurveySent),
)
TOUCHPOINTS = Topic(
    "cxloop.touchpoints.v1",
    "Any other contact of a customer",
    ("ingest",),
    "customer hint",
    (TouchpointRecorded,),
)
SCORES = Topic(
    "cxloop.scores.v1", "Scored responses, every revision", ("scoring",), "document id", (ScoreRecorded,)
)
SCORING_LINKS = Topic(
    "cxloop.scoring.links.v1",
    "Facts of merged tickets, on their way to the survivor",
    ("scoring",),
    "target document id",
    (ScoreLink,),
)
METRICS = Topic(
    "cxloop.metrics.v1",
    "Rolling snapshots of metrics, and shifts that are news",
    ("scoring",),
    "metric|dimension=value|window",
    (MetricSnapshot, MetricShifted),
    personal=False,
    compacted=True,
)
JOURNEYS = Topic(
    "cxloop.journeys.v1",
    "Customers: linked, merged, split, context cards",
    ("journey",),
    "customer id",
    (JourneyChanged,),
)
ALERTS = Topic("cxloop.alerts.v1", "Cases after every change", ("alerting",), "case id", (AlertRecord,))
ERASURES = Topic(
    "cxloop.erasures.v1",
    "Erase this person: every service obeys",
    ("ingest", "journey"),
    "customer hint",
    (CustomerErased,),
)
DEAD_LETTERS: dict[str, Topic] = {
    service: Topic(
        f"cxloop.{service}.dead-letters.v1",
        f"Records that {service} could not process, as they came, with the reason",
        (service,),
        "original key",
        max_record_bytes=DEAD_LETTER_BYTES,
    )
    for service in SERVICES
}

TOPICS: tuple[Topic, ...] = (
    DELIVERIES,
    TICKETS,
    SURVEYS,
    TOUCHPOINTS,
    SCORES,
    SCORING_LINKS,
    METRICS,
    JOURNEYS,
    ALERTS,
    ERASURES,
    *DEAD_LETTERS.values(),
)

ROUTE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
NORMALISED: dict[str, Topic] = {
    **{model.TYPE: TICKETS for model in TICKET_EVENTS},
    SurveyResponded.TYPE: SURVEYS,
    SurveySent.TYPE: SURVEYS,
    TouchpointRecorded.TYPE: TOUCHPOINTS,
    CustomerErased.TYPE: ERASURES,
}
"""The topic of each canonical event type."""

SCORE_EVENT: TypeAdapter[ScoreRecorded] = TypeAdapter(ScoreRecorded)
JOURNEY_EVENT: TypeAdapter[JourneyChanged] = TypeAdapter(JourneyChanged)
ALERT_EVENT: TypeAdapter[AlertRecord] = TypeAdapter(AlertRecord)
METRIC_EVENT: TypeAdapter[MetricSnapshot | MetricShifted] = TypeAdapter(
    Annotated[MetricSnapshot | MetricShifted, Field(discriminator="type")]
)


def route_topic(route: str) -> Topic:
    """Return the alert topic of a route. Raises ValueError for a name Kafka or people could not read."""
    if not ROUTE_NAME.fullmatch(route):
        message = "a route name has 1 to 63 lower-case letters, digits or dashes, and no dash in front"
        raise ValueError(message)
    return Topic(
        f"cxloop.alerts.{route}.v1", f"Cases of the route {route}", ("alerting",), "case id", (AlertRecord,)
    )


@dataclass(frozen=True)
class TopicNames:
    """Names on the broker under a prefix, so that tests and tenants can share a broker without meeting."""

    prefix: str = ""
    """Put before every topic and group name; empty in production."""

    def name(self, topic: Topic) -> str:
        """Return the topic's name on the broker."""
        return self.prefix + topic.name

    def group(self, service: str) -> str:
        """Return the consumer group of a service."""
        return f"{self.prefix}cxloop-{service}"
