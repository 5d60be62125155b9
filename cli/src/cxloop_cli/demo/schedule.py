"""In what order the webhooks are posted: as networks and retrying senders do, not as things happened."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cxloop_cli.demo.senders import Webhook, webhooks
from cxloop_cli.demo.stories import Stories
from cxloop_cli.demo.telling import stories as tell

TWICE: Final = 12
LATE: Final = 9
_LATE_BY: Final = timedelta(days=3)
_NEIGHBOURHOOD: Final = 6


@dataclass(frozen=True)
class Scenario:
    """The stories, their webhooks, and the order in which those are posted."""

    stories: Stories
    webhooks: tuple[Webhook, ...]
    """Each once, in order of time."""
    posts: tuple[Webhook, ...]
    """As they are posted: some twice, some late, many out of order."""

    @property
    def out_of_order(self) -> int:
        """How many posts tell of something earlier than a post before them does."""
        count = 0
        latest = datetime.min.replace(tzinfo=self.stories.end.tzinfo)
        for post in self.posts:
            count += post.at < latest
            latest = max(latest, post.at)
        return count


def scenario(seed: int, end: datetime) -> Scenario:
    """Make the scenario of a seed that ends at `end`."""
    stories = tell(seed, end)
    written = tuple(webhooks(stories))
    return Scenario(stories, written, tuple(_posts(written, random.Random(seed), end)))  # noqa: S311  # no secret


def _posts(written: Sequence[Webhook], chance: random.Random, end: datetime) -> list[Webhook]:
    good = [webhook for webhook in written if webhook.fault is None]
    old = [webhook for webhook in good if webhook.at < end - _LATE_BY]
    late = chance.sample(old, LATE)
    order = [webhook for webhook in written if webhook not in late]
    for start in range(0, len(order), _NEIGHBOURHOOD):
        near = order[start : start + _NEIGHBOURHOOD]
        chance.shuffle(near)
        order[start : start + _NEIGHBOURHOOD] = near
    order += late
    for webhook in chance.sample(good, TWICE):
        order.insert(chance.randint(order.index(webhook) + 1, len(order)), webhook)
    return order
