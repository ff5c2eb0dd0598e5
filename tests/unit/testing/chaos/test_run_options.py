"""What a run may do, and to whom."""

from __future__ import annotations

import pytest

from django_cluster.testing.chaos.pausing import Pausing
from django_cluster.testing.chaos.plan import NETWORK, REPLACEABLE, FaultKind, FaultType, Target
from django_cluster.testing.chaos.run_options import RunOptions

ALL = frozenset(FaultKind)


def targets(run_options: RunOptions, **circumstances: bool) -> set[Target]:
    return {
        fault_type.target
        for fault_type in run_options.fault_types(**{"scheduler": True, "network": True, **circumstances})
    }


def test_without_further_wishes_the_crew_is_killed_and_nothing_else_is_done() -> None:
    assert RunOptions().fault_types(scheduler=True, network=True) == {
        FaultType(FaultKind.KILL, target) for target in REPLACEABLE
    }


def test_a_scheduler_that_is_switched_off_cannot_be_hit() -> None:
    assert Target.SCHEDULER not in targets(RunOptions(events=ALL), scheduler=False)


def test_sentinel_and_server_are_hit_where_that_was_asked_for() -> None:
    run_options = RunOptions(sentinel=True, pausing=Pausing(pid=1))

    assert targets(run_options) == {*REPLACEABLE, Target.SENTINEL, Target.SERVER}


def test_the_faults_can_be_confined() -> None:
    assert targets(RunOptions(only=("pusher", "sentinel"))) == {Target.PUSHER}


def test_without_a_network_none_is_disturbed() -> None:
    assert Target.NETWORK in targets(RunOptions(events=ALL))
    assert Target.NETWORK not in targets(RunOptions(events=ALL), network=False)


@pytest.mark.parametrize("kind", FaultKind)
def test_each_kind_can_be_asked_for_alone(kind: FaultKind) -> None:
    fault_types = RunOptions(events=frozenset({kind})).fault_types(scheduler=True, network=True)

    assert {fault_type.kind for fault_type in fault_types} == {kind}


def test_no_pause_outlasts_what_is_left_of_a_lease_unless_freezing_was_asked_for() -> None:
    server = FaultType(FaultKind.FREEZE, Target.SERVER)

    assert RunOptions(lease=9.0).duration_ranges()[server].most <= 9.0 / 2
    assert RunOptions(lease=9.0, events=ALL).duration_ranges()[server].least > 9.0


@pytest.mark.parametrize(
    "fault_type",
    [FaultType(FaultKind.FREEZE, Target.PUSHER), *(FaultType(kind, Target.NETWORK) for kind in NETWORK[:2])],
)
def test_what_is_frozen_held_or_forgotten_is_so_for_longer_than_a_lease(fault_type: FaultType) -> None:
    assert RunOptions(lease=9.0).duration_ranges()[fault_type].least > 9.0
