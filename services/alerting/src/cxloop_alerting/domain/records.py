"""Alert records: what the topics hear of a case, and how a change is named."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from cxloop_common.events import AlertRecord, ContextCard, Owner
from cxloop_common.events.outcomes import AlertScore
from cxloop_common.identifiers import derive_id

Change = Literal["opened", "acknowledged", "contacted", "escalated", "resolved", "reopened", "updated"]
SOURCE = "alerting"
DOCUMENTS_TOLD = 1_000
"""Scores of a case that a record lists, so that it stays below the broker's limit whatever joins a case."""
_BY_STATUS: Mapping[str, Change] = {
    "open": "opened",
    "acknowledged": "acknowledged",
    "contacted": "contacted",
    "resolved": "resolved",
    "reopened": "reopened",
}


def name_change(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Change:
    """Name what happened between two versions of a case: its new status first, then an escalation."""
    if before is None or before["status"] != after["status"]:
        return _BY_STATUS[after["status"]]
    if after["escalated_at"] is not None and before["escalated_at"] != after["escalated_at"]:
        return "escalated"
    return "updated"


def summarise(card: Mapping[str, Any]) -> dict[str, Any]:
    """Narrow a context card down to what an alert shows; it holds masked identifiers and no comments."""
    read = ContextCard.model_validate(card)
    metrics: dict[str, Any] = {}
    for score in sorted(read.last_scores, key=lambda score: score.at):
        metrics[score.metric] = score.model_dump(mode="json", exclude={"metric"})
    return {
        "stage": read.stage,
        "last_contacts": [contact.model_dump(mode="json") for contact in read.last_contacts],
        "metrics": metrics,
        "open_tickets": read.open_tickets,
        "signals": list(read.signals),
        "identity": read.identity,
    }


def alert_record(case: Mapping[str, Any], change: Change, reason: str, at: datetime) -> AlertRecord:
    """Make the record of a case's new version. Its id follows from case and version: a repeat is a duplicate."""
    score = case["score"]
    return AlertRecord(
        id=derive_id("alert", case["case_id"], str(case["version"])),
        source=SOURCE,
        time=at,
        case_id=case["case_id"],
        version=case["version"],
        supersedes=tuple(case["supersedes"]),
        change=change,
        at=at,
        status=case["status"],
        severity=case["severity"],
        rule=case["rule"],
        route=case["route"],
        owner=Owner(kind=case["owner_kind"], id=case["owner_id"], name=case["owner_name"]),
        customer_id=case["customer_id"],
        customer_hint=case["customer_hint"],
        score=AlertScore.model_validate(score),
        documents=tuple(case["documents"][-DOCUMENTS_TOLD:]),
        reason=reason,
        due_at=case["due_at"],
        context=case["context"],
        links={"case": f"/v1/cases/{case['case_id']}"},
    )
