"""What counts as lost, as repeated, and as explained."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster.testing.chaos.analysis import RepeatCause, analyse
from django_cluster.testing.chaos.observations import (
    EnqueueCall,
    Execution,
    InjectedFault,
    Observations,
    ProcessStart,
    ProgressSample,
    ResultRow,
)
from django_cluster.testing.chaos.plan import NETWORK, FaultKind, FaultType, Target
from tests.fields import fields

SENTINEL, PUSHER, WORKER, OTHER = 10, 11, 12, 13
LEASE = 6.0


def observations(**changes: Any) -> Observations:
    """One task that was sent, ran, and has its row; nobody was hurt."""
    process_starts = [
        ProcessStart(PUSHER, SENTINEL, "1", Target.PUSHER),
        ProcessStart(WORKER, SENTINEL, "2", Target.WORKER),
        ProcessStart(OTHER, SENTINEL, "3", Target.WORKER),
    ]
    plain: dict[str, Any] = {
        "calls": [EnqueueCall("a", 100.0, 100.1, True)],
        "executions": [Execution("a", WORKER, 101.0, 102.0)],
        "rows": [ResultRow("a", True, "success")],
        "process_starts": process_starts,
    }
    return Observations(broker="b", seed=1, began=100.0, seconds=30.0, lease=LEASE, **{**plain, **changes})


def repeated(again: float = 110.0, ended: float | None = 102.0) -> list[Execution]:
    return [Execution("a", WORKER, 101.0, ended), Execution("a", OTHER, again, again + 1)]


def test_a_task_with_its_run_and_its_row_is_all_there_is_to_say() -> None:
    analysis = analyse(observations())

    assert fields(analysis, "enqueued", "finished", "findings") == {"enqueued": 1, "finished": 1, "findings": []}


def test_a_task_without_a_row_is_lost() -> None:
    analysis = analyse(observations(rows=[]))

    assert analysis.lost == analysis.missing_rows == ["a"]
    assert len(analysis.findings) == 2


def test_a_row_of_a_task_that_never_ran_to_its_end_is_no_comfort() -> None:
    analysis = analyse(observations(executions=[Execution("a", WORKER, 101.0, None)]))

    assert analysis.lost == ["a"]
    assert analysis.missing_rows == []


def test_a_row_of_failure_is_a_finding_because_these_tasks_cannot_fail() -> None:
    analysis = analyse(observations(rows=[ResultRow("a", False, "dead")]))

    assert analysis.failed_rows == analysis.lost == ["a"]
    assert analysis.findings


def test_two_rows_of_one_task_are_a_finding() -> None:
    analysis = analyse(observations(rows=[ResultRow("a", True, "success")] * 2))

    assert analysis.duplicate_rows == ["a"]
    assert analysis.findings


def test_a_row_of_a_task_that_nobody_enqueued_is_a_finding() -> None:
    analysis = analyse(observations(rows=[ResultRow("a", True, "success"), ResultRow("b", True, "success")]))

    assert analysis.unknown_rows == ["b"]
    assert analysis.findings


@pytest.mark.parametrize("target", [Target.WORKER, Target.MONITOR, Target.SCHEDULER])
def test_a_repetition_is_a_finding_when_only_others_were_killed(target: Target) -> None:
    faults = [InjectedFault(101.5, target, 77, SENTINEL)]

    analysis = analyse(observations(executions=repeated(), faults=faults))

    assert analysis.repeated == {RepeatCause.NONE: 1}
    assert "are not explained by a kill" in analysis.findings[0]


def test_a_repetition_is_explained_by_the_death_of_the_worker_that_ran_it() -> None:
    faults = [InjectedFault(101.5, Target.WORKER, WORKER, SENTINEL)]

    analysis = analyse(observations(executions=repeated(ended=None), faults=faults))

    assert analysis.repeated == {RepeatCause.RUNNING: 1}
    assert not analysis.findings


def test_a_repetition_is_explained_by_the_death_of_the_worker_that_had_run_it() -> None:
    faults = [InjectedFault(103.0, Target.WORKER, WORKER, SENTINEL)]

    analysis = analyse(observations(executions=repeated(), faults=faults))

    assert analysis.repeated == {RepeatCause.UNRECORDED: 1}
    assert not analysis.findings


@pytest.mark.parametrize("moment", [100.5, 110.5], ids=["an earlier life of the number", "too late"])
def test_a_death_at_another_time_explains_nothing(moment: float) -> None:
    faults = [InjectedFault(moment, Target.WORKER, WORKER, SENTINEL)]

    assert analyse(observations(executions=repeated(), faults=faults)).repeated == {RepeatCause.NONE: 1}


def test_a_repetition_is_explained_by_the_death_of_the_sentinel() -> None:
    faults = [InjectedFault(101.5, Target.SENTINEL, SENTINEL, SENTINEL)]

    assert analyse(observations(executions=repeated(), faults=faults)).repeated == {RepeatCause.SENTINEL: 1}


def test_the_death_of_the_sentinel_explains_what_its_orphans_did_last() -> None:
    faults = [InjectedFault(100.9, Target.SENTINEL, SENTINEL, SENTINEL)]

    assert analyse(observations(executions=repeated(), faults=faults)).repeated == {RepeatCause.SENTINEL: 1}


def test_a_worker_may_begin_a_task_while_it_is_being_killed() -> None:
    faults = [InjectedFault(100.99, Target.WORKER, WORKER, SENTINEL)]

    assert analyse(observations(executions=repeated(ended=None), faults=faults)).repeated == {RepeatCause.RUNNING: 1}


def test_the_death_of_another_sentinel_explains_nothing() -> None:
    faults = [InjectedFault(101.5, Target.SENTINEL, 99, 99)]

    assert analyse(observations(executions=repeated(), faults=faults)).repeated == {RepeatCause.NONE: 1}


def test_the_death_of_the_pusher_explains_no_repetition_because_its_successor_keeps_the_leases() -> None:
    faults = [InjectedFault(101.5, Target.PUSHER, PUSHER, SENTINEL)]

    assert analyse(observations(executions=repeated(again=106.0), faults=faults)).repeated == {RepeatCause.NONE: 1}


@pytest.mark.parametrize(
    "injected",
    [
        InjectedFault(101.5, Target.SERVER, seconds=20.0, kind=FaultKind.FREEZE),
        InjectedFault(101.5, Target.WORKER, WORKER, SENTINEL, 20.0, FaultKind.FREEZE),
        InjectedFault(101.5, Target.SENTINEL, SENTINEL, SENTINEL, 20.0, FaultKind.FREEZE),
        InjectedFault(101.5, Target.CLUSTER, SENTINEL, SENTINEL, 20.0, FaultKind.FREEZE),
        InjectedFault(101.5, Target.CLUSTER, seconds=90.0, kind=FaultKind.CLOCK),
        *(InjectedFault(101.5, Target.NETWORK, seconds=20.0, kind=kind) for kind in NETWORK),
    ],
    ids=lambda injected: str(injected.fault_type),
)
def test_what_kills_nobody_explains_no_repetition(injected: InjectedFault) -> None:
    assert analyse(observations(executions=repeated(), faults=[injected])).repeated == {RepeatCause.NONE: 1}


@pytest.mark.parametrize("target", [Target.SERVER, Target.NETWORK])
def test_a_refused_call_is_explained_by_what_was_done_to_server_or_network(target: Target) -> None:
    calls = [EnqueueCall("a", 100.0, 100.1, True), EnqueueCall("b", 100.5, 105.5, False, "It is silent.")]
    faults = [InjectedFault(100.2, target, seconds=1.0, kind=FaultKind.HOLD)]

    analysis = analyse(observations(calls=calls, faults=faults))

    assert (analysis.refused, analysis.findings) == (1, [])


def test_a_refused_call_is_a_finding_when_nobody_paused_the_server() -> None:
    calls = [EnqueueCall("a", 100.0, 100.1, True), EnqueueCall("b", 100.5, 105.5, False, "It is locked.")]

    analysis = analyse(observations(calls=calls))

    assert "It is locked." in analysis.findings[0]


def test_a_refused_task_may_run_all_the_same() -> None:
    calls = [EnqueueCall("a", 100.0, 105.1, False, "It is silent.")]

    analysis = analyse(observations(calls=calls, faults=[InjectedFault(100.2, Target.SERVER, seconds=1.0)]))

    assert (analysis.lost, analysis.unknown_rows) == ([], [])


def test_a_run_without_a_single_task_proves_nothing() -> None:
    analysis = analyse(observations(calls=[], executions=[], rows=[]))

    assert analysis.findings == ["Nothing was enqueued, so nothing was tested."]


def test_whatever_is_left_behind_is_a_finding() -> None:
    analysis = analyse(observations(left=["worker 12"], messages_left=3, incidents=["It ended by itself."]))

    assert len(analysis.findings) == 3


def test_recovery_is_the_time_from_a_hit_to_the_next_task_that_is_settled() -> None:
    faults = [InjectedFault(101.0, Target.MONITOR, 77, SENTINEL), InjectedFault(105.0, Target.WORKER, 78, SENTINEL)]
    progress = [
        ProgressSample(100.5, 1, 5),
        ProgressSample(101.5, 1, 6),
        ProgressSample(103.0, 2, 5),
        ProgressSample(105.2, 3, 4),
    ]

    recovery = analyse(observations(faults=faults, progress=progress)).slowest_recovery

    assert recovery is not None
    assert recovery.fault is faults[0]
    assert recovery.seconds == pytest.approx(2.0)


def test_the_slowest_recovery_is_known_of_each_sort_of_fault() -> None:
    faults = [
        InjectedFault(at, target, 77, SENTINEL) for at, target in ((101.0, Target.MONITOR), (104.0, Target.WORKER))
    ]
    progress = [
        ProgressSample(100.5, 1, 5),
        ProgressSample(103.0, 2, 5),
        ProgressSample(104.2, 3, 4),
        ProgressSample(110.0, 4, 0),
    ]
    again = InjectedFault(104.5, Target.MONITOR, 78, SENTINEL)

    recoveries = analyse(observations(faults=[*faults, again], progress=progress)).recoveries

    seconds = {fault_type.target: recovery.seconds for fault_type, recovery in recoveries.items()}
    assert seconds == {Target.MONITOR: pytest.approx(5.5), Target.WORKER: pytest.approx(0.2)}


def test_what_was_under_way_when_everything_stopped_is_no_recovery() -> None:
    faults = [InjectedFault(101.0, Target.CLUSTER, SENTINEL, SENTINEL, 8.0, FaultKind.FREEZE)]
    progress = [ProgressSample(100.5, 1, 5), ProgressSample(101.1, 2, 5), ProgressSample(110.0, 3, 4)]

    recoveries = analyse(observations(faults=faults, progress=progress)).recoveries

    assert recoveries[FaultType(FaultKind.FREEZE, Target.CLUSTER)].seconds == pytest.approx(9.0)


def test_a_hit_after_which_nothing_was_left_to_settle_says_nothing_of_recovery() -> None:
    faults = [InjectedFault(104.0, Target.MONITOR, 77, SENTINEL)]

    assert (
        analyse(
            observations(faults=faults, progress=[ProgressSample(100.5, 0, 1), ProgressSample(103.0, 1, 0)])
        ).slowest_recovery
        is None
    )


def test_the_slowest_task_is_measured_from_its_call() -> None:
    assert analyse(observations()).slowest_task == pytest.approx(2.0)


def test_a_cancelled_task_is_not_lost_and_a_cancelled_row_without_a_cancel_is() -> None:
    rows = [ResultRow("a", False, "cancelled")]

    asked = analyse(observations(rows=rows, executions=[Execution("a", WORKER, 101.0, None)], cancelled=["a", "b"]))
    unasked = analyse(observations(rows=rows))

    assert (asked.cancelled, asked.lost, asked.failed_rows, asked.findings) == (1, [], [], [])
    assert (unasked.cancelled, unasked.lost, unasked.failed_rows) == (0, ["a"], ["a"])


def test_a_cancelled_task_that_runs_again_is_not_explained() -> None:
    rows = [ResultRow("a", False, "cancelled")]
    assert analyse(observations(rows=rows, executions=repeated(), cancelled=["a"])).unexplained
