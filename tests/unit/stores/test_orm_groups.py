"""What is looked after in compositions: debts of those who died, members without a group, and what is old."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from django_cluster.core.composing import Membership, Owed, Role, Step
from django_cluster.core.messages import Outcome
from django_cluster.core.settings import ResultSettings
from django_cluster.models import GroupMember, TaskGroup
from django_cluster.stores import orm_groups
from django_cluster.stores.orm import OrmResults
from django_cluster.stores.orm_groups import KEEP, OVERDUE, TAKEN_OVER, GroupBook, Noted
from django_cluster.testing.store_contract import make_outcome

pytestmark = pytest.mark.django_db
GROUP = uuid4().hex


@pytest.fixture
def book() -> GroupBook:
    return OrmResults(ResultSettings(save_limit=0)).groups


def ended(position: int = 0, role: Role = Role.CALL, of: str = GROUP, **options: Any) -> Outcome:
    return make_outcome(id=f"{position:032x}", options={"member": Membership(of, position, role).wire, **options})


def open_group(book: GroupBook, total: int = 1) -> None:
    book.open(GROUP, total, "success", "failure")


def grow_older(by: timedelta) -> None:
    """As if so much time had passed since."""
    for row in GroupMember.objects.all():
        since = row.owed_since - by if row.owed_since else None
        GroupMember.objects.filter(pk=row.pk).update(owed_since=since, noted_at=row.noted_at - by)
    for group in TaskGroup.objects.all():
        TaskGroup.objects.filter(pk=group.pk).update(created_at=group.created_at - by)


def fired(again: bool = False) -> Step:
    return Step(f"{GROUP}#0", Owed.SUCCESS, "success", again=again)


def test_what_was_sent_is_owed_no_longer(book: GroupBook) -> None:
    open_group(book)

    steps, _ = book.note([ended()], debtor="one")
    book.settled(steps)

    assert steps == [fired()]
    assert book.note([ended()], debtor="one") == Noted([])


def test_a_debt_of_our_own_is_paid_when_we_come_again(book: GroupBook) -> None:
    open_group(book)
    book.note([ended()], debtor="one")

    assert book.note([ended()], debtor="one") == Noted([fired(again=True)])


def test_what_another_is_about_to_send_is_waited_for(book: GroupBook) -> None:
    open_group(book)
    book.note([ended()], debtor="one")

    assert book.note([ended()], debtor="two") == Noted([], frozenset([f"{0:032x}"]))


def test_a_debt_is_taken_over_once_when_its_debtor_is_late(book: GroupBook) -> None:
    open_group(book)
    book.note([ended()], debtor="one")
    grow_older(TAKEN_OVER)

    assert book.note([ended()], debtor="two").steps == [fired(again=True)]
    assert book.note([ended()], debtor="three").steps == []


def test_a_debt_that_nobody_comes_back_for_is_found(book: GroupBook) -> None:
    open_group(book)
    book.note([ended()], debtor="one")
    assert book.overdue("two") == []

    grow_older(OVERDUE)

    assert book.overdue("two") == [fired(again=True)]
    assert book.overdue("three") == []


def test_a_member_that_ended_before_its_group_was_there_is_counted_later(book: GroupBook) -> None:
    assert book.note([ended()], debtor="one") == Noted([])
    open_group(book)
    grow_older(OVERDUE)

    assert book.overdue("one") == [fired()]
    assert TaskGroup.objects.get().done == 1
    assert book.overdue("two") == []


def test_a_link_that_is_owed_takes_its_chain_along(book: GroupBook) -> None:
    link = ended(role=Role.LINK, chain=["second", "third"])

    first = book.note([link], debtor="one").steps
    again = book.note([link], debtor="one").steps

    assert first == [Step(f"{GROUP}#0", Owed.NEXT, "second", ("third",))]
    assert again == [Step(f"{GROUP}#0", Owed.NEXT, "second", ("third",), again=True)]


def test_the_same_end_twice_in_one_batch_is_one_end(book: GroupBook) -> None:
    open_group(book, total=2)

    assert book.note([ended(), ended()], debtor="one") == Noted([])
    assert TaskGroup.objects.get().done == 1


def test_what_ended_long_ago_is_forgotten_and_what_is_unfinished_is_kept(
    book: GroupBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orm_groups, "PRUNE_EVERY", 0.0)
    other = uuid4().hex
    open_group(book)
    book.open(other, 2, "", "")
    book.settled(book.note([ended(), ended(of=other)], debtor="one").steps)
    book.prune()
    assert GroupMember.objects.count() == 2

    grow_older(KEEP)
    book.prune()

    assert [row.of for row in GroupMember.objects.all()] == [other]
    assert [group.id for group in TaskGroup.objects.all()] == [other]


def test_a_role_that_a_later_version_has_added_is_passed_over(book: GroupBook) -> None:
    assert book.note([make_outcome(options={"member": (GROUP, 0, "conductor")})], debtor="one") == Noted([])
    assert not GroupMember.objects.exists()
