"""What counts as lost, as repeated, and as explained."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster.chaos.evidence import Birth, Call, Evidence, Execution, Hit, Look, Row
from django_cluster.chaos.plan import NETWORK, Deed, Kind, Target
from django_cluster.chaos.verdict import Reason, judge

SENTINEL, PUSHER, WORKER, OTHER = 10, 11, 12, 13
LEASE = 6.0


def evidence(**changes: Any) -> Evidence:
    """One task that was sent, ran, and has its row; nobody was hurt."""
    births = [
        Birth(PUSHER, SENTINEL, "1", Target.PUSHER),
        Birth(WORKER, SENTINEL, "2", Target.WORKER),
        Birth(OTHER, SENTINEL, "3", Target.WORKER),
    ]
    plain: dict[str, Any] = {
        "calls": [Call("a", 100.0, 100.1, True)],
        "executions": [Execution("a", WORKER, 101.0, 102.0)],
        "rows": [Row("a", True, "success")],
        "births": births,
    }
    return Evidence(broker="b", seed=1, began=100.0, seconds=30.0, lease=LEASE, **{**plain, **changes})


def repeated(again: float = 110.0, ended: float | None = 102.0) -> list[Execution]:
    return [Execution("a", WORKER, 101.0, ended), Execution("a", OTHER, again, again + 1)]


def test_a_task_with_its_run_and_its_row_is_all_there_is_to_say() -> None:
    verdict = judge(evidence())

    assert (verdict.enqueued, verdict.finished, verdict.findings) == (1, 1, [])


def test_a_task_without_a_row_is_lost() -> None:
    verdict = judge(evidence(rows=[]))

    assert verdict.lost == verdict.missing_rows == ["a"]
    assert len(verdict.findings) == 2


def test_a_row_of_a_task_that_never_ran_to_its_end_is_no_comfort() -> None:
    verdict = judge(evidence(executions=[Execution("a", WORKER, 101.0, None)]))

    assert verdict.lost == ["a"]
    assert verdict.missing_rows == []


def test_a_row_of_failure_is_a_finding_because_these_tasks_cannot_fail() -> None:
    verdict = judge(evidence(rows=[Row("a", False, "dead")]))

    assert verdict.failed_rows == verdict.lost == ["a"]
    assert verdict.findings


def test_two_rows_of_one_task_are_a_finding() -> None:
    verdict = judge(evidence(rows=[Row("a", True, "success")] * 2))

    assert verdict.doubled_rows == ["a"]
    assert verdict.findings


def test_a_row_of_a_task_that_nobody_enqueued_is_a_finding() -> None:
    verdict = judge(evidence(rows=[Row("a", True, "success"), Row("b", True, "success")]))

    assert verdict.strange_rows == ["b"]
    assert verdict.findings


@pytest.mark.parametrize("target", [Target.WORKER, Target.MONITOR, Target.SCHEDULER])
def test_a_repetition_is_a_finding_when_only_others_were_killed(target: Target) -> None:
    hits = [Hit(101.5, target, 77, SENTINEL)]

    verdict = judge(evidence(executions=repeated(), hits=hits))

    assert verdict.repeated == {Reason.NONE: 1}
    assert "although nobody had killed" in verdict.findings[0]


def test_a_repetition_is_explained_by_the_death_of_the_worker_that_ran_it() -> None:
    hits = [Hit(101.5, Target.WORKER, WORKER, SENTINEL)]

    verdict = judge(evidence(executions=repeated(ended=None), hits=hits))

    assert verdict.repeated == {Reason.RUNNING: 1}
    assert not verdict.findings


def test_a_repetition_is_explained_by_the_death_of_the_worker_that_had_run_it() -> None:
    hits = [Hit(103.0, Target.WORKER, WORKER, SENTINEL)]

    verdict = judge(evidence(executions=repeated(), hits=hits))

    assert verdict.repeated == {Reason.UNFILED: 1}
    assert not verdict.findings


@pytest.mark.parametrize("moment", [100.5, 110.5], ids=["an earlier life of the number", "too late"])
def test_a_death_at_another_time_explains_nothing(moment: float) -> None:
    hits = [Hit(moment, Target.WORKER, WORKER, SENTINEL)]

    assert judge(evidence(executions=repeated(), hits=hits)).repeated == {Reason.NONE: 1}


def test_a_repetition_is_explained_by_the_death_of_the_sentinel() -> None:
    hits = [Hit(101.5, Target.SENTINEL, SENTINEL, SENTINEL)]

    assert judge(evidence(executions=repeated(), hits=hits)).repeated == {Reason.SENTINEL: 1}


def test_the_death_of_the_sentinel_explains_what_its_orphans_did_last() -> None:
    hits = [Hit(100.9, Target.SENTINEL, SENTINEL, SENTINEL)]

    assert judge(evidence(executions=repeated(), hits=hits)).repeated == {Reason.SENTINEL: 1}


def test_a_worker_may_begin_a_task_while_it_is_being_killed() -> None:
    hits = [Hit(100.99, Target.WORKER, WORKER, SENTINEL)]

    assert judge(evidence(executions=repeated(ended=None), hits=hits)).repeated == {Reason.RUNNING: 1}


def test_the_death_of_another_sentinel_explains_nothing() -> None:
    hits = [Hit(101.5, Target.SENTINEL, 99, 99)]

    assert judge(evidence(executions=repeated(), hits=hits)).repeated == {Reason.NONE: 1}


def test_the_death_of_the_pusher_explains_no_repetition_because_its_successor_keeps_the_leases() -> None:
    hits = [Hit(101.5, Target.PUSHER, PUSHER, SENTINEL)]

    assert judge(evidence(executions=repeated(again=106.0), hits=hits)).repeated == {Reason.NONE: 1}


@pytest.mark.parametrize(
    "hit",
    [
        Hit(101.5, Target.SERVER, seconds=20.0, kind=Kind.FREEZE),
        Hit(101.5, Target.WORKER, WORKER, SENTINEL, 20.0, Kind.FREEZE),
        Hit(101.5, Target.SENTINEL, SENTINEL, SENTINEL, 20.0, Kind.FREEZE),
        Hit(101.5, Target.CLUSTER, SENTINEL, SENTINEL, 20.0, Kind.FREEZE),
        Hit(101.5, Target.CLUSTER, seconds=90.0, kind=Kind.CLOCK),
        *(Hit(101.5, Target.NETWORK, seconds=20.0, kind=kind) for kind in NETWORK),
    ],
    ids=lambda hit: str(hit.deed),
)
def test_what_kills_nobody_explains_no_repetition(hit: Hit) -> None:
    assert judge(evidence(executions=repeated(), hits=[hit])).repeated == {Reason.NONE: 1}


@pytest.mark.parametrize("target", [Target.SERVER, Target.NETWORK])
def test_a_refused_call_is_explained_by_what_was_done_to_server_or_network(target: Target) -> None:
    calls = [Call("a", 100.0, 100.1, True), Call("b", 100.5, 105.5, False, "It is silent.")]
    hits = [Hit(100.2, target, seconds=1.0, kind=Kind.HOLD)]

    verdict = judge(evidence(calls=calls, hits=hits))

    assert (verdict.refused, verdict.findings) == (1, [])


def test_a_refused_call_is_a_finding_when_nobody_paused_the_server() -> None:
    calls = [Call("a", 100.0, 100.1, True), Call("b", 100.5, 105.5, False, "It is locked.")]

    verdict = judge(evidence(calls=calls))

    assert "It is locked." in verdict.findings[0]


def test_a_refused_task_may_run_all_the_same() -> None:
    calls = [Call("a", 100.0, 105.1, False, "It is silent.")]

    verdict = judge(evidence(calls=calls, hits=[Hit(100.2, Target.SERVER, seconds=1.0)]))

    assert (verdict.lost, verdict.strange_rows) == ([], [])


def test_a_run_without_a_single_task_proves_nothing() -> None:
    verdict = judge(evidence(calls=[], executions=[], rows=[]))

    assert verdict.findings == ["Nothing was enqueued, so nothing is proved."]


def test_whatever_is_left_behind_is_a_finding() -> None:
    verdict = judge(evidence(left=["worker 12"], messages_left=3, incidents=["It ended by itself."]))

    assert len(verdict.findings) == 3


def test_recovery_is_the_time_from_a_hit_to_the_next_task_that_is_settled() -> None:
    hits = [Hit(101.0, Target.MONITOR, 77, SENTINEL), Hit(105.0, Target.WORKER, 78, SENTINEL)]
    looks = [Look(100.5, 1, 5), Look(101.5, 1, 6), Look(103.0, 2, 5), Look(105.2, 3, 4)]

    recovery = judge(evidence(hits=hits, looks=looks)).slowest_recovery

    assert recovery is not None
    assert recovery.hit is hits[0]
    assert recovery.seconds == pytest.approx(2.0)


def test_the_slowest_recovery_is_known_of_each_sort_of_fault() -> None:
    hits = [Hit(at, target, 77, SENTINEL) for at, target in ((101.0, Target.MONITOR), (104.0, Target.WORKER))]
    looks = [Look(100.5, 1, 5), Look(103.0, 2, 5), Look(104.2, 3, 4), Look(110.0, 4, 0)]
    again = Hit(104.5, Target.MONITOR, 78, SENTINEL)

    recoveries = judge(evidence(hits=[*hits, again], looks=looks)).recoveries

    seconds = {deed.target: recovery.seconds for deed, recovery in recoveries.items()}
    assert seconds == {Target.MONITOR: pytest.approx(5.5), Target.WORKER: pytest.approx(0.2)}


def test_what_was_under_way_when_everything_stopped_is_no_recovery() -> None:
    hits = [Hit(101.0, Target.CLUSTER, SENTINEL, SENTINEL, 8.0, Kind.FREEZE)]
    looks = [Look(100.5, 1, 5), Look(101.1, 2, 5), Look(110.0, 3, 4)]

    recoveries = judge(evidence(hits=hits, looks=looks)).recoveries

    assert recoveries[Deed(Kind.FREEZE, Target.CLUSTER)].seconds == pytest.approx(9.0)


def test_a_hit_after_which_nothing_was_left_to_settle_says_nothing_of_recovery() -> None:
    hits = [Hit(104.0, Target.MONITOR, 77, SENTINEL)]

    assert judge(evidence(hits=hits, looks=[Look(100.5, 0, 1), Look(103.0, 1, 0)])).slowest_recovery is None


def test_the_slowest_task_is_measured_from_its_call() -> None:
    assert judge(evidence()).slowest_task == pytest.approx(2.0)
