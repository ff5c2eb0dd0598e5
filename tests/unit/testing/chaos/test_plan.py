"""The plan of faults is a function of its seed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from django_cluster.testing.chaos.plan import (
    OUTAGES,
    REPLACEABLE,
    WEIGHTS,
    DurationRange,
    FaultKind,
    FaultType,
    Target,
    draw_faults,
)

EVERYTHING = set(WEIGHTS)
SERVER = FaultType(FaultKind.FREEZE, Target.SERVER)
SPANS = {SERVER: DurationRange(0.5, 2.0)}


def test_the_same_seed_draws_the_same_plan() -> None:
    assert draw_faults(7, 60, 1.0, EVERYTHING, SPANS) == draw_faults(7, 60, 1.0, EVERYTHING, SPANS)


def test_another_seed_draws_another_plan() -> None:
    assert draw_faults(7, 60, 1.0, EVERYTHING, SPANS) != draw_faults(8, 60, 1.0, EVERYTHING, SPANS)


def test_only_what_may_be_hit_is_hit() -> None:
    plan = draw_faults(7, 100, 0.5, {FaultType(FaultKind.KILL, target) for target in REPLACEABLE})

    assert {(fault.kind, fault.target) for fault in plan} == {(FaultKind.KILL, target) for target in REPLACEABLE}


def test_every_deed_has_its_turn_in_every_round() -> None:
    whole = sum(WEIGHTS.values())

    plan = draw_faults(7, 100, 1.0, EVERYTHING)

    for turn in (plan[:whole], plan[whole : 2 * whole]):
        assert {FaultType(fault.kind, fault.target) for fault in turn} == EVERYTHING


def test_faults_come_in_order_and_end_with_the_run() -> None:
    plan = draw_faults(7, 30, 0.5, EVERYTHING)

    assert all(before.at <= after.at for before, after in pairwise(plan))
    assert plan[0].at >= 0
    assert plan[-1].at < 30


def test_faults_come_as_often_as_was_asked() -> None:
    plan = draw_faults(7, 1000, 0.5, EVERYTHING - OUTAGES)

    assert len(plan) == pytest.approx(2000, rel=0.1)


def test_what_has_a_span_lasts_as_long_as_that_allows_and_nothing_else_lasts() -> None:
    plan = draw_faults(7, 300, 0.5, EVERYTHING, SPANS)

    pauses = [fault.seconds for fault in plan if fault.target is Target.SERVER]
    assert pauses
    assert all(0.5 <= seconds <= 2.0 for seconds in pauses)
    assert not any(fault.seconds for fault in plan if fault.target is not Target.SERVER)


def test_an_outage_begins_when_the_one_before_is_over() -> None:
    plan = draw_faults(7, 300, 0.5, EVERYTHING, dict.fromkeys(OUTAGES, DurationRange(3.0, 5.0)))

    outages = [fault for fault in plan if FaultType(fault.kind, fault.target) in OUTAGES]
    assert len(outages) > 10
    assert all(before.at + before.seconds < after.at for before, after in pairwise(outages))


def test_others_are_hit_in_the_middle_of_an_outage() -> None:
    plan = draw_faults(7, 300, 0.5, EVERYTHING, dict.fromkeys(OUTAGES, DurationRange(3.0, 5.0)))

    outages = [fault for fault in plan if FaultType(fault.kind, fault.target) in OUTAGES]
    assert any(
        one.at < fault.at < one.at + one.seconds for one in outages for fault in plan if fault.kind is FaultKind.KILL
    )


def test_nothing_to_do_is_an_empty_plan() -> None:
    assert draw_faults(7, 30, 0.5, ()) == ()
