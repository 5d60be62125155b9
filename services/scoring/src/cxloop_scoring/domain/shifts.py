"""Shifts: when a change of a metric is news, told once."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cxloop_scoring.domain.comparing import Difference
from cxloop_scoring.domain.statistics import ALPHA

LEAST_N: Final = 30
"""Observations that both windows need."""
SETTLED_AFTER: Final = 86_400_000_000
"""Microseconds for which every look must have found no difference before the next one is news: a day."""


class Heading(StrEnum):
    """Where a metric went."""

    UP = "up"
    DOWN = "down"


class Reason(StrEnum):
    """Why a look announced a shift, or why not."""

    SHIFTED = "shifted"
    """The corrected difference excludes 0, and this was not known: announced."""
    TURNED = "turned"
    """The same in the other direction than was announced last: announced."""
    KNOWN = "known"
    """The shift that was announced still stands."""
    SETTLING = "settling"
    """The difference may be 0 again, or is not proven any more, but not for long enough yet."""
    SETTLED = "settled"
    """No difference was seen for a day: the next one will be news."""
    WITHIN_NOISE = "within_noise"
    """The difference may be 0."""
    TOO_FEW = "too_few"
    """Fewer than 30 observations in one of the windows: nothing is concluded, nothing changes."""
    STALE = "stale"
    """A look that is not later than the last one."""


ANNOUNCING: Final = frozenset((Reason.SHIFTED, Reason.TURNED))
"""Reasons with which a shift is announced."""


@dataclass(frozen=True, slots=True)
class ShiftState:
    """What is known of one metric and segment between two looks; times in microseconds since 1970."""

    looked_at: int | None = None
    announced: Heading | None = None
    """The shift that stands; None while any difference would be news."""
    announced_at: int | None = None
    quiet_since: int | None = None
    """First of the looks in a row that included 0; None where the last one did not."""
    announcements: int = 0
    """How many there were: numbers them, so that a repeated one has the same id."""


def heading(difference: Difference, least_n: int = LEAST_N) -> Heading | None:
    """Tell where a difference goes that is proven: corrected, and with enough observations on both sides."""
    p = difference.p_value if difference.q_value is None else difference.q_value
    if min(difference.n, difference.n_then) < least_n or p is None or p >= ALPHA:
        return None
    if not difference.excludes_zero or difference.difference is None:
        return None
    return Heading.UP if (difference.ci_low or 0.0) > 0 else Heading.DOWN


def _quiet(state: ShiftState, at: int) -> tuple[ShiftState, Reason]:
    """Judge a look whose interval included 0."""
    since = at if state.quiet_since is None else state.quiet_since
    if state.announced is None:
        return replace(state, looked_at=at, quiet_since=since), Reason.WITHIN_NOISE
    if at - since < SETTLED_AFTER:
        return replace(state, looked_at=at, quiet_since=since), Reason.SETTLING
    return replace(state, looked_at=at, quiet_since=since, announced=None), Reason.SETTLED


def look(
    state: ShiftState, difference: Difference, at: int, least_n: int = LEAST_N
) -> tuple[ShiftState, Reason]:
    """Judge one look at a difference between a window and the one before it.

    A shift is announced where the interval excludes 0, q is below 0.05 and both windows have `least_n`
    observations; then not again before every look for a day has included 0, or until it turns round. A
    difference that hovers at the border is therefore announced once. Looks may come again, or late: those
    that are not later than the last one change nothing, so state and announcements are a function of the
    looks in order of their time.
    """
    if state.looked_at is not None and at <= state.looked_at:
        return state, Reason.STALE
    if min(difference.n, difference.n_then) < least_n:
        return replace(state, looked_at=at), Reason.TOO_FEW
    found = heading(difference, least_n)
    if found is None:
        if difference.excludes_zero:
            # Not proven, but not gone either: it neither opens a shift nor lets one settle.
            reason = Reason.WITHIN_NOISE if state.announced is None else Reason.SETTLING
            return replace(state, looked_at=at, quiet_since=None), reason
        return _quiet(state, at)
    if found is state.announced:
        return replace(state, looked_at=at, quiet_since=None), Reason.KNOWN
    reason = Reason.SHIFTED if state.announced is None else Reason.TURNED
    return ShiftState(at, found, at, None, state.announcements + 1), reason
