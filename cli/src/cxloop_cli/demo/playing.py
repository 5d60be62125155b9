"""Playing the scenario to running services as its senders would, and reading back what they made of it.

Everything goes over HTTP and Kafka: this module knows addresses, a token and the sources' secrets.
"""

import asyncio
import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

import httpx

from cxloop_cli.demo.arithmetic import AFTERWARDS
from cxloop_cli.demo.schedule import Scenario
from cxloop_cli.demo.senders import DELIGHTED, SHOP, ZENDESK, Webhook
from cxloop_cli.demo.stories import Person
from cxloop_common.kafka.consumer import Reader
from cxloop_common.topics import ALERTS, route_topic
from cxloop_ingest.domain.signatures import Credentials, Scheme, key_of, sign

POSTS_AT_A_TIME: Final = 16
TIMEOUT_S: Final = 15.0
PATIENCE_S: Final = 30.0
"""How long a service may be away, restarted for one, before the demo gives up on it."""
ASK_AGAIN_EVERY_S: Final = 0.2
ROUTES: Final = ("care", "key-accounts", "checkout")
_SCHEMES: Final = {ZENDESK: Scheme.ZENDESK, DELIGHTED: Scheme.DELIGHTED, SHOP: Scheme.STANDARD_WEBHOOKS}
_LAG: Final = re.compile(r"^cxloop_consumer_lag_records\{[^}]*\} (?P<records>\S+)$", re.MULTILINE)

Json = dict[str, Any]


class DemoError(Exception):
    """The demo cannot go on; the message says what a service answered."""


@dataclass(frozen=True)
class Places:
    """Where the services are."""

    urls: Mapping[str, str]
    headers: Mapping[str, str]
    bootstrap: str


@dataclass(frozen=True)
class Alert:
    """An alert record as it stands in Kafka."""

    topic: str
    partition: int
    offset: int
    at: float
    """When it was read, on the monotonic clock."""
    headers: Mapping[str, str]
    value: Json

    def as_object(self) -> Json:
        """Render it as `cxloop tail --json` does."""
        return {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "headers": dict(self.headers),
            "value": self.value,
        }


@dataclass
class Posted:
    """What intake answered."""

    ids: dict[int, str] = field(default_factory=dict[int, str])
    """Place in the scenario's posts to delivery id."""
    at: dict[int, float] = field(default_factory=dict[int, float])
    """When each was acknowledged, on the monotonic clock."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Observed:
    """What the services answer at one moment."""

    sources: Json
    scorecard: Json
    nps_by_segment: Json
    first_response_by_team: Json
    quarantine: list[Json]
    customers: dict[str, list[Json]]
    """By email: what the search for it found."""
    timeline: list[Json]
    """Of the first of the people."""
    cases: list[Json]
    alerts: list[Alert]

    def counts(self) -> dict[str, int]:
        """Say in numbers how far the services are."""
        figures = [*self.scorecard["service"], *self.scorecard["experience"]]
        return {
            "deliveries": sum(source["deliveries_24h"] for source in self.sources["items"]),
            "observations": sum(figure["n"] for figure in figures),
            "customers": len({one["customer_id"] for found in self.customers.values() for one in found}),
            "cases": len(self.cases),
        }


def make_secrets() -> dict[str, str]:
    """Make this run's secrets, by source."""
    return {
        ZENDESK: secrets.token_urlsafe(32),
        DELIGHTED: secrets.token_urlsafe(32),
        SHOP: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
    }


