"""What people may do with a case, and why not."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cxloop_alerting.domain.case import Case, Status
from cxloop_alerting.domain.configuration import Configuration
from cxloop_alerting.domain.facts import ActionKind


class Refusal(StrEnum):
    """Why an action is not accepted."""

    STATE = "state"
    """The case's state does not allow it."""
    FOLLOWED = "followed"
    """A later case of this customer and rule exists; work goes on there."""
    NOT_YOURS = "not_yours"
    """The caller is a person who neither owns the case, nor is on its team, nor was it escalated to."""
    ROOT_CAUSE = "root_cause"
    """A closing names a root cause, one of the configured ones where there are any."""
    NO_CONTACT_REASON = "no_contact_reason"
    """A closing without contact says why there was none."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal and what to do about it."""

    refusal: Refusal
    detail: str


def refuse(
    case: Case, kind: ActionKind, body: Mapping[str, Any], actor: str, *, successor: str | None
) -> Refused | None:
    """Return why the action is refused; None if it is accepted.

    `successor` is the id of a later case of the same customer and rule.
    """
    return (
        _by_state(case, kind, successor)
        or (None if may_act(case, kind, actor) else _NOT_YOURS)
        or (_closing(case, body) if kind is ActionKind.RESOLVE else None)
    )


def may_act(case: Case, kind: ActionKind, actor: str) -> bool:
    """Tell whether the caller is one of those who work the case; anybody may assign, reopen and note.

    A token that bears a person's name acts as that person; other tokens are integrations and act for all.
    """
    configuration = case.configuration
    if kind in (ActionKind.ASSIGN, ActionKind.REOPEN, ActionKind.NOTE) or actor not in configuration.people:
        return True
    refs = {f"person:{case.owner.id}", case.escalated_to, f"team:{case.owner.team}"}
    teams = {f"team:{team.id}" for team in configuration.teams.values() if actor in team.members}
    return f"person:{actor}" in refs or bool(teams & refs)


_NOT_YOURS = Refused(
    Refusal.NOT_YOURS,
    "The case belongs to somebody else. Its owner, the owner's team and the one it was escalated to work it; "
    "assign it to take it over.",
)


def _by_state(case: Case, kind: ActionKind, successor: str | None) -> Refused | None:
    if kind is ActionKind.NOTE:
        return None
    if kind is ActionKind.REOPEN:
        return _reopening(case, successor)
    if not case.is_open:
        follow = f" Work goes on in {successor}." if successor else " Reopen it first."
        return Refused(Refusal.STATE, f"The case is {case.status}.{follow}")
    if kind is ActionKind.ACKNOWLEDGE and case.status not in (Status.OPEN, Status.REOPENED):
        return Refused(Refusal.STATE, f"The case is {case.status} already.")
    return None


def _reopening(case: Case, successor: str | None) -> Refused | None:
    if case.status is not Status.RESOLVED:
        return Refused(Refusal.STATE, f"The case is {case.status}; only a closed case can be reopened.")
    if successor is not None:
        detail = f"The case is {case.status} and was followed by {successor}; go on there."
        return Refused(Refusal.FOLLOWED, detail)
    return None


def _closing(case: Case, body: Mapping[str, Any]) -> Refused | None:
    root_cause = str(body.get("root_cause") or "")
    known = root_causes(case.configuration)
    if not root_cause:
        return Refused(Refusal.ROOT_CAUSE, "Say what the root cause was.")
    if known and root_cause not in known:
        nearest = difflib.get_close_matches(root_cause, known, n=1, cutoff=0.5)
        hint = f"Did you mean {nearest[0]}?" if nearest else f"Known are {', '.join(known)}."
        return Refused(Refusal.ROOT_CAUSE, f"There is no such root cause. {hint}")
    if case.contacted_at is None and not body.get("no_contact_reason"):
        return Refused(
            Refusal.NO_CONTACT_REASON,
            "Nobody has contacted the customer: say why in no_contact_reason, or record the contact first.",
        )
    return None


def root_causes(configuration: Configuration) -> list[str]:
    """Return the root causes a closing may name: a category, or `category/cause`."""
    return [
        name
        for category, causes in configuration.root_causes.items()
        for name in (category, *(f"{category}/{cause}" for cause in causes))
    ]
