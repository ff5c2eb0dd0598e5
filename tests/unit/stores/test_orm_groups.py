"""What is looked after in compositions: debts of those who died, members without a group, and what is old."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from django_cluster.core.compositions import CLAIM_EXPIRES_AFTER, MemberRole, Membership, NextSteps, PendingStep, Step
from django_cluster.core.messages import Outcome
from django_cluster.core.settings import ResultSettings
from django_cluster.models import GroupMember, TaskGroup
from django_cluster.stores import orm_groups
from django_cluster.stores.orm import OrmResults
from django_cluster.stores.orm_groups import KEEP_ENDED_FOR, OVERDUE_AFTER, OrmGroups
from django_cluster.testing.outcomes import make_outcome

pytestmark = pytest.mark.django_db
GROUP = uuid4().hex


@pytest.fixture
def groups() -> OrmGroups:
    return OrmResults(ResultSettings(save_limit=0)).groups


def ended(position: int = 0, role: MemberRole = MemberRole.CALL, of: str = GROUP, **options: Any) -> Outcome:
    return make_outcome(id=f"{position:032x}", options={"member": Membership(of, position, role).wire, **options})


def open_group(groups: OrmGroups, total: int = 1) -> None:
    groups.create(GROUP, total, "success", "failure")


def grow_older(by: timedelta) -> None:
    """As if so much time had passed since."""
    for row in GroupMember.objects.all():
        since = row.claimed_at - by if row.claimed_at else None
        GroupMember.objects.filter(pk=row.pk).update(claimed_at=since, noted_at=row.noted_at - by)
    for group in TaskGroup.objects.all():
        TaskGroup.objects.filter(pk=group.pk).update(created_at=group.created_at - by)


def fired(again: bool = False) -> Step:
    return Step(f"{GROUP}#0", PendingStep.SUCCESS, "success", again=again)


def test_a_sent_step_is_not_returned_again(groups: OrmGroups) -> None:
    open_group(groups)

    steps, _ = groups.record_ends([ended()], claimed_by="one")
    groups.mark_sent(steps)

    assert steps == [fired()]
    assert groups.record_ends([ended()], claimed_by="one") == NextSteps([])


def test_a_step_that_the_same_recorder_claimed_is_returned_again(groups: OrmGroups) -> None:
    open_group(groups)
    groups.record_ends([ended()], claimed_by="one")

    assert groups.record_ends([ended()], claimed_by="one") == NextSteps([fired(again=True)])


def test_a_step_that_another_recorder_claimed_makes_the_message_wait(groups: OrmGroups) -> None:
    open_group(groups)
    groups.record_ends([ended()], claimed_by="one")

    assert groups.record_ends([ended()], claimed_by="two") == NextSteps([], frozenset([f"{0:032x}"]))


def test_an_expired_claim_is_taken_over_once(groups: OrmGroups) -> None:
    open_group(groups)
    groups.record_ends([ended()], claimed_by="one")
    grow_older(CLAIM_EXPIRES_AFTER)

    assert groups.record_ends([ended()], claimed_by="two").steps == [fired(again=True)]
    assert groups.record_ends([ended()], claimed_by="three").steps == []


def test_an_overdue_step_is_claimed(groups: OrmGroups) -> None:
    open_group(groups)
    groups.record_ends([ended()], claimed_by="one")
    assert groups.claim_overdue("two") == []

    grow_older(OVERDUE_AFTER)

    assert groups.claim_overdue("two") == [fired(again=True)]
    assert groups.claim_overdue("three") == []


def test_a_member_that_ended_before_its_group_was_there_is_counted_later(groups: OrmGroups) -> None:
    assert groups.record_ends([ended()], claimed_by="one") == NextSteps([])
    open_group(groups)
    grow_older(OVERDUE_AFTER)

    assert groups.claim_overdue("one") == [fired()]
    assert TaskGroup.objects.get().done == 1
    assert groups.claim_overdue("two") == []


def test_a_pending_link_takes_its_chain_along(groups: OrmGroups) -> None:
    link = ended(role=MemberRole.LINK, chain=["second", "third"])

    first = groups.record_ends([link], claimed_by="one").steps
    again = groups.record_ends([link], claimed_by="one").steps

    assert first == [Step(f"{GROUP}#0", PendingStep.NEXT, "second", ("third",))]
    assert again == [Step(f"{GROUP}#0", PendingStep.NEXT, "second", ("third",), again=True)]


def test_the_same_end_twice_in_one_batch_is_one_end(groups: OrmGroups) -> None:
    open_group(groups, total=2)

    assert groups.record_ends([ended(), ended()], claimed_by="one") == NextSteps([])
    assert TaskGroup.objects.get().done == 1


def test_what_ended_long_ago_is_forgotten_and_what_is_unfinished_is_kept(
    groups: OrmGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orm_groups, "PRUNE_INTERVAL_SECONDS", 0.0)
    other = uuid4().hex
    open_group(groups)
    groups.create(other, 2, "", "")
    groups.mark_sent(groups.record_ends([ended(), ended(of=other)], claimed_by="one").steps)
    groups.prune()
    assert GroupMember.objects.count() == 2

    grow_older(KEEP_ENDED_FOR)
    groups.prune()

    assert [row.of for row in GroupMember.objects.all()] == [other]
    assert [group.id for group in TaskGroup.objects.all()] == [other]


def test_a_role_that_a_later_version_has_added_is_passed_over(groups: OrmGroups) -> None:
    assert groups.record_ends(
        [make_outcome(options={"member": (GROUP, 0, "conductor")})], claimed_by="one"
    ) == NextSteps([])
    assert not GroupMember.objects.exists()
