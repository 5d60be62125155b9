"""What every event has: the CloudEvents attributes, and a content hash that decides between contradictions."""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

ATTRIBUTES = frozenset({"id", "source", "type", "time", "subject"})
"""Fields that travel as CloudEvents attributes; all others are the event's `data`."""


def rfc3339(at: datetime) -> str:
    """Render an aware time in UTC with a `Z`, microseconds only where there are any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


UtcTime = Annotated[
    AwareDatetime,
    AfterValidator(lambda at: at.astimezone(UTC)),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
]
"""An instant: RFC 3339 with a zone on the wire, UTC in memory, at microsecond precision."""


class CloudEvent(BaseModel):
    """A CloudEvent, flat: its attributes and its data fields side by side.

    `type` is declared by each concrete class as a Literal. Unknown fields are ignored, so that a reader
    survives a writer that knows more.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")

    TYPE: ClassVar[str]

    id: str = Field(min_length=1, max_length=256)
    source: str = Field(min_length=1, max_length=128)
    time: UtcTime

    @property
    def key(self) -> str:
        """The Kafka key: events of one key keep their order and meet the same worker."""
        raise NotImplementedError

    @property
    def subject(self) -> str | None:
        """What the event is about: a document id, a case id or a customer id."""
        return self.key


def content_hash(data: bytes) -> str:
    """Hash an event's encoded data (32 hex digits).

    Two events with one id and different content are settled by the least (time, content hash), everywhere.
    """
    return blake2b(data, digest_size=16).hexdigest()
