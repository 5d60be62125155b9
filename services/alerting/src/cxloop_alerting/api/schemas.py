"""Bodies of requests and answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cxloop_alerting.domain.case import Change
from cxloop_alerting.store.cases import CaseRow
from cxloop_common.events.base import UtcTime
from cxloop_common.identifiers import derive_id

Text = Annotated[str, Field(min_length=1, max_length=2000)]
OwnerText = Annotated[str, Field(pattern=r"^(person|team):\S+$", max_length=128)]


class Body(BaseModel):
    """A request body; an unknown field is a mistake, not a wish to be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class OwnerView(BaseModel):
    """Who answers for a case."""

    kind: str
    id: str
    name: str
    team: str | None = Field(None, description="The team the person was picked from")


class CaseView(BaseModel):
    """A case."""

    case_id: str
    version: int = Field(description="Also the ETag")
    status: str
    reason: str
    severity: str
    rule: str
    route: str
    copies: list[str] = Field(description="Other routes that hear of it")
    owner: OwnerView
    escalated_to: str | None
    customer_id: str | None = Field(description="Null until the journey says who it is")
    customer_hint: str | None = Field(description="Masked")
    score: dict[str, Any]
    opened_at: UtcTime
    due_at: UtcTime | None = Field(description="When the next thing is due; null once closed")
    acknowledged_at: UtcTime | None
    contacted_at: UtcTime | None
    escalated_at: UtcTime | None
    resolved_at: UtcTime | None
    root_cause: str | None
    supersedes: list[str]
    context: dict[str, Any]

    @classmethod
    def of(cls, row: CaseRow, context: dict[str, Any] | None = None) -> "CaseView":
        """Show a stored case; with the newest context where it was looked up."""
        owner = OwnerView(kind=row.owner_kind, id=row.owner_id, name=row.owner_name, team=row.owner_team)
        shown = {name: getattr(row, name) for name in cls.model_fields if name not in ("owner", "context")}
        return cls(**shown, owner=owner, context=context if context is not None else row.context)


class ChangeView(BaseModel):
    """One line of a case's history."""

    at: UtcTime
    who: str
    change: str
    status_from: str | None = Field(serialization_alias="from")
    status_to: str = Field(serialization_alias="to")
    reason: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, change: Change) -> "ChangeView":
        """Show a change."""
        return cls(
            at=change.at,
            who=change.actor,
            change=change.change,
            status_from=change.status_from,
            status_to=change.status_to,
            reason=str(change.reason),
            detail=dict(change.detail),
        )


class HistoryView(BaseModel):
    """A case's history, the earliest first."""

    items: list[ChangeView]


class Acknowledge(Body):
    """I have seen it."""

    comment: Text | None = None


class Contact(Body):
    """The customer was spoken to."""

    channel: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    comment: Text | None = None


class Assign(Body):
    """Give the case to a person, or to a team that picks one."""

    owner: OwnerText
    comment: Text | None = None


class Resolve(Body):
    """Close the case."""

    root_cause: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    no_contact_reason: Text | None = None
    comment: Text | None = None


class Reopen(Body):
    """Take a closed case up again."""

    comment: Text | None = None


class Note(Body):
    """Write something down."""

    text: Text


class Example(Body):
    """A score to try rules and routes with."""

    metric: Literal["nps", "csat", "ces", "other"]
    value: float
    band: Literal["low", "middle", "high"]
    source: Annotated[str, Field(max_length=63)] = "example"
    wants_contact: bool | None = None
    tags: tuple[Annotated[str, Field(max_length=256)], ...] = Field((), max_length=128)
    dimensions: dict[str, Annotated[str, Field(max_length=256)]] = Field(
        default_factory=dict[str, str], max_length=32
    )


def action_id(actor: str, key: str | None, *fallback: str) -> str:
    """Return the id of an action: from the caller's key, or from the version it changes."""
    if key is not None:
        return derive_id("action", "key", actor, key)
    return derive_id("action", actor, *fallback)
