"""The senders' webhooks: each story in the words of whoever would tell it.

Bodies have the shapes that Zendesk, Delighted and a shop's own Standard Webhooks have; the values are ours.
Pure: the same stories give the same bytes.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, cast

from cxloop_cli.demo.stories import Answer, Assignment, Message, Person, Stories, Ticket, Turn, Visit

TEMPLATES: Final = Path(__file__).parent / "templates"
ZENDESK: Final = "zendesk"
DELIGHTED: Final = "delighted"
SHOP: Final = "shop"
SOURCES: Final = (ZENDESK, DELIGHTED, SHOP)

_SHOP_TYPES: Final[Mapping[str, str]] = {
    "purchase": "order.placed",
    "delivery": "parcel.delivered",
    "usage": "app.session",
    "renewal": "subscription.renewed",
    "cancellation": "subscription.cancelled",
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """One body as its sender posts it."""

    source: str
    body: bytes
    at: datetime
    """When what it tells of happened."""
    message_id: str = ""
    """The sender's id of the delivery, where it signs one."""
    fault: str | None = None
    """Why it cannot be read, as ingest names it; None for a good one."""


def webhooks(stories: Stories) -> list[Webhook]:
    """Write every webhook of the stories, in order of time, the broken ones among them."""
    written = [
        *(webhook for ticket in stories.tickets for webhook in _of_ticket(ticket)),
        *(webhook for answer in stories.answers for webhook in _of_answer(answer)),
        *(_of_visit(visit) for visit in stories.visits),
        *_broken(stories),
    ]
    return sorted(written, key=lambda webhook: (webhook.at, webhook.source, webhook.body))


# Zendesk: events that carry ids and no contact details


def _of_ticket(ticket: Ticket) -> Iterator[Webhook]:
    now: dict[str, Any] = {"assignee_id": None, "status": "NEW"}
    submitter = ticket.person.requester if ticket.opened_by == "customer" else "7100"
    yield _zendesk(ticket, ticket.opened_at, "created", {}, {**now, "submitter_id": submitter})
    for number, step in enumerate(ticket.steps):
        match step:
            case Assignment():
                change = {"current": step.agent, "previous": now["assignee_id"]}
                now["assignee_id"] = step.agent
                kind = "agent_assignment_changed"
            case Turn():
                change = {"current": step.status.upper(), "previous": now["status"]}
                now["status"] = step.status.upper()
                kind = "status_changed"
            case Message():
                change = {"comment": _comment(ticket, step, number, now["assignee_id"])}
                kind = "comment_added"
        yield _zendesk(ticket, step.at, kind, change, {**now, "submitter_id": submitter}, number)


def _comment(ticket: Ticket, message: Message, number: int, agent: str | None) -> dict[str, Any]:
    author = {"customer": ticket.person.requester, "agent": agent or "7100", "bot": "-1"}[message.author]
    return {
        "id": f"{ticket.id}{number:03}",
        "author": {
            "id": author,
            "is_staff": message.author != "customer",
            "name": "Support" if message.author != "customer" else ticket.person.name,
        },
        "body": "",
        "is_public": message.public,
    }


def _zendesk(  # noqa: PLR0917  # the parts of one envelope
    ticket: Ticket,
    at: datetime,
    kind: str,
    change: Mapping[str, Any],
    now: Mapping[str, Any],
    number: int = -1,
) -> Webhook:
    body = _template("zendesk")
    body["detail"] |= {
        "actor_id": now["submitter_id"],
        "created_at": _iso(ticket.opened_at),
        "group_id": ticket.team,
        "id": ticket.id,
        "requester_id": ticket.person.requester,
        "subject": ticket.subject,
        "updated_at": _iso(at),
        "via": {"channel": ticket.channel},
        **now,
    }
    body |= {
        "event": dict(change),
        "id": _uuid("zendesk", ticket.id, kind, str(number)),
        "subject": f"zen:ticket:{ticket.id}",
        "time": _iso(at).replace("Z", ".000000000Z"),  # nanoseconds, as Zendesk writes them
        "type": f"zen:event-type:ticket.{kind}",
    }
    return Webhook(ZENDESK, _bytes(body), at)


