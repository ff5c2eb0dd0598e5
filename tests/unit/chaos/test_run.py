"""What a run may hit."""

from __future__ import annotations

from django_cluster.chaos.pausing import Pausing
from django_cluster.chaos.plan import CREW, Target
from django_cluster.chaos.run import Wishes


def test_without_further_wishes_the_crew_is_hit_and_nobody_else() -> None:
    assert Wishes().targets(scheduler=True) == set(CREW)


def test_a_scheduler_that_is_switched_off_cannot_be_hit() -> None:
    assert Target.SCHEDULER not in Wishes().targets(scheduler=False)


def test_sentinel_and_server_are_hit_where_that_was_asked_for() -> None:
    wishes = Wishes(sentinel=True, pausing=Pausing(pid=1))

    assert wishes.targets(scheduler=True) == set(Target)


def test_the_faults_can_be_confined() -> None:
    assert Wishes(only=("pusher", "sentinel")).targets(scheduler=True) == {Target.PUSHER}


def test_no_pause_outlasts_what_is_left_of_a_lease() -> None:
    wishes = Wishes(lease=9.0)

    assert wishes.longest_pause <= wishes.lease / 2
