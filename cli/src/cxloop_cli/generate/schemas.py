"""JSON Schemas of what topics hold: the `data` of each event, as it stands in a record's value."""

import copy
from typing import Any, Final, cast

from cxloop_common.events import CloudEvent
from cxloop_common.events.base import ATTRIBUTES
from cxloop_common.topics import TOPICS, Topic

FOLDER: Final = "schemas"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema_path(topic: Topic, event: type[CloudEvent]) -> str:
    """Name the file of one event of one topic, below the folder of generated documents."""
    return f"{FOLDER}/{topic.name}/{event.TYPE}.json"


def value_schema(event: type[CloudEvent]) -> dict[str, Any]:
    """Describe a record's value: the event without its CloudEvents attributes, which travel as headers.

    Only what a writer must always send is required, and fields that a reader does not know are allowed.
    """
    schema: dict[str, Any] = copy.deepcopy(event.model_json_schema(by_alias=True, mode="validation"))
    own = ATTRIBUTES - {"subject"}  # the attribute is derived; a ticket has a subject line of its own
    properties = cast("dict[str, Any]", schema.get("properties", {}))
    kept = {name: value for name, value in properties.items() if name not in own}
    required = [name for name in cast("list[str]", schema.get("required", [])) if name not in own]
    document: dict[str, Any] = {
        "$schema": _DIALECT,
        "title": event.TYPE,
        "description": " ".join((event.__doc__ or "").split()),
        "type": "object",
        "properties": kept,
    }
    if required:
        document["required"] = sorted(required)
    if definitions := schema.get("$defs"):
        document["$defs"] = definitions
    return document


def schemas() -> dict[str, dict[str, Any]]:
    """Give the schema of every event of every topic, by path."""
    return {
        schema_path(topic, event): value_schema(event)
        for topic in TOPICS
        for event in sorted(topic.events, key=lambda one: one.TYPE)
    }
