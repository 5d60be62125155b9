"""The AsyncAPI 3.0 document: every topic, who writes it, its key, its headers and the schemas of its values."""

from typing import Any, Final

from cxloop_cli.generate.schemas import schema_path
from cxloop_common.events import CloudEvent
from cxloop_common.topics import DEFAULT_PARTITIONS, TOPICS, Topic

PATH: Final = "asyncapi.json"
BINDING: Final = "0.5.0"
_BYTES: Final = {
    "description": "Bytes as they came: any content type, no schema.",
    "type": "string",
    "format": "binary",
}

_HEADERS: Final[dict[str, tuple[str, bool]]] = {
    "ce_specversion": ("Always 1.0.", True),
    "ce_id": ("The event's id, derived from its source: two records of one id are one event.", True),
    "ce_type": ("The event's type.", True),
    "ce_source": ("The configured source, or the service that concluded it.", True),
    "ce_time": ("When it happened, RFC 3339 in UTC. The record's own time is when it was written.", True),
    "ce_subject": ("What the event is about.", False),
    "content-type": ("Always application/json.", True),
    "traceparent": ("W3C trace context of the request that caused it.", False),
}


def asyncapi(version: str) -> dict[str, Any]:
    """Describe all topics, as `version` of the product writes them."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "CX Loop topics",
            "version": version,
            "description": (
                "CloudEvents 1.0 in binary mode on Apache Kafka: attributes are `ce_` headers, the value is the "
                "event's data as JSON. Delivery is at least once with stable ids. Within a topic's version a "
                "schema only grows; readers ignore fields that they do not know."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "The cluster of CXLOOP_KAFKA_BOOTSTRAP.",
                "variables": {"bootstrap": {"default": "127.0.0.1:9092"}},
            }
        },
        "channels": {channel_id(topic): _channel(topic) for topic in TOPICS}
        | {"alerts.route": _route_channel()},
        "operations": {
            f"{service}.writes.{channel_id(topic)}": _operation(topic)
            for topic in TOPICS
            for service in topic.written_by
        }
        | {"alerting.writes.alerts.route": _route_operation()},
        "components": {
            "messages": {
                message.TYPE: _message(topic, message) for topic in TOPICS for message in topic.events
            }
            | {"bytes": _bytes_message()},
            "schemas": {"headers": _header_schema()},
        },
    }


def channel_id(topic: Topic) -> str:
    """Shorten a topic's name: `cxloop.tickets.v1` is `tickets`."""
    return topic.name.removeprefix("cxloop.").removesuffix(".v1")


def _message_names(topic: Topic) -> list[str]:
    return [event.TYPE for event in topic.events] or ["bytes"]


def _channel(topic: Topic) -> dict[str, Any]:
    described: dict[str, Any] = {
        "address": topic.name,
        "title": topic.summary,
        "description": f"Written by {' and '.join(topic.written_by)}; keyed by {topic.key}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": DEFAULT_PARTITIONS,
                "topicConfiguration": _configuration(topic),
                "bindingVersion": BINDING,
            }
        },
    }
    if topic.personal:
        described["tags"] = [{"name": "personal", "description": "Forgets after 30 days by default."}]
    return described


def _configuration(topic: Topic) -> dict[str, Any]:
    settings = topic.config()
    configuration: dict[str, Any] = {
        "cleanup.policy": [settings["cleanup.policy"]],
        "max.message.bytes": topic.max_record_bytes,
    }
    if "retention.ms" in settings:
        configuration["retention.ms"] = int(settings["retention.ms"])
    return configuration


def _operation(topic: Topic) -> dict[str, Any]:
    channel = channel_id(topic)
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": topic.summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in _message_names(topic)],
    }


def _route_channel() -> dict[str, Any]:
    return {
        "address": "cxloop.alerts.{route}.v1",
        "title": "Cases of one route: one topic for each route in routes.yaml",
        "description": "Written by alerting; keyed by case id.",
        "parameters": {"route": {"description": "The route's name in routes.yaml."}},
        "messages": {"cxloop.alert.changed": {"$ref": "#/components/messages/cxloop.alert.changed"}},
    }


def _route_operation() -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": "#/channels/alerts.route"},
        "summary": "What cxloop.alerts.v1 holds, for one team",
        "messages": [{"$ref": "#/channels/alerts.route/messages/cxloop.alert.changed"}],
    }


def _message(topic: Topic, event: type[CloudEvent]) -> dict[str, Any]:
    return {
        "name": event.TYPE,
        "summary": " ".join((event.__doc__ or "").split()),
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {"$ref": f"./{schema_path(topic, event)}"},
        "bindings": {
            "kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": BINDING}
        },
    }


def _bytes_message() -> dict[str, Any]:
    return {
        "name": "bytes",
        "summary": "A record whose value is not described by a schema",
        "contentType": "application/octet-stream",
        "payload": _BYTES,
    }


def _header_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, (text, _) in _HEADERS.items()},
        "required": [name for name, (_, always) in _HEADERS.items() if always],
    }
