"""The whole product on this machine, and survey webhooks to drive it with."""

import json
import secrets
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import load
from bench.processes import BenchError
from cxloop_cli.stack import Stack
from cxloop_embedded import EmbeddedKafka, EmbeddedPostgres
from cxloop_ingest.domain.signatures import Credentials, Scheme, key_of, sign

SOURCES_YAML = """\
sources:
  surveys:
    sender: delighted
    verify:
      secrets: [{env: CXLOOP_SECRET_BENCH}]
"""
PATH = "/webhooks/surveys"
ONE_LOW_IN = 5
"""Every so many answers are low, and open a case each: a busy day, not a disaster."""


@dataclass(frozen=True)
class Whole:
    """Kafka, PostgreSQL and the four services, started."""

    stack: Stack
    kafka: EmbeddedKafka
    postgres: EmbeddedPostgres
    secret: str

    def messages(self, first: int, count: int) -> list[bytes]:
        """Make signed survey webhooks numbered from `first`, each of a customer of its own."""
        credentials = Credentials(Scheme.DELIGHTED, (key_of(Scheme.DELIGHTED, self.secret),))
        now = datetime.now(UTC)
        messages: list[bytes] = []
        for number in range(first, first + count):
            body = json.dumps(
                {
                    "event_type": "survey_response.created",
                    "event_id": f"event-{number}",
                    "event_data": {
                        "id": response_id(number),
                        "survey_type": "nps",
                        "score": 2 if is_low(number) else 9,
                        "comment": "The agent was helpful, but it took long to get there.",
                        "created_at": int(now.timestamp()),
                        "updated_at": int(now.timestamp()),
                        "person": {"id": f"p{number}", "email": f"person{number}@example.com"},
                        "person_properties": {"team": f"team-{number % 8}", "segment": "smb"},
                    },
                }
            ).encode()
            headers = {"Content-Type": "application/json", **sign(credentials, body, now)}
            messages.append(load.request(PATH, headers, body))
        return messages


def response_id(number: int) -> str:
    """Give the sender's id of a response."""
    return f"bench-{number}"


def is_low(number: int) -> bool:
    """Whether a response opens a case."""
    return number % ONE_LOW_IN == 0


@contextmanager
def whole() -> Generator[Whole]:
    """Start everything in a temporary folder, and end and delete it afterwards. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="cxloop-bench-") as name:
        folder = Path(name)
        # PostgreSQL runs as another user where we are root, and has to pass through.
        folder.chmod(0o711)
        sources = folder / "sources.yaml"
        sources.write_text(SOURCES_YAML, encoding="utf-8")
        secret = secrets.token_hex(16)
        env = {
            "CXLOOP_INGEST_SOURCES_FILE": str(sources),
            "CXLOOP_SECRET_BENCH": secret,
            "CXLOOP_LOG_LEVEL": "warning",
        }
        with Stack(folder / "data", env=env) as stack:
            if stack.kafka is None or stack.postgres is None:
                raise BenchError("the stack has no Kafka and PostgreSQL of its own")
            yield Whole(stack, stack.kafka, stack.postgres, secret)
