"""What happens in the scenario, as plain facts: people, tickets, answers and visits.

The senders' bodies are written from these, and the expected figures are computed from these; neither knows
of the other.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Author = Literal["customer", "agent", "bot"]
Metric = Literal["nps", "csat", "ces"]
Status = Literal["open", "pending", "solved"]


@dataclass(frozen=True, slots=True)
class Person:
    """A customer as each sender knows them; only the shop knows more than one of the ids."""

    name: str
    email: str
    user: str
    """Id of the shop's account."""
    requester: str
    """Id at Zendesk."""
    respondent: str
    """Id at Delighted."""
    segment: Literal["business", "consumer"]


@dataclass(frozen=True, slots=True)
class Message:
    """Somebody wrote on a ticket."""

    at: datetime
    author: Author
    public: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """A ticket's status changed."""

    at: datetime
    status: Status


@dataclass(frozen=True, slots=True)
class Assignment:
    """A ticket went to an agent."""

    at: datetime
    agent: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket and all that happened to it, in order of time."""

    id: str
    person: Person
    opened_at: datetime
    opened_by: Literal["customer", "agent"]
    channel: str
    team: str
    subject: str
    steps: tuple[Message | Turn | Assignment, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a survey. `before` is what the customer had said first, where they changed their mind."""

    id: str
    person: Person
    metric: Metric
    score: int
    at: datetime
    comment: str = ""
    ticket: str | None = None
    wants_contact: bool = False
    before: tuple[datetime, int] | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """Any other contact, told by the shop."""

    id: str
    person: Person
    touchpoint: Literal["purchase", "delivery", "usage", "renewal", "cancellation"]
    at: datetime
    amount: float | None = None
    """In euros."""


@dataclass(frozen=True, slots=True)
class Stories:
    """All of it. `people[0]` is the customer whose journey is shown."""

    end: datetime
    """End of the 30 days; nothing happens at or after it."""
    people: tuple[Person, ...]
    tickets: tuple[Ticket, ...]
    answers: tuple[Answer, ...]
    visits: tuple[Visit, ...]
