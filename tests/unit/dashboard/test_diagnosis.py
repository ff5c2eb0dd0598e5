"""From what is known of a task or queue to the reason why it does not run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from django_cluster.dashboard.diagnosis.diagnosis import Diagnosis, diagnose
from django_cluster.dashboard.diagnosis.facts import (
    Facts,
    MessageFacts,
    QueueFacts,
    RowFacts,
    ScheduleRowFacts,
    TaskFacts,
)
from django_cluster.dashboard.diagnosis.reason import Conclusion
from django_cluster.stores.operator_commands import QueuePause
from django_cluster.stores.status import LOST, ClusterStatus, ProcessStatus, RunningTask

NOW = 1_000_000.0
FINE, WAITS, BLOCKED, UNKNOWN = Conclusion.FINE, Conclusion.WAITS, Conclusion.BLOCKED, Conclusion.UNKNOWN

RUNNING = RunningTask(id="t", name="mine", func="shop.sell", started=NOW - 30, limit=60.0)
IDLE = ProcessStatus(role="worker", pid=12, state="idle")
BUSY = ProcessStatus(role="worker", pid=13, state="busy", task=RUNNING)
SCHEDULER = ProcessStatus(role="scheduler", pid=14, state="idle")


def cluster(*processes: ProcessStatus, **changes: Any) -> ClusterStatus:
    given: dict[str, Any] = {
        "id": "c", "name": "shop", "queues": ("shop",), "host": "alpha", "pid": 7, "state": "running",
        "started_at": NOW - 1000, "published_at": NOW - 1, "interval": 2.0, "versions": {}, "processes": processes,
    }  # fmt: skip
    return ClusterStatus(**{**given, **changes})


HEALTHY = QueueFacts(name="shop", clusters=(cluster(IDLE, SCHEDULER),), searched=0)
NOBODY = replace(HEALTHY, clusters=())
ALL_BUSY = replace(HEALTHY, clusters=(cluster(BUSY),))
GONE = cluster(BUSY, state=LOST, age=90.0)
ENDED = RowFacts(status="success", final=True, attempts=1, stopped=NOW - 5, success=True)
FAILED = replace(ENDED, status="failure", success=False, error="ValueError: no luck")


def of_task(queue: QueueFacts = HEALTHY, **task: Any) -> Diagnosis:
    return diagnose(Facts(target="t", now=NOW, task=TaskFacts(id="t", **task), queues=(queue,)))


def of_queue(queue: QueueFacts, **more: Any) -> Diagnosis:
    return diagnose(Facts(target=queue.name, now=NOW, queues=(queue,), **more))


def codes(found: Diagnosis) -> list[str]:
    return [reason.code for reason in found.reasons]


@pytest.mark.parametrize(
    ("row", "code", "conclusion"),
    [
        (ENDED, "succeeded", FINE),
        (FAILED, "failed", BLOCKED),
        (replace(FAILED, status="timeout"), "failed", BLOCKED),
        (replace(FAILED, status="rejected"), "rejected", BLOCKED),
        (replace(FAILED, status="dead"), "dead", BLOCKED),
        (replace(FAILED, status="discarded"), "discarded", FINE),
        (replace(FAILED, retried_as="other"), "retried", FINE),
    ],
)
def test_a_task_that_has_ended_says_how(row: RowFacts, code: str, conclusion: Conclusion) -> None:
    found = of_task(row=row)

    assert codes(found) == [code]
    assert found.exit_code == conclusion


def test_a_task_that_runs_says_where_and_for_how_long() -> None:
    found = of_task(worker=BUSY, cluster=cluster(BUSY))

    assert (codes(found), found.exit_code) == (["running"], FINE)
    assert "for 30s of at most 1m00, in worker 1 (pid 13) of alpha" in found.reasons[0].sentence


def test_a_row_is_believed_before_an_older_heartbeat() -> None:
    assert codes(of_task(row=ENDED, worker=BUSY, cluster=cluster(BUSY))) == ["succeeded"]


@pytest.mark.parametrize(
    ("queue", "expected", "conclusion"),
    [
        (HEALTHY, ["next"], FINE),
        (NOBODY, ["no_cluster"], BLOCKED),
        (ALL_BUSY, ["busy"], WAITS),
        (replace(HEALTHY, pause=QueuePause("shop", "ann", 60.0)), ["paused"], BLOCKED),
        (replace(NOBODY, pause=QueuePause("shop", "ann", 60.0)), ["paused", "no_cluster"], BLOCKED),
        (replace(NOBODY, lost=(GONE,)), ["cluster_lost"], BLOCKED),
        (replace(NOBODY, known=False, nearest="shops"), ["unknown_queue"], BLOCKED),
        (replace(NOBODY, known=False), ["unknown_queue"], BLOCKED),
        (replace(NOBODY, clusters=(cluster(SCHEDULER),)), ["no_workers"], BLOCKED),
        (replace(NOBODY, clusters=(cluster(IDLE, state="stopping"),)), ["stopping"], BLOCKED),
        (replace(NOBODY, clusters=(cluster(IDLE, state="starting"),)), ["starting"], WAITS),
        (replace(HEALTHY, problem="Redis is away."), ["broker_away"], BLOCKED),
    ],
)
def test_a_ready_task_says_what_is_in_its_way(queue: QueueFacts, expected: list[str], conclusion: Conclusion) -> None:
    found = of_task(queue, message=MessageFacts(state="ready"))

    assert codes(found) == expected
    assert found.exit_code == conclusion


def test_a_ready_task_says_how_much_goes_before_it() -> None:
    found = of_task(ALL_BUSY, message=MessageFacts(state="ready", ahead=3))

    assert codes(found) == ["busy", "ahead"]
    assert "3 messages before it" in found.reasons[1].sentence
    assert "the longest, shop.sell, for 30s" in found.reasons[0].sentence


def test_a_delayed_task_says_when_it_is_due_unless_nobody_would_take_it_then() -> None:
    message = MessageFacts(state="delayed", due=NOW + 120)

    assert codes(of_task(message=message)) == ["delayed"]
    assert "due in 2m00" in of_task(message=message).reasons[0].sentence
    assert codes(of_task(ALL_BUSY, message=message)) == ["delayed"], "who is busy now says nothing of later"
    assert codes(of_task(NOBODY, message=message)) == ["no_cluster", "delayed"]
    assert of_task(NOBODY, message=message).exit_code == BLOCKED


def test_a_failed_task_that_is_tried_again_says_why_and_when() -> None:
    found = of_task(row=replace(FAILED, final=False), message=MessageFacts(state="delayed", due=NOW + 42))

    assert codes(found) == ["retry"]
    assert "Run 1 failed (ValueError: no luck); it is retried in 42s." in found.reasons[0].sentence


def test_a_retry_whose_message_is_gone_does_not_come_by_itself() -> None:
    assert codes(of_task(row=replace(FAILED, final=False))) == ["message_gone"]


def test_a_retry_whose_message_cannot_be_looked_for_may_come() -> None:
    blind = replace(HEALTHY, searched=-1, broker="sqs")

    found = of_task(blind, row=replace(FAILED, final=False))

    assert codes(found) == ["retry_unseen"]
    assert found.unseen == ("The broker 'sqs' of queue 'shop' does not show its messages.",)


@pytest.mark.parametrize(
    ("queue", "task", "code"),
    [
        (HEALTHY, {}, "leased"),
        (NOBODY, {}, "abandoned_lease"),
        (NOBODY, {"cluster": GONE, "worker": BUSY}, "lost_worker"),
    ],
)
def test_a_leased_task_says_by_whom_and_until_when(queue: QueueFacts, task: dict[str, Any], code: str) -> None:
    found = of_task(queue, message=MessageFacts(state="leased", due=NOW + 20), **task)

    assert codes(found) == [code]
    assert "in 20s" in found.reasons[0].sentence
    assert found.exit_code == WAITS


def test_a_task_that_nobody_knows_says_what_may_have_become_of_it_and_what_was_not_seen() -> None:
    found = of_task(replace(NOBODY, ready=500, searched=200, unreadable=2))

    assert codes(found) == ["not_found", "unreadable", "no_cluster"]
    assert found.exit_code == UNKNOWN
    assert "the transaction that has sent it is still open" in found.reasons[0].sentence
    assert found.unseen == ("Of 500 messages in queue 'shop' only 200 were looked at.",)


@pytest.mark.parametrize(
    ("queue", "expected", "conclusion"),
    [
        (HEALTHY, ["empty"], FINE),
        (replace(HEALTHY, ready=4), ["flows"], FINE),
        (replace(HEALTHY, delayed=4, first_due=NOW + 60), ["all_delayed"], WAITS),
        (replace(NOBODY, ready=4), ["no_cluster"], BLOCKED),
        (replace(NOBODY, name="shpo", ready=4, known=False, nearest="shop"), ["unknown_queue"], BLOCKED),
        (
            replace(NOBODY, name="shpo", known=False, nearest="shop"), ["unknown_target", "unknown_queue"], UNKNOWN,
        ),
        (replace(HEALTHY, ready=4, unreadable=4), ["flows", "unreadable"], FINE),
    ],
)  # fmt: skip
def test_a_queue_says_whether_anything_is_in_its_way(
    queue: QueueFacts, expected: list[str], conclusion: Conclusion
) -> None:
    found = of_queue(queue)

    assert codes(found) == expected
    assert found.exit_code == conclusion


DUE = ScheduleRowFacts(name="nightly", queue="shop", enabled=True, next_run=NOW + 60)


@pytest.mark.parametrize(
    ("schedule", "queue", "code", "conclusion"),
    [
        (DUE, HEALTHY, "scheduled", WAITS),
        (DUE, ALL_BUSY, "scheduled", WAITS),
        (DUE, NOBODY, "no_cluster", BLOCKED),
        (replace(DUE, enabled=False), NOBODY, "disabled", BLOCKED),
        (replace(DUE, enabled=False), HEALTHY, "disabled", BLOCKED),
        (replace(DUE, error="no such function"), HEALTHY, "schedule_error", BLOCKED),
        (replace(DUE, next_run=None), HEALTHY, "no_next_run", BLOCKED),
        (replace(DUE, next_run=NOW - 1, busy=True, task="x"), HEALTHY, "overlap", WAITS),
        (replace(DUE, next_run=NOW - 600), HEALTHY, "late", WAITS),
        (replace(DUE, next_run=NOW - 600), replace(HEALTHY, clusters=(cluster(IDLE),)), "no_scheduler", BLOCKED),
    ],
)
def test_a_schedule_says_when_it_is_due_or_what_is_wrong_with_it(
    schedule: ScheduleRowFacts, queue: QueueFacts, code: str, conclusion: Conclusion
) -> None:
    found = diagnose(Facts(target="nightly", now=NOW, schedule=schedule, queues=(queue,)))

    assert found.reasons[0].code == code
    assert found.exit_code == conclusion


def test_a_queue_names_its_late_schedules() -> None:
    late = replace(DUE, next_run=NOW - 600)

    assert codes(of_queue(replace(HEALTHY, schedules=(DUE, late)))) == ["empty", "late"]


def test_clocks_that_disagree_and_sync_are_said_last() -> None:
    assert codes(of_queue(HEALTHY, clock_ahead=90.0, sync=True)) == ["empty", "sync", "clock"]
    assert codes(of_queue(HEALTHY, clock_ahead=-1.0)) == ["empty"]


def test_programs_get_words_and_numbers() -> None:
    document = of_queue(NOBODY).as_json()

    assert document["exit_code"] == 4
    assert document["reasons"][0]["code"] == "no_cluster"
    assert document["reasons"][0]["conclusion"] == "blocked"
    assert document["unseen"] == []
