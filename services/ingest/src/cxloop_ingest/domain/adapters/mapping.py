"""Any sender, read by the rules of its source: JMESPath expressions to the fields of canonical events."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from cxloop_common.events import SurveyResponded
from cxloop_ingest.domain.delivery import Delivery
from cxloop_ingest.domain.drafts import Draft, IgnoredItem, Normalised, collect, evaluated_dimensions
from cxloop_ingest.domain.expressions import RECEIVED_AT, Expression, truthy
from cxloop_ingest.domain.reading import Reason, UnreadableError, item_hash, object_id, parse_json
from cxloop_ingest.domain.sources import Rule, Source
from cxloop_ingest.domain.times import parse_time

_OBJECT_FIELDS = ("ticket_id", "response_id", "send_id", "touchpoint")
"""What an event is about, most specific first; the first one set takes part in its id."""


def normalise(delivery: Delivery, source: Source) -> Normalised:
    """Apply every rule that matches. Raises UnreadableError where the body as a whole cannot be read.

    Elements of a body that is a list are items of their own, as are the elements that a rule's `each` gives.
    """
    document = parse_json(delivery.body)
    bodies = cast("list[Any]", document) if isinstance(document, list) else [document]

    def read(item: Any) -> Iterable[Draft | UnreadableError]:
        return _read(item, delivery, source)

    return collect(bodies, read, delivery, source)


def _read(body: Any, delivery: Delivery, source: Source) -> Iterable[Draft | UnreadableError]:
    matched = ignored = False
    drafts: list[Draft | UnreadableError] = []
    counts: dict[tuple[str, str, str], int] = {}
    for rule in source.mapping.rules:
        try:
            if rule.when is not None and not truthy(rule.when.evaluate(body)):
                continue
            matched = True
            if rule.ignore:
                ignored = True
                continue
            elements = _elements(rule, body)
        except UnreadableError as error:
            matched = True
            drafts.append(error)
            continue
        for element, view in elements:
            try:
                draft = _draft(rule, element, view, delivery, source)
            except UnreadableError as error:
                drafts.append(error)
                continue
            # Two rules can make two events of one type from one item; the count separates those, and only
            # those: elements of equal content in one list are one event, as they would be in two deliveries.
            place = (draft.type, draft.object_id, draft.content or draft.own_id)
            number = counts.get(place, 0) if rule.each is None else 0
            counts[place] = number + 1
            drafts.append(draft if number == 0 else _numbered(draft, number))
    if not drafts and not matched:
        if source.mapping.unmatched == "ignore":
            raise IgnoredItem(Reason.NO_RULE_MATCHED)
        raise UnreadableError(Reason.NO_RULE_MATCHED, "no rule of the source's mapping matches the body")
    if not drafts:
        raise IgnoredItem(Reason.IGNORED_BY_RULE if ignored else Reason.NO_ANSWER)
    return drafts


def _elements(rule: Rule, body: Any) -> list[tuple[Any, Any]]:
    """Give each item of a rule, and the document its expressions see: the element, with the body beside it."""
    if rule.each is None:
        return [(body, body)]
    found = rule.each.evaluate(body)
    if found is None:
        return []
    if not isinstance(found, list):
        raise UnreadableError(Reason.UNKNOWN_SHAPE, f"each of the rule {rule.name} gives no list")
    return [(element, _view(element, body)) for element in cast("list[Any]", found)]


def _view(element: Any, body: Any) -> dict[str, Any]:
    if isinstance(element, dict):
        return {**cast("dict[str, Any]", element), "_body": body}
    return {"_item": element, "_body": body}


def _draft(rule: Rule, element: Any, view: Any, delivery: Delivery, source: Source) -> Draft:
    data: dict[str, Any] = {}
    for name, expression in rule.data.items():
        value = expression.evaluate(view)
        if value is not None:
            _put(data, name, value)
    if rule.type == SurveyResponded.TYPE:
        _complete_response(data, source)
    for name in ("ticket_id", "response_id", "send_id", "message_id", "into_ticket_id", "survey_id"):
        if name in data:
            data[name] = object_id(data[name])
    own_id = object_id(rule.id.evaluate(view)) if rule.id is not None else None
    if rule.id is not None and own_id is None:
        raise UnreadableError(Reason.MISSING_FIELD, f"id of the rule {rule.name} finds nothing")
    about = next((str(data[name]) for name in _OBJECT_FIELDS if data.get(name)), "")
    return Draft(
        type=rule.type,
        object_id=about,
        kind=rule.type,
        time=_time(rule, view, delivery, source),
        data=data,
        own_id=own_id or "",
        # The sender's content, not what the rule makes of it: a rule that was mended must not double events.
        # A response is hashed beside its id, because an edit is a new event of the same response.
        content=item_hash(element) if own_id is None or rule.type == SurveyResponded.TYPE else "",
        identifiers=_identifiers(rule, view),
        dimensions={
            **{name: expression.evaluate(view) for name, expression in rule.dimensions.items()},
            **evaluated_dimensions(source, view),
        },
    )


def _put(data: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        inner = data.setdefault(part, {})
        data = cast("dict[str, Any]", inner)
    data[last] = value


def _complete_response(data: dict[str, Any], source: Source) -> None:
    scale = source.scales.get(str(data.get("metric")))
    if "scale" not in data and scale is not None:
        data["scale"] = scale.as_data()
    score = data.get("score")
    if isinstance(score, str):
        try:
            data["score"] = float(score.strip())
        except ValueError:
            raise UnreadableError(Reason.UNKNOWN_VALUE, "the score is a text and no number") from None
    for name, value in (
        ("survey_id", source.survey_id),
        ("touchpoint", source.touchpoint),
        ("channel", source.channel),
    ):
        if value is not None:
            data.setdefault(name, value)
    if source.ticket is not None and source.ticket.source is not None and data.get("ticket_id"):
        data.setdefault("ticket_source", source.ticket.source)


def _time(rule: Rule, view: Any, delivery: Delivery, source: Source) -> Any:
    expression: Expression | None = rule.time
    if expression is None or (expression.path is None and expression.constant == RECEIVED_AT):
        return delivery.received_at
    return parse_time(expression.evaluate(view), source.time_zone, rule.time_unit)


def _identifiers(rule: Rule, view: Any) -> list[str]:
    found: list[str] = []
    for scheme, expression in rule.identifiers:
        value = expression.evaluate(view)
        for one in cast("list[Any]", value) if isinstance(value, list) else [value]:
            written = object_id(one)
            if written is not None:
                found.append(f"{scheme}:{written}")
    return found


def _numbered(draft: Draft, number: int) -> Draft:
    fields: Mapping[str, Any] = {
        name: getattr(draft, name) for name in Draft.__dataclass_fields__ if name != "kind"
    }
    return Draft(kind=f"{draft.kind}/{number}", **fields)
