"""Clocks of senders that contradict themselves: what is noticed, and what it is called."""

from enum import StrEnum


class ClockAnomaly(StrEnum):
    """What cannot have happened in the order in which a sender dates it.

    Such a document counts all the same: a duration that would be negative is 0.
    """

    SOLVED_BEFORE_CREATED = "solved_before_created"
    EVENT_BEFORE_CREATION = "event_before_creation"
    """Anything else of a ticket is dated before its creation."""
    ANSWERED_BEFORE_SENT = "answered_before_sent"
