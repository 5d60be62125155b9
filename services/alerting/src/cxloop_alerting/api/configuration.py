"""Rules and routes: what is in force, and what an example would lead to."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from cxloop_alerting.api.schemas import Example
from cxloop_alerting.casework import Casework
from cxloop_alerting.domain.configuration import Configuration, Route, Rule
from cxloop_alerting.domain.facts import severity_of
from cxloop_alerting.domain.matchers import Labels
from cxloop_alerting.domain.routing import Tried, find_route
from cxloop_common.database import Database
from cxloop_common.http import require
from cxloop_common.security import Principal, Scope

Reader = Annotated[Principal, Depends(require(Scope.READ))]


def configuration_router(database: Database, casework: Casework, now: Callable[[], datetime]) -> APIRouter:
    """Return the calls about rules and routes."""
    router = APIRouter(prefix="/v1", tags=["configuration"])

    async def in_force() -> Configuration:
        pool = await database.pool()
        async with pool.acquire() as connection, connection.transaction():
            return (await casework.configurations(connection, now())).latest

    @router.get("/rules", summary="The rules in force")
    async def rules(_: Reader) -> dict[str, Any]:
        configuration = await in_force()
        return {
            "digest": configuration.digest,
            "open_within": configuration.open_within.total_seconds(),
            "reopen_within": configuration.reopen_within.total_seconds(),
            "rules": [_show_rule(rule) for rule in configuration.rules],
        }

    @router.get("/routes", summary="The routing tree in force, with everything inherited filled in")
    async def routes(_: Reader) -> dict[str, Any]:
        configuration = await in_force()
        return {
            "digest": configuration.digest,
            "fallback": str(configuration.fallback),
            "people": {person.id: person.name for person in configuration.people.values()},
            "teams": {
                team.id: {"name": team.name, "members": list(team.members), "pick": team.pick}
                for team in configuration.teams.values()
            },
            "root_causes": {name: list(causes) for name, causes in configuration.root_causes.items()},
            "route": _show_route(configuration.route),
        }

    @router.post("/routes/test", summary="Which rules, route and owner an example would get, and why")
    async def test(_: Reader, example: Example) -> dict[str, Any]:
        configuration = await in_force()
        labels = _labels(example)
        return {
            "digest": configuration.digest,
            "rules": [_try_rule(configuration, rule, labels) for rule in configuration.rules],
        }

    return router


def _labels(example: Example) -> Labels:
    labels: dict[str, str | tuple[str, ...]] = dict(example.dimensions)
    labels |= {
        "metric": example.metric,
        "band": example.band,
        "value": f"{example.value:g}",
        "source": example.source,
        "kind": "response",
        "tag": example.tags,
    }
    if example.wants_contact is not None:
        labels["wants_contact"] = "true" if example.wants_contact else "false"
    return labels


def _try_rule(configuration: Configuration, rule: Rule, labels: Labels) -> dict[str, Any]:
    failed = next((matcher for matcher in rule.when if not matcher.matches(labels)), None)
    if failed is not None:
        return {"rule": rule.id, "opens": False, "because": f"{failed} does not hold"}
    hit = next((matcher for matcher in rule.unless if matcher.matches(labels)), None)
    if hit is not None:
        return {"rule": rule.id, "opens": False, "because": f"unless: {hit} holds"}
    severity = severity_of(rule, labels)
    tried: list[Tried] = []
    answer = find_route(configuration, {**labels, "rule": rule.id, "severity": severity}, tried.append)
    return {
        "rule": rule.id,
        "opens": True,
        "severity": severity,
        "route": answer.owner.name,
        "owner": str(answer.owner.owner),
        "copies": [route.name for route in answer.copies],
        "tried": [
            {
                "route": "/".join(step.path),
                "because": "matches" if step.failed is None else f"{step.failed} does not hold",
            }
            for step in tried
        ],
    }


def _show_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "on": "score",
        "when": [str(matcher) for matcher in rule.when],
        "unless": [str(matcher) for matcher in rule.unless],
        "severity": rule.severity,
        "raise": {name: [str(matcher) for matcher in matchers] for name, matchers in rule.raises},
    }


def _show_route(route: Route) -> dict[str, Any]:
    deadlines = {
        name: None if wait is None else wait.total_seconds()
        for name, wait in (
            ("acknowledge", route.deadlines.acknowledge),
            ("contact", route.deadlines.contact),
            ("resolve", route.deadlines.resolve),
        )
    }
    return {
        "name": route.name,
        "match": [str(matcher) for matcher in route.matchers],
        "owner": str(route.owner),
        "deadlines": deadlines,
        "escalation": {
            "action": route.step.action,
            "to": str(route.step.target),
            "wait": route.step.wait.total_seconds(),
        },
        "continue": route.go_on,
        "copy": route.copy,
        "routes": [_show_route(child) for child in route.routes],
    }
