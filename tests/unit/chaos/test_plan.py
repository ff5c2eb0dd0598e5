"""The plan of faults is a function of its seed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from django_cluster.chaos.plan import CREW, SHARES, Target, draw

EVERYTHING = set(Target)


def test_the_same_seed_draws_the_same_plan() -> None:
    assert draw(7, 60, 1.0, EVERYTHING, 2.0) == draw(7, 60, 1.0, EVERYTHING, 2.0)


def test_another_seed_draws_another_plan() -> None:
    assert draw(7, 60, 1.0, EVERYTHING, 2.0) != draw(8, 60, 1.0, EVERYTHING, 2.0)


def test_only_what_may_be_hit_is_hit() -> None:
    plan = draw(7, 100, 0.5, CREW)

    assert {fault.target for fault in plan} == set(CREW)


def test_every_target_has_its_turn_in_every_round() -> None:
    whole = sum(SHARES.values())

    plan = draw(7, 100, 1.0, EVERYTHING)

    assert {fault.target for fault in plan[:whole]} == EVERYTHING
    assert {fault.target for fault in plan[whole : 2 * whole]} == EVERYTHING


def test_faults_come_in_order_and_end_with_the_run() -> None:
    plan = draw(7, 30, 0.5, EVERYTHING)

    assert all(before.at <= after.at for before, after in pairwise(plan))
    assert plan[0].at >= 0
    assert plan[-1].at < 30


def test_faults_come_as_often_as_was_asked() -> None:
    plan = draw(7, 1000, 0.5, EVERYTHING)

    assert len(plan) == pytest.approx(2000, rel=0.1)


def test_only_the_server_is_paused_and_never_for_longer_than_allowed() -> None:
    plan = draw(7, 300, 0.5, EVERYTHING, longest_pause=2.0)

    pauses = [fault.seconds for fault in plan if fault.target is Target.SERVER]
    assert pauses
    assert all(0 < seconds <= 2.0 for seconds in pauses)
    assert not any(fault.seconds for fault in plan if fault.target is not Target.SERVER)


def test_nothing_to_hit_is_an_empty_plan() -> None:
    assert draw(7, 30, 0.5, ()) == ()
