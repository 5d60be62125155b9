"""The routing tree: which routes a case answers to, and which of them owns it.

Depth first; the first matching child wins unless it says `continue`; the deepest match answers. These are
Alertmanager's semantics, and the tests hold vectors made with its own tool.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cxloop_alerting.domain.configuration import Configuration, Route
from cxloop_alerting.domain.matchers import Labels, Matcher


@dataclass(frozen=True, slots=True)
class Tried:
    """One node that was looked at; `failed` is the first matcher that refused, None where it matched."""

    path: tuple[str, ...]
    failed: Matcher | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a case goes: the route that owns it, and those that get a copy."""

    owner: Route
    copies: tuple[Route, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Route names, the owner's first, each once."""
        return tuple(dict.fromkeys((self.owner.name, *(route.name for route in self.copies))))


def matching(
    route: Route,
    labels: Labels,
    tell: Callable[[Tried], None] | None = None,
    above: tuple[str, ...] = (),
) -> list[Route] | None:
    """Return the answering routes in the tree's order; None if `route` itself does not match.

    A route that is reached twice stands twice. `tell` hears of each node that was tried.
    """
    path = (*above, route.name)
    failed = next((matcher for matcher in route.matchers if not matcher.matches(labels)), None)
    if tell is not None:
        tell(Tried(path, failed))
    if failed is not None:
        return None
    found: list[Route] = []
    for child in route.routes:
        below = matching(child, labels, tell, path)
        if below is None:
            continue
        found += below
        if not child.go_on:
            break
    return found or [route]


def find_route(
    configuration: Configuration, labels: Labels, tell: Callable[[Tried], None] | None = None
) -> Answer:
    """Route labels: the first answer without `copy` owns, the others are told.

    Where only copies answer, the root owns: a copy never takes a case away from everybody.
    """
    found = matching(configuration.route, labels, tell) or []
    owner = next((route for route in found if not route.copy), configuration.route)
    return Answer(owner, tuple(route for route in found if route is not owner))
