"""Stories on a fake clock; each is checked again with every event doubled and shuffled."""

from datetime import timedelta
from typing import Any

import pytest

from cxloop_alerting.api.schemas import Acknowledge, Contact, Resolve
from cxloop_alerting.domain.facts import ActionKind
from cxloop_common.http import Problem
from cxloop_common.security import Principal, Scope

Story = Any
"""The fixture of conftest.py."""


async def test_a_case_nobody_acknowledges_is_handed_over_at_its_deadline_and_once(story: Story) -> None:
    await story.response("Mon 09:00", csat=1)
    await story.expect("Mon 09:00", "opened", owner="ana", due_at="2026-03-02T10:00:00Z")
    await story.expect_nothing(until="Mon 09:59")
    await story.expect("Mon 10:00", "escalated", owner="lea", reason="acknowledge_overdue")
    await story.expect_nothing(until="Fri 10:00")
    await story.check()


async def test_an_acknowledged_case_does_not_escalate(story: Story) -> None:
    await story.response("Mon 09:00", csat=1)
    await story.act("Mon 09:30", "acknowledge")
    await story.expect("Mon 09:30", "opened", "acknowledged", due_at="2026-03-02T13:00:00Z")
    await story.expect_nothing(until="Fri 10:00")
    await story.check()


async def test_the_deadline_of_a_late_response_runs_from_when_it_was_first_seen(story: Story) -> None:
    await story.response("Mon 09:00", csat=1, met="Wed 15:00")
    await story.expect("Wed 15:00", "opened", due_at="2026-03-04T16:00:00Z")
    await story.expect_nothing(until="Wed 15:59")
    await story.expect("Wed 16:00", "escalated")
    await story.check()


async def test_a_score_edited_upwards_closes_its_case_and_its_deadline(story: Story) -> None:
    number = await story.response("Mon 09:00", csat=1)
    await story.response("Mon 09:00", csat=5, met="Mon 09:20", number=number, revision=2)
    await story.expect("Mon 09:20", "opened", "resolved", reason="score_revised", status="resolved")
    await story.expect_nothing(until="Fri 10:00")
    await story.check()


async def test_a_score_edited_upwards_after_contact_leaves_the_case_to_its_owner(story: Story) -> None:
    number = await story.response("Mon 09:00", csat=1)
    await story.act("Mon 09:10", "contact")
    await story.response("Mon 09:00", csat=5, met="Mon 09:20", number=number, revision=2)
    await story.expect("Mon 09:20", "opened", "contacted", "updated", status="contacted")
    await story.check()


async def test_a_low_score_soon_after_a_closing_reopens_and_gives_its_owner_new_time(story: Story) -> None:
    await story.response("Mon 09:00", csat=1)
    await story.act("Mon 09:30", "resolve")
    await story.expect("Mon 09:30", "opened", "resolved")
    await story.response("Wed 09:00", csat=2)
    await story.expect("Wed 09:00", "reopened", reason="low_after_closing", due_at="2026-03-04T10:00:00Z")
    await story.expect("Wed 10:00", "escalated", owner="lea")
    await story.check()


async def test_a_low_score_long_after_a_closing_opens_a_case_of_its_own(story: Story) -> None:
    await story.response("Mon 09:00", csat=1)
    await story.act("Mon 09:30", "resolve")
    await story.response("+2w Tue 09:00", csat=2)
    await story.expect("+2w Tue 09:00", "opened", "resolved", "opened", version=1)
    await story.check()


async def test_a_late_low_score_that_a_closing_did_not_know_of_reopens_it(story: Story) -> None:
    await story.response("Mon 09:00", csat=1)
    await story.act("Mon 12:00", "resolve")
    await story.expect("Mon 12:00", "opened", "escalated", "resolved")
    await story.response("Mon 11:00", csat=1, met="Mon 15:00")
    await story.expect("Mon 15:00", "reopened", reason="late_trigger", due_at="2026-03-02T16:00:00Z")
    await story.expect("Mon 16:00", "escalated")
    await story.check()