class Player:
    """One run against running services; use it as an async context."""

    def __init__(self, scenario: Scenario, places: Places, source_secrets: Mapping[str, str]) -> None:
        self._scenario = scenario
        self._places = places
        self._credentials = {
            name: Credentials(_SCHEMES[name], (key_of(_SCHEMES[name], secret),))
            for name, secret in source_secrets.items()
        }
        limits = httpx.Limits(max_connections=2 * POSTS_AT_A_TIME)
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, limits=limits)
        self._reader = Reader(places.bootstrap, client_id="cxloop-demo")
        self._stopping = False
        self._following: asyncio.Task[None] | None = None
        self.alerts: list[Alert] = []

    async def __aenter__(self) -> Self:
        await self._reader.start()
        topics = [ALERTS.name, *(route_topic(name).name for name in ROUTES)]
        await self._reader.assign(topics, from_start=True)
        self._following = asyncio.create_task(self._follow_alerts())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        if self._following is not None:
            await asyncio.gather(self._following, return_exceptions=True)
        await self._reader.stop()
        await self._client.aclose()

    async def post_all(self, tell: Callable[[int], None]) -> Posted:
        """Post every webhook, signed by its sender; `tell` hears how many were taken. Raises DemoError."""
        posted = Posted()
        began = time.monotonic()
        waiting = iter(enumerate(self._scenario.posts))

        async def sender() -> None:
            # One iterator for all: posts leave in the scenario's order, a few under way at a time.
            for place, webhook in waiting:
                posted.ids[place] = await self._post(webhook)
                posted.at[place] = time.monotonic()
                tell(len(posted.ids))

        await asyncio.gather(*(sender() for _ in range(POSTS_AT_A_TIME)))
        posted.seconds = time.monotonic() - began
        return posted

    async def _post(self, webhook: Webhook) -> str:
        signed = sign(self._credentials[webhook.source], webhook.body, datetime.now(UTC), webhook.message_id)
        headers = {**signed, "Content-Type": "application/json"}
        request = self._client.build_request(
            "POST",
            f"{self._places.urls['ingest']}/webhooks/{webhook.source}",
            content=webhook.body,
            headers=headers,
        )
        answer = await self._answer("ingest", request)
        if answer.status_code != 202:  # noqa: PLR2004  # Accepted
            raise DemoError(
                f"ingest answered a webhook of {webhook.source} with {answer.status_code}, not 202"
            )
        return str(answer.json()["delivery_id"])

    async def behind(self) -> int:
        """Count the records that the services' workers have not processed yet, as their metrics say."""
        told = await asyncio.gather(*(self._text(service, "/metrics") for service in self._places.urls))
        return int(sum(float(match["records"]) for text in told for match in _LAG.finditer(text)))

    async def observe(self) -> Observed:
        """Read everything that is compared."""
        people = self._scenario.stories.people
        window = self._window()
        customers = await asyncio.gather(*(self._customer(person) for person in people))
        sources, scorecard, by_segment, by_team = await asyncio.gather(
            self._get("ingest", "/v1/sources"),
            self._get("scoring", "/v1/scorecard", window),
            self._get("scoring", "/v1/metrics/nps/groups", {**window, "by": "segment"}),
            self._get("scoring", "/v1/metrics/first_response_time/groups", {**window, "by": "team"}),
        )
        found = {person.email: answer for person, answer in zip(people, customers, strict=True)}
        first = found[people[0].email]
        timeline = (
            await self._all("journey", f"/v1/customers/{first[0]['customer_id']}/timeline") if first else []
        )
        quarantine = await self._all("ingest", "/v1/quarantine")
        cases = await self._all("alerting", "/v1/cases")
        self._raise_if_deaf()
        return Observed(
            sources, scorecard, by_segment, by_team, quarantine, found, timeline, cases, list(self.alerts)
        )

    def _window(self) -> dict[str, str]:
        until = self._scenario.stories.end + AFTERWARDS
        return {"window": "30d", "at": until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}

    async def _customer(self, person: Person) -> list[Json]:
        found = await self._get("journey", "/v1/customers", {"identifier": f"email:{person.email}"})
        return found["items"]

    async def _all(self, service: str, path: str) -> list[Json]:
        items: list[Json] = []
        query = {"limit": "500"}
        while True:
            page = await self._get(service, path, query)
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            query["cursor"] = page["next_cursor"]

    async def _get(self, service: str, path: str, query: Mapping[str, str] | None = None) -> Json:
        return json.loads(await self._text(service, path, query))

    async def _text(self, service: str, path: str, query: Mapping[str, str] | None = None) -> str:
        url = self._places.urls[service] + path
        request = self._client.build_request("GET", url, params=query, headers=self._places.headers)
        return (await self._answer(service, request)).text

    async def _answer(self, service: str, request: httpx.Request) -> httpx.Response:
        """Ask, and again while the service is away, as every sender does. Raises DemoError."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            away = True
            try:
                answer = await self._client.send(request)
            except httpx.TransportError as error:
                said = f"nothing ({type(error).__name__})"
            else:
                if answer.is_success:
                    return answer
                said = f"{answer.status_code}: {answer.text[:300]}"
                away = answer.is_server_error
            if not away or time.monotonic() > deadline:
                raise DemoError(f"{service} answered {request.url.path} with {said}")
            await asyncio.sleep(ASK_AGAIN_EVERY_S)

    def _raise_if_deaf(self) -> None:
        if self._following is not None and self._following.done():
            self._following.result()

    async def _follow_alerts(self) -> None:
        while not self._stopping:
            for record in await self._reader.poll(0.1):
                headers = {name: value.decode(errors="replace") for name, value in record.headers.items()}
                value = json.loads(record.value or b"{}")
                self.alerts.append(
                    Alert(record.topic, record.partition, record.offset, time.monotonic(), headers, value)
                )
