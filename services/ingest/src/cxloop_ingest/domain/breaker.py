"""A circuit breaker: when Kafka does not answer, one caller finds out and the others are told at once.

Pure: time is an argument, in seconds of any monotonic clock.
"""

from enum import StrEnum


class Admission(StrEnum):
    """Whether a delivery may be handed to Kafka now."""

    CLOSED = "closed"
    """Kafka answers."""
    PROBE = "probe"
    """This one delivery finds out whether Kafka answers again."""
    OPEN = "open"
    """Kafka failed a moment ago."""
    STALLED = "stalled"
    """Others wait for Kafka longer than is normal; their fate decides."""

    @property
    def admitted(self) -> bool:
        """Whether to go on."""
        return self in (Admission.CLOSED, Admission.PROBE)


class Breaker:
    """Every admitted call ends in exactly one of `succeeded`, `failed` and `abandoned`."""

    def __init__(self, *, cooldown_s: float, stall_s: float) -> None:
        self._cooldown_s = cooldown_s
        self._stall_s = stall_s
        self._open_until: float | None = None
        self._probing = False
        self._in_flight = 0
        self._quiet_since = 0.0

    def admit(self, now: float) -> Admission:
        """Decide on one call."""
        if self._open_until is not None:
            if now < self._open_until or self._probing:
                return Admission.OPEN
            self._probing = True
            self._enter(now)
            return Admission.PROBE
        if self._in_flight and now - self._quiet_since > self._stall_s:
            return Admission.STALLED
        self._enter(now)
        return Admission.CLOSED

    def _enter(self, now: float) -> None:
        if self._in_flight == 0:
            self._quiet_since = now
        self._in_flight += 1

    def succeeded(self, now: float) -> None:
        """Kafka acknowledged."""
        self._in_flight -= 1
        self._quiet_since = now
        self._open_until = None
        self._probing = False

    def failed(self, now: float) -> None:
        """Kafka refused or did not answer in time."""
        self._in_flight -= 1
        self._open_until = now + self._cooldown_s
        self._probing = False

    def abandoned(self) -> None:
        """Forget a call whose caller went away before Kafka decided."""
        self._in_flight -= 1
        self._probing = False

    def retry_after_s(self, now: float) -> float:
        """Say in how many seconds trying again makes sense."""
        return self._cooldown_s if self._open_until is None else max(0.0, self._open_until - now)
