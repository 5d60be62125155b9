"""`cxloop tail`: follow a topic, one readable line a record."""

import asyncio
import base64
import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from cxloop_cli.options import DataDir, Prefix
from cxloop_common.identifiers import mask
from cxloop_common.kafka import Record
from cxloop_common.kafka.consumer import Reader
from cxloop_common.kafka.errors import KafkaError
from cxloop_common.topics import ROUTE_NAME, SCORING_LINKS, TOPICS, route_topic
from cxloop_embedded import LOOPBACK, StoredPorts

EXAMPLE = "Example: cxloop tail alerts --from-start --json -n 10"
NO_ANSWER = 3
_POLL_S: Final = 0.2
_LONGEST_KEY: Final = 44


def tail(
    topic: Annotated[
        str,
        typer.Argument(
            help="tickets, surveys, touchpoints, scores, metrics, journeys, alerts, alerts.<route>, deliveries, "
            "erasures, links, <service>.dead-letters, or any topic's full name."
        ),
    ],
    bootstrap: Annotated[
        str | None,
        typer.Option(
            "--bootstrap",
            envvar="CXLOOP_KAFKA_BOOTSTRAP",
            help="Kafka brokers; by default the one of `cxloop up` with the same data folder.",
        ),
    ] = None,
    data_dir: DataDir = Path(".cxloop"),
    prefix: Prefix = "",
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="Stop after so many.")] = None,
    *,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Show what is there already, oldest first in each partition.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a record, headers included.")
    ] = False,
) -> None:
    """Follow a topic from now on, until Ctrl-C: a line a record, identifiers masked.

    `--json` shows records as they are, unmasked.
    """
    name = prefix + full_name(topic)
    address = bootstrap or _of_up(data_dir)
    if address is None:
        typer.echo(
            f"tail: no broker is known in {data_dir}; start `cxloop up`, or give --bootstrap", err=True
        )
        raise typer.Exit(2)
    show = as_object if as_json else as_line
    with contextlib.suppress(KeyboardInterrupt):
        try:
            found = asyncio.run(_follow(address, name, show, from_start=from_start, count=count))
        except KafkaError as error:
            typer.echo(f"tail: {error} at {address}", err=True)
            raise typer.Exit(NO_ANSWER) from None
        if not found:
            known = ", ".join(sorted(short_names()))
            typer.echo(f"tail: there is no topic {name}; short names are {known}", err=True)
            raise typer.Exit(2)


def short_names() -> dict[str, str]:
    """Give the short names and the topics they stand for."""
    return {one.name.removeprefix("cxloop.").removesuffix(".v1"): one.name for one in TOPICS} | {
        "links": SCORING_LINKS.name
    }


def full_name(topic: str) -> str:
    """Turn what was typed into a topic's name: a short name, a route's alerts, or the name itself."""
    if known := short_names().get(topic):
        return known
    head, _, route = topic.partition(".")
    if head == "alerts" and ROUTE_NAME.fullmatch(route):
        return route_topic(route).name
    return topic


async def _follow(
    bootstrap: str, name: str, show: Callable[[Record], str], *, from_start: bool, count: int | None
) -> bool:
    """Print records until `count` of them; False if there is no such topic."""
    reader = Reader(bootstrap, client_id="cxloop-tail")
    await reader.start()
    try:
        if not await reader.assign([name], from_start=from_start):
            return False
        shown = 0
        while count is None or shown < count:
            left = None if count is None else count - shown
            for record in await reader.poll(_POLL_S, left):
                print(show(record))
                shown += 1
            sys.stdout.flush()
        return True
    finally:
        await reader.stop()


def _of_up(data_dir: Path) -> str | None:
    port = StoredPorts(data_dir / "kafka" / "ports.json").read().get("kafka")
    return None if port is None else f"{LOOPBACK}:{port}"


def as_object(record: Record) -> str:
    """Render a record as one JSON object; a value that is no JSON is given as text, or else in base64."""
    return json.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "written_at": _instant(record.timestamp_ms).isoformat().replace("+00:00", "Z"),
            "key": None if record.key is None else record.key.decode(errors="replace"),
            "headers": {name: value.decode(errors="replace") for name, value in record.headers.items()},
            **_value(record.value),
        },
        ensure_ascii=False,
    )


def as_line(record: Record) -> str:
    """Render a record as one line: when it happened, its type, its key and what it says."""
    happened = record.headers.get("ce_time", b"").decode(errors="replace")
    kind = record.headers.get("ce_type", b"record").decode(errors="replace").removeprefix("cxloop.")
    key = _masked((record.key or b"-").decode(errors="replace"))
    if len(key) > _LONGEST_KEY:
        key = key[: _LONGEST_KEY - 1] + "…"
    value = _value(record.value).get("value")
    told = (
        _told(kind, cast("Mapping[str, Any]", value))
        if isinstance(value, dict)
        else f"{len(record.value or b'')} bytes"
    )
    at = (happened or _instant(record.timestamp_ms).isoformat())[:19].replace("T", " ")
    return f"{at}  {kind:21} {key:32} {told}".rstrip()


def _told(kind: str, value: Mapping[str, Any]) -> str:
    if kind == "alert.changed":
        score: Mapping[str, Any] = value.get("score") or {}
        return (
            f"{value.get('change')} {value.get('severity')} {value.get('rule')} "
            f"{score.get('metric', '')}={score.get('value', '')} owner={_owner(value)} route={value.get('route')} "
            f"due={str(value.get('due_at', '-'))[:16]}"
        )
    if kind == "score.recorded":
        hint = _masked(str(value.get("customer_hint") or ""))
        return f"{value.get('metric')}={value.get('raw'):g} {value.get('band')} {hint}"
    if kind == "journey.changed":
        card: Mapping[str, Any] = value.get("card") or {}
        known = len(value.get("identifiers", []))
        return f"{value.get('change')} stage={card.get('stage', '-')} identifiers={known}"
    if kind == "survey.responded":
        return f"{value.get('metric')}={value.get('score'):g} {_who(value)}"
    if kind == "touchpoint.recorded":
        return f"{value.get('touchpoint')}"
    fields = ("channel", "author", "public", "status", "team", "agent", "into_ticket_id")
    shown = [f"{name}={value[name]}" for name in fields if value.get(name) is not None]
    return " ".join([*shown, _who(value)]).strip()


def _owner(value: Mapping[str, Any]) -> str:
    owner: Mapping[str, Any] = value.get("owner") or {}
    return str(owner.get("name", "-"))


def _who(value: Mapping[str, Any]) -> str:
    return " ".join(mask(one) for one in value.get("identifiers", [])[:1])


def _masked(text: str) -> str:
    """Mask a key that is a customer hint; ids of documents, cases and customers are shown."""
    head, colon, _ = text.partition(":")
    return mask(text) if colon and head not in ("ticket", "response", "send") else text


def _value(value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"value": None}
    try:
        return {"value": json.loads(value)}
    except ValueError:
        pass
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