async def test_a_late_low_score_from_before_the_contact_changes_no_closing(story: Story) -> None:
    await story.response("Mon 09:00", csat=1)
    await story.act("Mon 12:00", "contact", Contact())
    await story.act("Mon 12:30", "resolve", Resolve(root_cause="price"))
    await story.expect("Mon 12:30", "opened", "escalated", "contacted", "resolved")
    await story.response("Mon 11:00", csat=1, met="Mon 15:00")
    await story.expect("Mon 15:00", "updated", status="resolved")
    await story.check()


async def test_a_first_trigger_that_comes_late_renames_the_case_and_keeps_what_people_did(
    story: Story,
) -> None:
    await story.response("Mon 11:00", csat=1)
    await story.act("Mon 11:10", "acknowledge")
    [before] = await story.alerting.rows()
    await story.response("Mon 08:00", csat=1, met="Mon 11:30")
    [after] = await story.alerting.rows()
    assert before.case_id != after.case_id
    assert (after.supersedes, after.status) == ([before.case_id], "acknowledged")
    assert after.version == before.version + 1
    await story.check()


async def test_a_deadline_is_not_pushed_out_by_a_late_first_trigger(story: Story) -> None:
    await story.response("Mon 11:00", csat=1)
    await story.response("Mon 08:00", csat=1, met="Mon 11:30")
    await story.expect("Mon 11:30", "opened", "updated", due_at="2026-03-02T12:00:00Z")
    await story.expect("Mon 12:00", "escalated")
    await story.check()


async def test_after_a_handover_only_those_who_work_the_case_may_act_as_themselves(story: Story) -> None:
    await story.response("Mon 09:00", csat=1)
    await story.alerting.advance(story.alerting.clock + timedelta(hours=2))
    [row] = await story.alerting.rows()
    desk = story.alerting.desk

    def as_person(name: str) -> Principal:
        return Principal(name, frozenset({Scope.OPERATE}))

    call = {"if_match": None, "key": None}
    with pytest.raises(Problem) as refused:
        await desk.act(row.case_id, ActionKind.ACKNOWLEDGE, Acknowledge(), caller=as_person("ben"), **call)
    assert refused.value.status == 403
    view = await desk.act(row.case_id, ActionKind.ACKNOWLEDGE, Acknowledge(), caller=as_person("lea"), **call)
    assert view.status == "acknowledged"


async def test_a_case_that_two_customers_shared_by_mistake_comes_apart_again(
    story: Story, make_link: Any
) -> None:
    await story.response("Mon 09:00", csat=1, hint="email:a@x.org")
    await story.response("Mon 09:01", csat=1, hint="email:b@x.org")
    apart = {row.case_id for row in await story.alerting.rows()}
    await story.alerting.deliver(make_link("c1", 1, "email:a@x.org", "email:b@x.org"))
    [merged] = await story.alerting.rows()
    await story.alerting.deliver(make_link("c2", 2, "email:b@x.org"))
    rows = {row.case_id: row for row in await story.alerting.rows()}
    assert set(rows) == apart
    assert {row.customer_id for row in rows.values()} == {"c1", "c2"}
    returned = next(row for row in rows.values() if row.customer_id == "c2")
    assert returned.version > 1, "its readers have seen version 1 already"
    assert merged.case_id in rows
    await story.check()


async def test_the_context_is_told_once_when_it_becomes_known(story: Story, make_link: Any) -> None:
    await story.response("Mon 09:00", csat=1, hint="email:a@x.org")
    await story.expect("Mon 09:00", "opened", customer_id=None, context={})
    await story.alerting.deliver(make_link("c1", 1, "email:a@x.org"))
    await story.expect("Mon 09:00", "updated", customer_id="c1", context={}, reason="context")
    await story.alerting.deliver(make_link("c1", 2, card=True))
    await story.alerting.deliver(make_link("c1", 3, card=True))
    records = await story.alerting.announced()
    assert [(record["change"], record["context"]["stage"]) for record in records] == [("updated", "use")]
    await story.check()
