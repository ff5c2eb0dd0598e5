"""What a run may do, and to whom."""

from __future__ import annotations

import pytest

from django_cluster.chaos.pausing import Pausing
from django_cluster.chaos.plan import CREW, NETWORK, Deed, Kind, Target
from django_cluster.chaos.wishes import Wishes

ALL = frozenset(Kind)


def targets(wishes: Wishes, **circumstances: bool) -> set[Target]:
    return {deed.target for deed in wishes.deeds(**{"scheduler": True, "network": True, **circumstances})}


def test_without_further_wishes_the_crew_is_killed_and_nothing_else_is_done() -> None:
    assert Wishes().deeds(scheduler=True, network=True) == {Deed(Kind.KILL, target) for target in CREW}


def test_a_scheduler_that_is_switched_off_cannot_be_hit() -> None:
    assert Target.SCHEDULER not in targets(Wishes(events=ALL), scheduler=False)


def test_sentinel_and_server_are_hit_where_that_was_asked_for() -> None:
    wishes = Wishes(sentinel=True, pausing=Pausing(pid=1))

    assert targets(wishes) == {*CREW, Target.SENTINEL, Target.SERVER}


def test_the_faults_can_be_confined() -> None:
    assert targets(Wishes(only=("pusher", "sentinel"))) == {Target.PUSHER}


def test_without_a_network_none_is_disturbed() -> None:
    assert Target.NETWORK in targets(Wishes(events=ALL))
    assert Target.NETWORK not in targets(Wishes(events=ALL), network=False)


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_can_be_asked_for_alone(kind: Kind) -> None:
    deeds = Wishes(events=frozenset({kind})).deeds(scheduler=True, network=True)

    assert {deed.kind for deed in deeds} == {kind}


def test_no_pause_outlasts_what_is_left_of_a_lease_unless_freezing_was_asked_for() -> None:
    server = Deed(Kind.FREEZE, Target.SERVER)

    assert Wishes(lease=9.0).spans()[server].most <= 9.0 / 2
    assert Wishes(lease=9.0, events=ALL).spans()[server].least > 9.0


@pytest.mark.parametrize(
    "deed", [Deed(Kind.FREEZE, Target.PUSHER), *(Deed(kind, Target.NETWORK) for kind in NETWORK[:2])]
)
def test_what_is_frozen_held_or_forgotten_is_so_for_longer_than_a_lease(deed: Deed) -> None:
    assert Wishes(lease=9.0).spans()[deed].least > 9.0
