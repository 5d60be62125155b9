"""Making up the scenario: a pure function of a seed and the end of its 30 days."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cxloop_cli.demo.stories import (
    Answer,
    Assignment,
    Message,
    Metric,
    Person,
    Stories,
    Ticket,
    Turn,
    Visit,
)

PEOPLE: Final = 40
HAPPENINGS: Final = 297
"""Webhooks that all of it makes; three broken ones come on top."""

_FIRST: Final = (
    *("Nora", "Ida", "Tom", "Ana", "Max", "Lia", "Jon", "Eva", "Ole", "Mai"),
    *("Finn", "Zoe", "Paul", "Ruth", "Sven", "Vera", "Hugo", "Clara", "Emil", "Greta"),
)
_LAST: Final = ("Lind", "Moreau", "Brandt", "Okoye", "Silva", "Haas", "Novak", "Weber")
_CHANNELS: Final = ("web_form", "mail", "native_messaging", "phone_call_inbound")
_TEAMS: Final = ("devices", "billing")
_AGENTS: Final = {"devices": ("7101", "7102"), "billing": ("7201",)}
_SUBJECTS: Final = {
    "devices": ("Device will not pair", "Battery drains over night", "App does not find the device"),
    "billing": ("Charged twice", "Where is my invoice", "Change of payment"),
}
_COMMENTS: Final = {
    "low": (
        "Nobody could tell me why, terrible.",
        "I had to ask three times, very annoying.",
        "Bad, and still not fixed.",
    ),
    "middle": ("Fine, mostly.", "It took a while."),
    "high": ("Quick and kind.", "Exactly what I needed, great.", "Would buy again, thanks."),
}
_NPS: Final = (9, 10, 9, 8, 10, 7, 9, 10, 6, 9, 8, 10, 9, 3, 10, 9, 7)
_CSAT: Final = (5, 4, 5, 5, 3, 5, 4, 2, 5, 4)
_CES: Final = (6, 7, 5, 6, 4, 7, 6, 2, 5, 7)
_LEAVING: Final = (5, 20)
"""People who cancel within the last day or two."""
_RECENT: Final = timedelta(days=7)
"""A low score older than this opens no case; the scenario stays half a day away from the edge."""


def stories(seed: int, end: datetime) -> Stories:
    """Tell the scenario that ends at `end`."""
    teller = _Teller(random.Random(seed), end)  # noqa: S311  # a scenario, not a secret
    return teller.tell()


class _Teller:
    def __init__(self, chance: random.Random, end: datetime) -> None:
        self._chance = chance
        self._end = end
        self._people = _people(chance)
        self._tickets: list[Ticket] = []
        self._answers: list[Answer] = []
        self._visits: list[Visit] = []

    def tell(self) -> Stories:
        self._tell_of_the_quiet_customer()
        for number in range(1, PEOPLE):
            # Most were customers before the 30 days began: who stays can only be told of those.
            old = number % 3 != 0
            self._purchase(self._people[number], self._days_ago(33, 45) if old else self._days_ago(21, 29))
        for number in _LEAVING:
            self._visits.append(
                Visit(f"end_{number:04}", self._people[number], "cancellation", self._ago(hours=2 + number))
            )
        for number in range(1, 22):
            self._contact(self._people[number], number)
        for number in range(1, 35):
            self._answer_nps(self._people[number], number)
        for number in range(1, 31):
            self._answer_ces(self._people[number], number)
        self._tell_twice_of_one_customer()
        self._fill_with_visits()
        return Stories(
            self._end,
            tuple(self._people),
            tuple(self._tickets),
            tuple(self._answers),
            tuple(self._visits),
        )

    # One customer is told by hand: every contact rated 5 of 5, and then a 2 for the whole.

    def _tell_of_the_quiet_customer(self) -> None:
        nora = self._people[0]
        self._purchase(nora, self._ago(days=24, hours=3), amount=480.0)
        self._visits.append(Visit("del_0001", nora, "delivery", self._ago(days=21, hours=6)))
        for ticket_id, days in (("4801", 9.0), ("4802", 4.0)):
            at = self._ago(days=days)
            steps = (
                Assignment(at + timedelta(minutes=3), "7101"),
                Message(at + timedelta(minutes=5), "agent", public=False),
                Message(at + timedelta(minutes=9), "agent"),
                Message(at + timedelta(minutes=40), "customer"),
                Message(at + timedelta(minutes=52), "agent"),
                Turn(at + timedelta(hours=2), "solved"),
            )
            self._tickets.append(
                Ticket(
                    ticket_id,
                    nora,
                    at,
                    "customer",
                    "native_messaging",
                    "devices",
                    _SUBJECTS["devices"][0],
                    steps,
                )
            )
            rated_at = at + timedelta(hours=3)
            self._answers.append(
                Answer(self._next("9"), nora, "csat", 5, rated_at, "Quick and kind.", ticket_id)
            )
        self._answers.append(
            Answer(
                self._next("9"), nora, "nps", 2, self._ago(hours=20), "All very kind. It still does not pair."
            )
        )

    def _tell_twice_of_one_customer(self) -> None:
        """Give one customer two low scores within the week: they make one case."""
        person = self._people[36]
        for hours, score in ((90, 2), (30, 1)):
            at = self._ago(hours=hours)
            ticket_id = str(4900 + len(self._tickets))
            steps = (
                Assignment(at + timedelta(minutes=10), "7201"),
                Message(at + timedelta(hours=2), "agent"),
                Turn(at + timedelta(hours=3), "solved"),
            )
            subject = _SUBJECTS["billing"][0]
            self._tickets.append(Ticket(ticket_id, person, at, "customer", "mail", "billing", subject, steps))
            self._answers.append(
                Answer(
                    self._next("9"),
                    person,
                    "csat",
                    score,
                    at + timedelta(hours=5),
                    _COMMENTS["low"][1],
                    ticket_id,
                )
            )

    # The others

    def _contact(self, person: Person, number: int) -> None:
        opened_at = self._days_ago(1, 20)
        team = _TEAMS[number % 2]
        agent = self._chance.choice(_AGENTS[team])
        by_agent = number % 10 == 4  # noqa: PLR2004  # two of the tickets
        steps: list[Message | Turn | Assignment] = [Assignment(opened_at + self._minutes(2, 20), agent)]
        if number % 3 == 0:  # a bot's greeting answers nobody
            steps.append(Message(opened_at + timedelta(seconds=30), "bot"))
        if number % 4 == 1:  # and a private note stops no clock
            steps.append(Message(steps[0].at + self._minutes(1, 3), "agent", public=False))
        replied_at = max(step.at for step in steps) + self._minutes(4, 180)
        steps.append(Message(replied_at, "agent"))
        if number % 6 == 2:  # noqa: PLR2004  # three of them change hands
            steps.append(Assignment(replied_at + self._minutes(1, 15), "7301"))
        if number % 7 != 0:
            solved_at = replied_at + self._minutes(20, 600)
            steps.append(Turn(solved_at, "solved"))
            if number % 5 == 0:
                again = solved_at + self._minutes(30, 240)
                steps += [Message(again, "customer"), Turn(again, "open")]
                steps.append(Turn(again + self._minutes(30, 200), "solved"))
        ticket_id = str(4900 + len(self._tickets))
        ticket = Ticket(
            ticket_id,
            person,
            opened_at,
            "agent" if by_agent else "customer",
            self._chance.choice(_CHANNELS),
            team,
            self._chance.choice(_SUBJECTS[team]),
            tuple(step for step in sorted(steps, key=_when) if step.at < self._end),
        )
        self._tickets.append(ticket)
        solved = [step.at for step in ticket.steps if isinstance(step, Turn) and step.status == "solved"]
        if solved and number % 6 != 0:
            score = _CSAT[number % len(_CSAT)]
            at = self._clear_of_the_edge(solved[-1] + self._minutes(20, 300), score <= 2)  # noqa: PLR2004  # of 5
            self._answers.append(self._answer(person, "csat", score, at, ticket_id))

    def _answer_nps(self, person: Person, number: int) -> None:
        score = _NPS[number % len(_NPS)]
        at = self._clear_of_the_edge(self._days_ago(0.2, 19), score <= 6)  # noqa: PLR2004  # detractors
        answer = self._answer(person, "nps", score, at)
        if number % 16 == 2:  # noqa: PLR2004  # three of them: a second thought: what was said first no longer counts
            first = (at - self._minutes(5, 50), max(7, score - 2))
            answer = Answer(answer.id, person, "nps", score, at, answer.comment, before=first)
        self._answers.append(answer)

    def _answer_ces(self, person: Person, number: int) -> None:
        score = _CES[number % len(_CES)]
        at = self._clear_of_the_edge(self._days_ago(0.2, 20), score <= 3)  # noqa: PLR2004  # of 7
        answer = self._answer(person, "ces", score, at)
        wants = score <= 3 and number % 20 == 7  # noqa: PLR2004  # one of the low ones
        self._answers.append(Answer(answer.id, person, "ces", score, at, answer.comment, wants_contact=wants))

    def _answer(
        self, person: Person, metric: Metric, score: int, at: datetime, ticket: str | None = None
    ) -> Answer:
        middle = {"nps": (7, 8), "csat": (3, 3), "ces": (4, 4)}[metric]
        band = "low" if score < middle[0] else "middle" if score <= middle[1] else "high"
        comment = self._chance.choice(_COMMENTS[band])
        return Answer(self._next("9"), person, metric, score, at, comment, ticket)

    def _purchase(self, person: Person, at: datetime, amount: float | None = None) -> None:
        amount = amount if amount is not None else self._chance.randint(19, 299) + 0.9
        self._visits.append(Visit(f"ord_{len(self._visits):04}", person, "purchase", at, amount))

    def _fill_with_visits(self) -> None:
        """Add visits until the scenario has its number of webhooks."""
        made = len(self._visits) + sum(2 if answer.before else 1 for answer in self._answers)
        made += sum(1 + len(ticket.steps) for ticket in self._tickets)
        for number in range(HAPPENINGS - made):
            person = self._people[1 + number % (PEOPLE - 1)]
            id_ = f"evt_{number:04}"
            if number < PEOPLE // 2:
                self._visits.append(Visit(id_, person, "delivery", self._days_ago(17, 20.9)))
            elif number % 4 == 0:
                amount = self._chance.randint(9, 29) + 0.5
                self._visits.append(Visit(id_, person, "renewal", self._days_ago(0.1, 16), amount))
            else:
                self._visits.append(Visit(id_, person, "usage", self._days_ago(0.1, 16)))

    # Time and chance

    def _next(self, head: str) -> str:
        return f"{head}{len(self._answers):05}"

    def _ago(self, **span: float) -> datetime:
        return self._end - timedelta(**span)

    def _days_ago(self, least: float, most: float) -> datetime:
        return self._end - timedelta(seconds=round(self._chance.uniform(least, most) * 86_400))

    def _minutes(self, least: int, most: int) -> timedelta:
        return timedelta(seconds=self._chance.randint(least * 60, most * 60))

    def _clear_of_the_edge(self, at: datetime, is_low: bool) -> datetime:  # noqa: FBT001  # a plain yes or no
        """Move a low score away from the age at which it would open a case or not, and all before the end."""
        edge = self._end - _RECENT
        if is_low and abs(at - edge) < timedelta(hours=12):
            at = edge - timedelta(hours=12)
        return min(at, self._end - timedelta(minutes=1))


def _when(step: Message | Turn | Assignment) -> datetime:
    return step.at


def _people(chance: random.Random) -> Sequence[Person]:
    people: list[Person] = []
    for number in range(PEOPLE):
        first, last = _FIRST[number % len(_FIRST)], _LAST[(number * 3 + number // len(_FIRST)) % len(_LAST)]
        people.append(
            Person(
                name=f"{first} {last}",
                email=f"{first.lower()}.{last.lower()}{number or ''}@example.com",
                user=f"u-{1000 + number}",
                requester=str(36_040_000 + number * 13),
                respondent=str(551_000 + number * 7),
                segment="business" if number == 0 or chance.random() < 0.2 else "consumer",  # noqa: PLR2004  # a fifth
            )
        )
    return people