# Delighted: one response, told again whenever it changes. The shop: Standard Webhooks


def _of_answer(answer: Answer) -> Iterator[Webhook]:
    if answer.metric == "ces":
        yield _checkout_answer(answer)
        return
    if answer.before is None:
        yield _delighted(answer, "created", answer.at, answer.score, answer.at)
    else:
        first_at, first_score = answer.before
        yield _delighted(answer, "created", first_at, first_score, first_at)
        yield _delighted(answer, "updated", answer.at, answer.score, first_at)


def _delighted(answer: Answer, kind: str, at: datetime, score: int, created_at: datetime) -> Webhook:
    body = _template("delighted")
    person = answer.person
    properties = {"segment": person.segment}
    if answer.ticket is not None:
        properties["Ticket ID"] = answer.ticket
    body["event_type"] = f"survey_response.{kind}"
    body["event_id"] = _hex("delighted", answer.id, kind)
    body["event_data"] |= {
        "id": answer.id,
        "survey_type": answer.metric,
        "person": {
            **body["event_data"]["person"],
            "id": person.respondent,
            "email": person.email,
            "name": person.name,
        },
        "score": score,
        "comment": answer.comment,
        "created_at": int(created_at.timestamp()),
        "updated_at": int(at.timestamp()),
        "person_properties": properties,
    }
    return Webhook(DELIGHTED, _bytes(body), at)


def _checkout_answer(answer: Answer) -> Webhook:
    data = {
        "id": answer.id,
        "answer": answer.score,
        "comment": answer.comment,
        "callback_requested": answer.wants_contact,
    }
    return _shop(answer.person, "survey.answered", answer.id, answer.at, data)


def _of_visit(visit: Visit) -> Webhook:
    data: dict[str, Any] = {"id": visit.id}
    if visit.amount is not None:
        data["total"] = {"amount": visit.amount, "currency": "EUR"}
    return _shop(visit.person, _SHOP_TYPES[visit.touchpoint], visit.id, visit.at, data)


def _shop(person: Person, kind: str, id_: str, at: datetime, data: Mapping[str, Any]) -> Webhook:
    body = _template("shop")
    body |= {"type": kind, "timestamp": _iso(at)}
    body["data"] |= {
        **data,
        "customer": {
            "id": person.user,
            "email": person.email,
            "helpdesk_id": person.requester,
            "segment": person.segment,
        },
    }
    return Webhook(SHOP, _bytes(body), at, f"msg_{_hex('shop', kind, id_)[:24]}")


# What goes wrong in real life


def _broken(stories: Stories) -> Iterator[Webhook]:
    """Write three that are signed and cannot be read: cut off, off its scale, and not UTF-8."""
    whole = next(_of_ticket(stories.tickets[1]))
    yield Webhook(ZENDESK, whole.body[: len(whole.body) // 2], whole.at, fault="broken_json")
    answer = stories.answers[-1]
    yield Webhook(
        DELIGHTED,
        _delighted(
            Answer("999999", answer.person, "nps", 11, answer.at), "created", answer.at, 11, answer.at
        ).body,
        answer.at,
        fault="score_out_of_scale",
    )
    visit = stories.visits[-1]
    text = _shop(visit.person, "order.placed", "evt_9999", visit.at, {"id": "evt_9999", "note": "Grüße"})
    latin = text.body.decode().encode("latin-1")  # a sender that believes the world ends at U+00FF
    yield Webhook(SHOP, latin, visit.at, "msg_latin1", fault="invalid_utf8")


# Encoding


@lru_cache
def _text(name: str) -> str:
    return (TEMPLATES / f"{name}.json").read_text(encoding="utf-8")


def _template(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", copy.deepcopy(json.loads(_text(name))))


def _bytes(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hex(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=32).hexdigest()


def _uuid(*parts: str) -> str:
    text = _hex(*parts)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"
