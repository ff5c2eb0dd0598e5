"""The books, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

from django_cluster.testing.chaos.analysis import analyse
from django_cluster.testing.chaos.observations import (
    EnqueueCall,
    Execution,
    InjectedFault,
    Observations,
    ProgressSample,
    ResultRow,
)
from django_cluster.testing.chaos.plan import FaultKind, Target
from django_cluster.testing.chaos.report import as_json, as_text


def observations(**changes: Any) -> Observations:
    plain: dict[str, Any] = {
        "calls": [EnqueueCall("a", 100.0, 100.1, True)],
        "executions": [Execution("a", 12, 101.0, None), Execution("a", 13, 102.0, 103.0)],
        "rows": [ResultRow("a", True, "success")],
        "faults": [
            InjectedFault(101.5, Target.WORKER, 12, 10),
            InjectedFault(102.0, Target.SERVER, seconds=1.5, kind=FaultKind.FREEZE),
        ],
        "progress": [ProgressSample(100.0, 0, 1), ProgressSample(103.1, 1, 0)],
    }
    whole = {**plain, **changes}
    return Observations(broker="Redis", seed=4711, began=100.0, seconds=30.0, lease=6.0, **whole)


def text(found: Observations) -> str:
    return as_text(found, analyse(found))


def test_the_text_says_what_was_done_and_what_came_of_it() -> None:
    said = text(observations())

    for part in (
        "30 seconds on Redis, seed 4711",
        "1 worker",
        "1 ×, 1.5 s in all, 1.5 s at most",
        "1 because its worker was killed while running it",
        "1.60 s, after the worker was killed at 1.50 s",
        "3.00 s from being enqueued",
        "nothing",
    ):
        assert part in said
    assert said.endswith("No task was lost, and a kill explains every repetition.")


def test_the_text_lists_every_broken_promise() -> None:
    said = text(observations(rows=[], left=["worker 12"], messages_left=2))

    assert "Guarantees violated:\n- 1 tasks were accepted, and are lost: a." in said
    assert "- Left behind: worker 12." in said
    assert "worker 12, 2 messages" in said


def test_a_run_without_faults_says_so() -> None:
    said = text(observations(faults=[], executions=[Execution("a", 12, 101.0, 102.0)]))

    assert "none" in said
    assert "nothing to recover from" in said
    assert "Server paused" not in said


def test_the_text_lists_outages_and_faults_that_were_not_applicable() -> None:
    faults = [
        InjectedFault(101.0, Target.PUSHER, 11, 10, 8.0, FaultKind.FREEZE),
        InjectedFault(101.2, Target.NETWORK, seconds=8.0, kind=FaultKind.HOLD),
        InjectedFault(101.3, Target.NETWORK, kind=FaultKind.RESET),
        InjectedFault(101.4, Target.CLUSTER, seconds=-90.0, kind=FaultKind.CLOCK),
    ]

    said = text(observations(faults=faults, not_applicable=["There is no network."]))

    for part in (
        "1 pusher",
        "held 1 ×, reset 1 ×",
        "set 1 ×, from -90 to -90 s",
        "freeze pusher 2.10 s",
        "reset network 1.80 s",
        "There is no network.",
    ):
        assert part in said


def test_programs_get_the_same_figures() -> None:
    found = observations()

    figures = json.loads(json.dumps(as_json(found, analyse(found))))

    assert figures["ok"] is True
    assert (figures["enqueued"], figures["finished"], figures["lost"]) == (1, 1, 0)
    assert figures["repeated"] == {"running": 1, "unrecorded": 0, "sentinel": 0, "none": 0}
    assert figures["slowest_recovery"] == 1.6
    assert figures["faults"] == [
        {"at": 1.5, "kind": "kill", "target": "worker", "pid": 12},
        {"at": 2.0, "kind": "freeze", "target": "server", "seconds": 1.5},
    ]


def test_programs_are_told_of_broken_promises() -> None:
    found = observations(rows=[])

    figures = as_json(found, analyse(found))

    assert figures["ok"] is False
    assert figures["findings"] == analyse(found).findings
