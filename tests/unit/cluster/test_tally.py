"""Counting what ends: totals, slices, and durations that are right within a tenth."""

from __future__ import annotations

from collections import Counter

import pytest

from django_cluster.cluster.tally import SLICES, STEP, Tally, class_of, quantile
from django_cluster.core.messages import OutcomeStatus
from django_cluster.testing.store_contract import make_failure, make_outcome
from tests.conftest import Clock


def test_successes_failures_and_further_runs_are_counted_apart(clock: Clock) -> None:
    tally = Tally(clock)

    tally.count([make_outcome(), make_failure(), make_failure(final=False)])
    tally.count([make_outcome(status=OutcomeStatus.SNOOZED.value), make_outcome(status=OutcomeStatus.DISCARDED.value)])

    throughput = tally.throughput()
    assert (throughput.done, throughput.failed, throughput.retried) == (1, 2, 1)
    (slice_,) = throughput.slices
    assert (slice_.done, slice_.failed, slice_.number) == (1, 2, int(clock.now) // STEP)


def test_a_slice_tells_how_long_tasks_waited_and_ran(clock: Clock) -> None:
    tally = Tally(clock)
    for number in range(100):
        slow = number >= 90
        tally.count([make_outcome(enqueued_at=10.0, started_at=10.5, stopped_at=12.5 if slow else 10.6)])

    (slice_,) = tally.throughput().slices

    assert slice_.wait_median == pytest.approx(0.5, rel=0.1)
    assert slice_.run_median == pytest.approx(0.1, rel=0.1)
    assert slice_.run_high == pytest.approx(2.0, rel=0.1)


def test_only_the_first_run_of_a_task_tells_how_long_it_waited(clock: Clock) -> None:
    tally = Tally(clock)

    tally.count([make_outcome(attempt=2, enqueued_at=0.0, started_at=3600.0, stopped_at=3601.0)])

    assert tally.throughput().slices[0].wait_high == 0.0


def test_slices_are_forgotten_after_some_minutes_and_totals_are_not(clock: Clock) -> None:
    tally = Tally(clock)
    for _ in range(3 * SLICES):
        tally.count([make_outcome()])
        clock.advance(STEP)

    throughput = tally.throughput()
    assert throughput.done == 3 * SLICES
    assert len(throughput.slices) == SLICES - 1
    clock.advance(STEP * SLICES)
    assert tally.throughput().slices == ()


@pytest.mark.parametrize("seconds", [2e-6, 0.001, 0.02, 1.0, 59.0, 86400.0])
def test_a_duration_is_found_again_within_a_tenth(seconds: float) -> None:
    assert quantile(Counter([class_of(seconds)]), 0.5) == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize("seconds", [0.0, -3600.0, 1e-9])
def test_a_clock_that_was_set_back_gives_the_shortest_duration(seconds: float) -> None:
    assert class_of(seconds) == 0
