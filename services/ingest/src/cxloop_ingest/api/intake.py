"""`POST /webhooks/{source}`: verified, durable, answered. The hottest path of the system, so plain ASGI.

It touches no database, parses no JSON and writes no log line; what it decides is counted.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response

from cxloop_common.http import Problem
from cxloop_common.kafka.records import Message
from cxloop_common.telemetry import Telemetry, traceparent
from cxloop_ingest.api.deadlines import Deadlines
from cxloop_ingest.api.delivery_log import DeliveryLog
from cxloop_ingest.api.receive import check_content_type, read_body
from cxloop_ingest.domain.delivery import HTTP_PREFIX, KEPT_HEADERS, attributes, delivery_id
from cxloop_ingest.domain.signatures import EXPLANATIONS, Verdict, signed_id, verify
from cxloop_ingest.domain.sources import Source

_KEPT: Final = frozenset(name.encode() for name in KEPT_HEADERS)
_ACCEPTED_HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", b"50")]
_TEST_BODY: Final = b'{"test":true}'

OPERATION: Final[dict[str, Any]] = {
    "summary": "Take a webhook of a configured source",
    "description": "Authenticated by the sender's own signature. The same delivery posted again is accepted "
    "again, with the same id, and changes nothing downstream.",
    "tags": ["intake"],
    "parameters": [
        {
            "name": "source",
            "in": "path",
            "required": True,
            "description": "The source's name in sources.yaml",
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
    "responses": {
        "202": {
            "description": "Durable",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["delivery_id"],
                        "properties": {"delivery_id": {"type": "string"}},
                    }
                }
            },
        },
        "200": {"description": "A test send; stored nowhere"},
    },
}


class _Accepted(Response):
    """The 202, without the work that Response does for answers it knows nothing of."""

    def __init__(self, identity: str) -> None:
        self.status_code = 202
        self.background = None
        self.body = b'{"delivery_id":"' + identity.encode() + b'"}'
        self.raw_headers = list(_ACCEPTED_HEADERS)


class Intake:
    """The hot route."""

    def __init__(
        self,
        *,
        sources: Callable[[], Mapping[str, Source]],
        log: DeliveryLog,
        topic: str,
        now: Callable[[], datetime],
        telemetry: Telemetry,
        limit: int,
        deadline_s: float,
    ) -> None:
        self._sources = sources
        self._log = log
        self._topic = topic
        self._now = now
        self._limit = limit
        self._deadlines = Deadlines(deadline_s)
        self._deliveries = Counter(
            "cxloop_deliveries",
            "Webhooks by source and by what became of them at the door",
            ["source", "outcome"],
            registry=telemetry.registry,
        )
        self._counters: dict[tuple[str, str], Any] = {}

    async def webhook(self, request: Request) -> Response:
        """Answer one webhook. Raises Problem."""
        scope = request.scope
        source = self._sources().get(scope["path_params"]["source"])
        if source is None:
            self._count("(unknown)", "unknown_source")
            raise Problem(404, detail="No source of this name is configured.")
        try:
            return await self._take(source, request, dict(scope["headers"]))
        except Problem as problem:
            self._count(source.name, str(problem.status))
            raise

    async def _take(self, source: Source, request: Request, headers: dict[bytes, bytes]) -> Response:
        check_content_type(headers)
        body, wire = await read_body(request.receive, headers, limit=self._limit, deadlines=self._deadlines)
        received_at = self._now()
        verdict = verify(
            source.credentials, headers, body, received_at.timestamp(), allow_test=source.allow_test
        )
        if verdict is Verdict.MISMATCH and wire is not body:
            # Whether a sender signs before or after it compresses is not written anywhere.
            verdict = verify(source.credentials, headers, wire, received_at.timestamp())
        if verdict is Verdict.TEST:
            self._count(source.name, "test")
            return Response(_TEST_BODY, 200, media_type="application/json")
        if verdict is not Verdict.VALID:
            raise Problem(401, detail=EXPLANATIONS[verdict])
        identity = delivery_id(source.name, body, signed_id(source.credentials.scheme, headers))
        await self._log.append(
            Message(
                self._topic,
                identity.encode(),
                body,
                self._record_headers(identity, source, received_at, headers),
            )
        )
        self._count(source.name, "accepted")
        return _Accepted(identity)

    def _record_headers(
        self, identity: str, source: Source, received_at: datetime, headers: Mapping[bytes, bytes]
    ) -> tuple[tuple[str, bytes], ...]:
        written = received_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        record = attributes(identity, source.name, written, headers.get(b"content-type", b""))
        trace = traceparent.get()
        if trace is not None:
            record += (("traceparent", trace.encode()),)
        kept = headers.keys() & _KEPT
        if source.headers:
            kept |= {name for name in headers if name.decode("latin-1") in source.headers}
        if kept:
            record += tuple((HTTP_PREFIX + name.decode("latin-1"), headers[name]) for name in sorted(kept))
        return record

    def _count(self, source: str, outcome: str) -> None:
        counter = self._counters.get((source, outcome))
        if counter is None:
            counter = self._counters[source, outcome] = self._deliveries.labels(source, outcome)
        counter.inc()
