"""Counting what ends: totals, slices, and durations that are right within a tenth."""

from __future__ import annotations

from collections import Counter

import pytest

from django_cluster.cluster.roles.metrics import KEPT_SLICES, SLICE_SECONDS, Metrics, bucket_of, quantile
from django_cluster.core.messages import OutcomeStatus
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.conftest import Clock
from tests.fields import fields


def test_successes_failures_and_further_runs_are_counted_apart(clock: Clock) -> None:
    metrics = Metrics(clock)

    metrics.count([make_outcome(), make_failure(), make_failure(final=False)])
    metrics.count(
        [make_outcome(status=OutcomeStatus.SNOOZED.value), make_outcome(status=OutcomeStatus.DISCARDED.value)]
    )

    throughput = metrics.throughput()
    assert fields(throughput, "done", "failed", "retried") == {"done": 1, "failed": 2, "retried": 1}
    (slice_,) = throughput.slices
    assert fields(slice_, "done", "failed", "number") == {
        "done": 1,
        "failed": 2,
        "number": int(clock.now) // SLICE_SECONDS,
    }


def test_a_slice_tells_how_long_tasks_waited_and_ran(clock: Clock) -> None:
    metrics = Metrics(clock)
    for number in range(100):
        slow = number >= 90
        metrics.count([make_outcome(enqueued_at=10.0, started_at=10.5, stopped_at=12.5 if slow else 10.6)])

    (slice_,) = metrics.throughput().slices

    assert slice_.wait_median == pytest.approx(0.5, rel=0.1)
    assert slice_.run_median == pytest.approx(0.1, rel=0.1)
    assert slice_.run_high == pytest.approx(2.0, rel=0.1)


def test_only_the_first_run_of_a_task_tells_how_long_it_waited(clock: Clock) -> None:
    metrics = Metrics(clock)

    metrics.count([make_outcome(attempt=2, enqueued_at=0.0, started_at=3600.0, stopped_at=3601.0)])

    assert metrics.throughput().slices[0].wait_high == 0.0


def test_slices_are_forgotten_after_some_minutes_and_totals_are_not(clock: Clock) -> None:
    metrics = Metrics(clock)
    for _ in range(3 * KEPT_SLICES):
        metrics.count([make_outcome()])
        clock.advance(SLICE_SECONDS)

    throughput = metrics.throughput()
    assert throughput.done == 3 * KEPT_SLICES
    assert len(throughput.slices) == KEPT_SLICES - 1
    clock.advance(SLICE_SECONDS * KEPT_SLICES)
    assert metrics.throughput().slices == ()


@pytest.mark.parametrize("seconds", [2e-6, 0.001, 0.02, 1.0, 59.0, 86400.0])
def test_a_duration_is_found_again_within_a_tenth(seconds: float) -> None:
    assert quantile(Counter([bucket_of(seconds)]), 0.5) == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize("seconds", [0.0, -3600.0, 1e-9])
def test_a_clock_that_was_set_back_gives_the_shortest_duration(seconds: float) -> None:
    assert bucket_of(seconds) == 0
