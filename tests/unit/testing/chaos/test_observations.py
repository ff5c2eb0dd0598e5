"""What the journals say, as values."""

from __future__ import annotations

import pytest

from django_cluster.cluster.ipc.incarnation import ProcessRole, process_name
from django_cluster.testing.chaos.observations import (
    EnqueueCall,
    Execution,
    Observations,
    ProcessStart,
    ProgressSample,
    calls_from,
    executions_from,
    process_starts_from,
    progress_from,
)
from django_cluster.testing.chaos.plan import Target


def test_a_beginning_and_its_end_are_one_execution() -> None:
    lines = [["started", "a", "1", "0.5"], ["started", "b", "2", "0.6"], ["ended", "a", "1", "0.9"]]

    assert executions_from(lines) == [Execution("a", 1, 0.5, 0.9), Execution("b", 2, 0.6, None)]


def test_an_end_belongs_to_the_latest_beginning_in_its_process() -> None:
    lines = [["started", "a", "1", "0.5"], ["started", "a", "2", "0.6"], ["ended", "a", "2", "0.9"]]

    assert executions_from(lines) == [Execution("a", 1, 0.5, None), Execution("a", 2, 0.6, 0.9)]


def test_a_refused_call_keeps_its_reason() -> None:
    lines = [["accepted", "a", "0.1", "0.2"], ["refused", "b", "0.3", "5.3", "Nobody", "is", "there."]]

    assert calls_from(lines) == [
        EnqueueCall("a", 0.1, 0.2, True),
        EnqueueCall("b", 0.3, 5.3, False, "Nobody is there."),
    ]


def test_a_call_is_one_when_it_has_ended() -> None:
    lines = [["called", "a", "0.1"], ["accepted", "a", "0.1", "0.2"], ["called", "b", "0.3"]]

    assert calls_from(lines) == [EnqueueCall("a", 0.1, 0.2, True)]


def test_looks_and_births_are_read() -> None:
    assert progress_from([["1.5", "3", "4"]]) == [ProgressSample(1.5, 3, 4)]
    assert process_starts_from([["12", "10", "999", "worker"]]) == [ProcessStart(12, 10, "999", Target.WORKER)]


@pytest.mark.parametrize("role", ProcessRole)
def test_every_process_of_a_cluster_can_be_born(role: ProcessRole) -> None:
    name = process_name(role, 0).partition(" ")[0]

    (start_time,) = process_starts_from([["12", "10", "999", name]])

    assert start_time.role == name


def test_evidence_knows_the_sentinel_of_every_process() -> None:
    process_starts = [ProcessStart(12, 10, "999", Target.WORKER)]

    observations = Observations(broker="b", seed=1, began=0.0, seconds=1.0, lease=6.0, process_starts=process_starts)

    assert observations.sentinels == {12: 10}
