import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from cxloop_cli.demo import outcomes
from cxloop_cli.demo.command import CONFIG, SEED
from cxloop_cli.demo.playing import ROUTES, make_secrets
from cxloop_cli.demo.schedule import LATE, TWICE, Scenario, scenario
from cxloop_cli.demo.senders import SOURCES
from cxloop_ingest.configuration import load_sources
from cxloop_ingest.domain.delivery import Delivery
from cxloop_ingest.domain.normalise import normalise

END = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOW = {"nps": 6, "csat": 2, "ces": 3}


@pytest.fixture(scope="module")
def made() -> Scenario:
    return scenario(SEED, END)


def test_it_has_300_webhooks_of_three_senders_over_40_customers(made: Scenario) -> None:
    assert len(made.webhooks) == len({webhook.body for webhook in made.webhooks}) == 300
    assert {webhook.source for webhook in made.webhooks} == set(SOURCES)
    assert len({person.email for person in made.stories.people}) == 40
    assert all(END - timedelta(days=45) <= webhook.at < END for webhook in made.webhooks)


def test_some_are_posted_twice_some_late_many_out_of_order_and_three_are_broken(made: Scenario) -> None:
    counts = Counter(post.body for post in made.posts)
    assert sorted(set(counts.values())) == [1, 2]
    assert sum(count == 2 for count in counts.values()) == TWICE
    assert counts.keys() == {webhook.body for webhook in made.webhooks}
    tail = made.posts[-(LATE + TWICE) :]
    assert sum(post.at < END - timedelta(days=3) for post in tail) >= LATE
    assert made.out_of_order > 100
    assert sorted(webhook.fault for webhook in made.webhooks if webhook.fault is not None) == [
        "broken_json",
        "invalid_utf8",
        "score_out_of_scale",
    ]


def test_the_same_seed_and_end_give_the_same_bytes_in_the_same_order(made: Scenario) -> None:
    assert scenario(SEED, END) == made
    assert scenario(SEED + 1, END).posts != made.posts


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_seed_low_scores_stay_clear_of_the_age_that_opens_no_case(seed: int) -> None:
    told = scenario(seed, END).stories
    assert all(webhook.at < END for webhook in scenario(seed, END).webhooks)
    for answer in told.answers:
        if answer.score <= LOW[answer.metric]:
            assert abs(END - answer.at - timedelta(days=7)) >= timedelta(hours=11)
        # An earlier version that was low could open a case before its correction comes.
        assert answer.before is None or answer.before[1] > LOW[answer.metric]


def test_ingest_reads_each_webhook_as_one_event_and_names_what_is_wrong_with_three(made: Scenario) -> None:
    environ = {f"CXLOOP_SECRET_{name.upper()}": secret for name, secret in make_secrets().items()}
    loaded = load_sources(CONFIG / "sources.yaml", environ)
    assert loaded.problems == ()
    seen: set[str] = set()
    for webhook in made.webhooks:
        delivery = Delivery("d", webhook.source, END, webhook.body, "application/json")
        outcome = normalise(delivery, loaded.sources[webhook.source])
        if webhook.fault is not None:
            assert [problem.reason for problem in outcome.problems] == [webhook.fault]
            continue
        (event,) = outcome.events
        assert event.time == webhook.at
        assert event.identifiers
        seen.add(event.id)
    assert len(seen) == 297


def test_the_first_customer_rates_every_contact_5_and_the_whole_2(made: Scenario) -> None:
    first = made.stories.people[0]
    answers = [(answer.metric, answer.score) for answer in made.stories.answers if answer.person == first]
    assert answers == [("csat", 5), ("csat", 5), ("nps", 2)]
    bodies = [json.loads(webhook.body) for webhook in made.webhooks if webhook.fault is None]
    assert any(body.get("event_data", {}).get("score") == 2 for body in bodies)


def test_the_cases_of_the_demo_need_every_rule_and_every_route(made: Scenario) -> None:
    cases = outcomes.cases(made.stories)
    assert {case.route for case in cases} == set(ROUTES)
    assert {case.rule for case in cases} == {"unhappy-customer", "bad-contact", "hard-checkout"}
