"""The parts of a service's foundation that shared code works with."""

from typing import Protocol

from cxloop_common.database import Database
from cxloop_common.kafka.producer import Producer
from cxloop_common.settings import ServiceSettings
from cxloop_common.telemetry import Telemetry
from cxloop_common.topics import TopicNames


class Context(Protocol):
    """What a Processor and the control calls need; a service's `Foundation` is one."""

    @property
    def service(self) -> str:
        """The service's name."""
        ...

    @property
    def settings(self) -> ServiceSettings:
        """Its settings."""
        ...

    @property
    def database(self) -> Database:
        """Its schema."""
        ...

    @property
    def producer(self) -> Producer:
        """Its way to Kafka."""
        ...

    @property
    def names(self) -> TopicNames:
        """Names of topics and groups on the broker."""
        ...

    @property
    def telemetry(self) -> Telemetry:
        """Its metrics."""
        ...
