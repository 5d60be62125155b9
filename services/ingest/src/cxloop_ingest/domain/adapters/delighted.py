"""Delighted webhooks: survey responses, created and updated.

Source: Delighted's webhook documentation and survey type reference. The response's id is the key, because one
event id can carry newer content; the newest `updated_at` wins downstream.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cxloop_common.events import SurveyResponded
from cxloop_ingest.domain.delivery import Delivery
from cxloop_ingest.domain.drafts import Draft, IgnoredItem, Normalised, collect, evaluated_dimensions
from cxloop_ingest.domain.reading import (
    Reason,
    UnreadableError,
    as_object,
    item_hash,
    object_id,
    optional_object,
    parse_json,
    required_id,
    text,
)
from cxloop_ingest.domain.sources import ScaleDefault, Source
from cxloop_ingest.domain.times import parse_time

_RESPONSES: Final = frozenset({"survey_response.created", "survey_response.updated"})

# Survey type to metric and scale. Delighted also has a CES of 1 to 5 and does not say which in the body:
# a source that uses it states scales.ces.
_TYPES: Final[Mapping[str, tuple[str, ScaleDefault]]] = {
    "nps": ("nps", ScaleDefault(0, 10)),
    "csat": ("csat", ScaleDefault(1, 5, good=(4.0, 5.0))),
    "ces": ("ces", ScaleDefault(1, 7)),
    "stars_five": ("csat", ScaleDefault(1, 5, good=(4.0, 5.0))),
    "five_star": ("csat", ScaleDefault(1, 5, good=(4.0, 5.0))),
    "smileys": ("csat", ScaleDefault(1, 5, good=(4.0, 5.0))),
    "thumbs": ("csat", ScaleDefault(0, 1, good=(1.0,))),
    "enps": ("other", ScaleDefault(0, 10)),
    "pmf": ("other", ScaleDefault(1, 3)),
}
_ALIASES: Final[Mapping[str, str]] = {"5_star": "five_star", "stars": "five_star", "smiley": "smileys"}

_DIMENSIONS: Final = frozenset(
    {"channel", "contact_type", "team", "agent", "stage", "segment", "product", "location", "survey"}
)
"""Properties of these names become dimensions unasked; any other is named in the source's `dimensions`, since
a property can hold a person's name."""
_TICKET_PROPERTIES: Final = ("ticket_id", "zendesk_ticket_id", "ticket", "case_id")
_NOT_WORD: Final = re.compile(r"[^a-z0-9]+")


def normalise(delivery: Delivery, source: Source) -> Normalised:
    """Read one event body. Raises UnreadableError where the body as a whole cannot be read."""
    document = parse_json(delivery.body)

    def read(item: Any) -> Iterable[Draft]:
        return [_response(as_object(item, "the body"), source)]

    return collect([document], read, delivery, source)


def _response(body: dict[str, Any], source: Source) -> Draft:
    kind = text(body.get("event_type"))
    if kind is None:
        raise UnreadableError(Reason.UNKNOWN_SHAPE, "event_type is missing")
    if kind not in _RESPONSES:
        raise IgnoredItem
    response = as_object(body.get("event_data"), "event_data")
    response_id = required_id(response.get("id"), "event_data.id")
    survey_type = _word(response.get("survey_type")) or "nps"  # bodies of old accounts do not say
    survey_type = _ALIASES.get(survey_type, survey_type)
    metric, scale = _TYPES.get(survey_type, ("other", None))
    scale = source.scales.get(survey_type) or source.scales.get(metric) or scale
    if scale is None:
        raise UnreadableError(
            Reason.SCALE_UNKNOWN, "the survey type's scale is not known; state it in the source's scales"
        )
    score = response.get("score")
    if score is None:
        raise IgnoredItem(Reason.NO_ANSWER)
    properties = _properties(response)
    person = optional_object(response.get("person"))
    return Draft(
        type=SurveyResponded.TYPE,
        object_id=f"response:{response_id}",
        kind="response",
        time=parse_time(response.get("updated_at") or response.get("created_at"), source.time_zone),
        data={
            "response_id": response_id,
            "metric": metric,
            "score": score,
            "scale": scale.as_data(),
            "survey_id": source.survey_id,
            "comment": _cut(text(response.get("comment"))),
            "touchpoint": properties.get("touchpoint") or source.touchpoint,
            "channel": properties.get("channel") or source.channel,
            **_ticket(properties, body, source),
        },
        own_id=object_id(body.get("event_id")) or "",
        content=item_hash(response),
        identifiers=_identifiers(person, source),
        dimensions={
            **{name: value for name, value in properties.items() if name in _DIMENSIONS},
            **evaluated_dimensions(source, body),
        },
    )


def _properties(response: Mapping[str, Any]) -> dict[str, str]:
    """Give the person's properties by plain name: `Ticket ID` and `ticket-id` are `ticket_id`."""
    found: dict[str, str] = {}
    for name, value in sorted(optional_object(response.get("person_properties")).items()):
        written = object_id(value) if not isinstance(value, str) else text(value)
        if written is not None and (plain := _word(name)):
            found.setdefault(plain, written[:256])
    return found


def _word(value: Any) -> str | None:
    written = text(value)
    return _NOT_WORD.sub("_", written.lower()).strip("_") or None if written is not None else None


def _ticket(properties: Mapping[str, str], body: Mapping[str, Any], source: Source) -> dict[str, Any]:
    if source.ticket is not None:
        linked = object_id(source.ticket.id.evaluate(body))
        return {} if linked is None else {"ticket_id": linked, "ticket_source": source.ticket.source}
    linked = next((properties[name] for name in _TICKET_PROPERTIES if name in properties), None)
    return {} if linked is None else {"ticket_id": linked}


def _identifiers(person: Mapping[str, Any], source: Source) -> list[str]:
    found: list[str] = []
    if (email := text(person.get("email"))) is not None:
        found.append(f"email:{email}")
    if (phone := text(person.get("phone_number"))) is not None:
        found.append(f"phone:{phone}")
    if (person_id := object_id(person.get("id"))) is not None:
        found.append(f"{source.name}.person:{person_id}")
    return found


def _cut(comment: str | None) -> str | None:
    return comment[:20_000] if comment is not None else None
