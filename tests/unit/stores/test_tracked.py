"""Rows of tracked tasks: fences, second messages, runs that vanished, and how long rows are kept."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from django_cluster.core.messages import Outcome, TaskHeader, TaskOptions, TrackedEnd
from django_cluster.core.settings import ResultSettings
from django_cluster.core.task_ids import new_task_id
from django_cluster.models import TrackedTask
from django_cluster.stores.abandoned_runs import LEAST_SILENCE
from django_cluster.stores.orm import OrmResults
from django_cluster.stores.status import ClusterStatus, ProcessStatus, RunningTask, StatusStore
from django_cluster.stores.tracked import SendingDetails, TrackedTasks, moment, new_row
from django_cluster.stores.tracked_ends import note_ends
from django_cluster.stores.tracked_runs import BegunRun, Refusal
from django_cluster.testing.outcomes import make_outcome

pytestmark = pytest.mark.django_db


@pytest.fixture
def store() -> TrackedTasks:
    return TrackedTasks("default")


@pytest.fixture
def header(store: TrackedTasks) -> TaskHeader:
    options = TaskOptions(track=True)
    header = TaskHeader(id=new_task_id(), name="name", func="app.func", enqueued_at=time.time(), options=options)
    store.add([new_row(header, SendingDetails(), "queue")])
    return header


def begin(store: TrackedTasks, header: TaskHeader, delivery: int, worker: str = "one") -> BegunRun | Refusal:
    return store.begin(header, delivery, worker, time.time(), SendingDetails)


def run(store: TrackedTasks, header: TaskHeader, delivery: int, worker: str = "one") -> BegunRun:
    begun = begin(store, header, delivery, worker)
    assert isinstance(begun, BegunRun)
    return begun


def ended(header: TaskHeader, **more: object) -> Outcome:
    return make_outcome(id=header.id, options={"track": True}, **more)


def test_a_run_that_is_not_the_last_writes_nothing(store: TrackedTasks, header: TaskHeader) -> None:
    first = run(store, header, 1)
    second = run(store, header, 2, "two")

    assert not store.end(header.id, first, status="success")
    assert store.end(header.id, second, status="success")
    row = TrackedTask.objects.get()
    assert (row.attempt, row.worker_ids) == (2, ["one", "two"])
    assert [kind for kind, _ in row.errors] == ["django_cluster.errors.WorkerLost"]


def test_a_second_message_waits_while_the_first_runs_and_ends_after_it(store: TrackedTasks, header: TaskHeader) -> None:
    first = run(store, header, 1)

    assert begin(store, header, 1, "two") == Refusal(ended=False)
    store.end(header.id, first, status="success")
    assert begin(store, header, 1, "two") == Refusal(ended=True)


def test_a_run_shows_no_traceback() -> None:
    assert "secret" not in repr(BegunRun(1, timezone.now(), timezone.now(), ("one",), (("Error", "secret"),)))


def test_a_worker_whose_answer_was_lost_goes_on(store: TrackedTasks, header: TaskHeader) -> None:
    first = run(store, header, 1)

    assert run(store, header, 1).attempt == first.attempt


def test_a_run_that_no_cluster_knows_does_not_forbid_the_next(store: TrackedTasks, header: TaskHeader) -> None:
    """A worker that was stopped in the middle of a run leaves a row that says running, and the message comes back
    under the same number; so does that of a snoozed run whose end could not be written."""
    now = time.time()

    def begin_after(seconds: float) -> BegunRun | Refusal:
        return store.begin(header, 1, "two", now + seconds, SendingDetails)

    assert isinstance(store.begin(header, 1, "one", now, SendingDetails), BegunRun)
    publish("other", "0" * 32)

    assert begin_after(LEAST_SILENCE - 1) == Refusal(ended=False)
    publish("its cluster", header.id)
    assert begin_after(3600) == Refusal(ended=False)  # it goes on
    StatusStore("default").remove("its cluster")

    begun = begin_after(LEAST_SILENCE + 1)

    assert isinstance(begun, BegunRun)
    assert (begun.attempt, begun.worker_ids) == (2, ("one", "two"))
    assert begin(store, header, 1, "three") == Refusal(ended=False)  # that has just begun


def test_without_heartbeats_a_run_is_believed_to_go_on_for_an_hour(store: TrackedTasks, header: TaskHeader) -> None:
    now = time.time()
    store.begin(header, 1, "one", now, SendingDetails)

    assert store.begin(header, 1, "two", now + 3000, SendingDetails) == Refusal(ended=False)
    assert isinstance(store.begin(header, 1, "two", now + 3601, SendingDetails), BegunRun)


def publish(cluster_id: str, task_id: str) -> None:
    """Write the heartbeat of a cluster with a worker that runs this task."""
    task = RunningTask(id=task_id, name="name", func="app.func", started=time.time())
    worker = ProcessStatus(role="worker", pid=1, state="busy", task=task)
    status = ClusterStatus(
        id=cluster_id,
        name="name",
        queues=("queue",),
        host="host",
        pid=1,
        state="running",
        started_at=0.0,
        published_at=0.0,
        interval=2.0,
        versions={},
        processes=(worker,),
    )
    StatusStore("default").publish(status)


def test_a_message_without_a_row_gets_one(store: TrackedTasks, header: TaskHeader) -> None:
    TrackedTask.objects.all().delete()

    run(store, header, 1)

    assert TrackedTask.objects.get().status == "running"


@pytest.mark.parametrize(
    ("status", "final", "expected"), [("lost", True, "failed"), ("lost", False, "retrying"), ("dead", True, "dead")]
)
def test_the_monitor_writes_what_a_dead_worker_could_not(
    store: TrackedTasks, header: TaskHeader, status: str, final: bool, expected: str
) -> None:
    run(store, header, 1)

    note_ends(store, [ended(header, status=status, final=final, failure=("WorkerLost", "Killed.", ""))])

    row = TrackedTask.objects.get()
    assert (row.status, row.errors) == (expected, [["django_cluster.errors.WorkerLost", "Killed."]])
    assert (row.finished_at is not None) is final


def test_the_monitor_leaves_a_later_run(store: TrackedTasks, header: TaskHeader) -> None:
    first = run(store, header, 1)
    store.end(header.id, first, status="retrying")
    run(store, header, 2)

    note_ends(store, [ended(header, status="lost", failure=("WorkerLost", "Killed.", ""))])

    assert TrackedTask.objects.get().status == "running"


@pytest.mark.parametrize("text", ["{broken", "5", '["a"]', '[["a"], [1, 2, 3]]', "[" * 100_000])
def test_a_row_that_was_changed_by_hand_stops_neither_a_worker_nor_the_monitor(
    store: TrackedTasks, header: TaskHeader, text: str
) -> None:
    run(store, header, 1)
    with connection.cursor() as cursor:
        table = TrackedTask._meta.db_table
        cursor.execute(f"UPDATE {table} SET errors = %s, worker_ids = %s, arguments = %s", [text] * 3)

    assert run(store, header, 2, "two").attempt == 2
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET errors = %s, worker_ids = %s", [text] * 2)
    note_ends(store, [ended(header, status="lost", attempt=2, final=True, failure=("WorkerLost", "gone", ""))])

    row = TrackedTask.objects.get()
    assert (row.status, [kind for kind, _ in row.errors]) == ("failed", ["django_cluster.errors.WorkerLost"])


@pytest.mark.parametrize("moment", [-1.0e11, 253_402_128_000.0])
def test_every_header_that_can_be_read_has_a_row(store: TrackedTasks, moment: float) -> None:
    options = TaskOptions(backend="b" * 500, queue="q" * 500, priority=40_000, not_before=moment, group="\0" * 500)
    header = TaskHeader(id=new_task_id(), name="n" * 500, func="f" * 500, enqueued_at=0.0, options=options)
    details = SendingDetails("\N{GRINNING FACE}" * 500)

    begun = store.begin(header, 1, "one", time.time(), lambda: details)

    assert isinstance(begun, BegunRun)
    TrackedTask.objects.get().full_clean(exclude=["arguments", "metadata", "return_value", "group", "broker"])


def test_rows_are_kept_for_their_days_after_the_end(store: TrackedTasks, header: TaskHeader) -> None:
    results = OrmResults(ResultSettings(save_limit=1, retention_days={"success": 0.0}, tracked_retention_days=2))
    old = timezone.now() - timedelta(days=3)
    TrackedTask.objects.update(enqueued_at=old)
    results.prune()
    assert TrackedTask.objects.count() == 1  # it has not ended

    TrackedTask.objects.update(status="success", finished_at=old)
    results._pruner._age_at = 0
    results.prune()
    assert TrackedTask.objects.count() == 0


def test_an_untracked_task_costs_no_statement(store: TrackedTasks, django_assert_num_queries: object) -> None:
    with connection.execute_wrapper(lambda *_: pytest.fail("A statement was sent.")):
        note_ends(store, [make_outcome(options={"timeout": 3.0})])


# ── runs that are written down ahead ─────────────────────────────────────────────────────────────


def test_first_runs_are_written_down_together(store: TrackedTasks, header: TaskHeader) -> None:
    other, begun_before, unknown = (
        replace(header, id=new_task_id()),
        replace(header, id=new_task_id()),
        new_task_id(),
    )
    store.add([new_row(each, SendingDetails(), "queue") for each in (other, begun_before)])
    run(store, begun_before, 1)

    begun = store.begin_ahead({header.id: 1, other.id: 2, begun_before.id: 2, unknown: 1}, "one", time.time())

    assert set(begun) == {header.id, other.id}
    assert store.end(header.id, begun[header.id], status="success")
    row = TrackedTask.objects.get(pk=other.id)
    assert (row.status, row.attempt, row.worker_ids) == ("running", 1, ["one"])


def test_what_was_written_ahead_and_not_begun_is_taken_over_as_if_it_had_not_been(
    store: TrackedTasks, header: TaskHeader
) -> None:
    store.begin_ahead({header.id: 1}, "one", time.time())

    assert begin(store, header, 1, "two") == Refusal(ended=False)  # another message of the task
    begun = store.begin(header, 1, "two", time.time(), SendingDetails, handed_over=True)

    assert isinstance(begun, BegunRun)
    assert (begun.worker_ids, begun.errors) == (("two",), ())
    store.take_back([header.id], "one")  # too late
    assert TrackedTask.objects.get().status == "running"
    assert store.end(header.id, begun, status="success")


def test_what_was_begun_alone_is_not_taken_over(store: TrackedTasks, header: TaskHeader) -> None:
    run(store, header, 1)

    begun = store.begin(header, 1, "two", time.time(), SendingDetails, handed_over=True)

    assert begun == Refusal(ended=False)


def test_what_a_worker_takes_back_waits_again(store: TrackedTasks, header: TaskHeader) -> None:
    store.begin_ahead({header.id: 1}, "one", time.time())

    store.take_back([header.id], "one")

    row = TrackedTask.objects.get()
    assert (row.status, row.attempt, row.worker_ids, row.started_at) == ("queued", 0, [], None)
    assert run(store, header, 1, "two").attempt == 1


def test_the_next_lease_of_what_was_written_ahead_blames_no_worker(store: TrackedTasks, header: TaskHeader) -> None:
    """Its cluster died: whether it had begun is not known."""
    store.begin_ahead({header.id: 1}, "one", time.time())

    begun = run(store, header, 2, "two")

    assert (begun.attempt, begun.worker_ids, begun.errors) == (2, ("one", "two"), ())


def test_a_worker_that_comes_to_a_task_of_its_own_goes_on(store: TrackedTasks, header: TaskHeader) -> None:
    store.begin_ahead({header.id: 1}, "one", time.time())

    assert store.begin_ahead({header.id: 1}, "one", time.time())[header.id].attempt == 1
    assert run(store, header, 1, "one").attempt == 1


# ── ends that workers leave to the monitor ───────────────────────────────────────────────────────


def left(header: TaskHeader, attempt: int = 1, **more: object) -> Outcome:
    end = TrackedEnd(attempt, 1_000.0, 1_001.0, **{k: more.pop(k) for k in ("errors", "return_value") if k in more})  # type: ignore[arg-type]
    return ended(header, tracked_end=end.plain, **more)


def test_the_monitor_writes_an_end_with_its_value_and_its_moments(store: TrackedTasks, header: TaskHeader) -> None:
    run(store, header, 1)

    note_ends(store, [left(header, return_value='{"a": 1}')])

    row = TrackedTask.objects.get()
    assert (row.status, row.return_value, row.errors) == ("success", {"a": 1}, [])
    assert (row.started_at, row.last_attempted_at, row.finished_at) == (moment(1_000), moment(1_000), moment(1_001))


def test_a_failure_that_is_tried_again_keeps_its_first_start(store: TrackedTasks, header: TaskHeader) -> None:
    errors = '[["builtins.ValueError", "text"]]'
    run(store, header, 1)
    note_ends(store, [left(header, errors=errors, status="failure", final=False)])
    row = TrackedTask.objects.get()
    assert (row.status, row.errors, row.finished_at) == ("retrying", [["builtins.ValueError", "text"]], None)

    run(store, header, 2)
    note_ends(store, [left(header, 2)])

    row = TrackedTask.objects.get()
    assert (row.status, len(row.errors), row.attempt) == ("success", 1, 2)
    assert row.started_at == moment(1_000)


def test_an_end_that_a_later_run_has_overtaken_is_not_written(store: TrackedTasks, header: TaskHeader) -> None:
    run(store, header, 1)
    run(store, header, 2)

    note_ends(store, [left(header, 1, return_value="1")])

    assert TrackedTask.objects.get().status == "running"


def test_an_end_is_written_though_the_server_has_forgotten_the_beginning(
    store: TrackedTasks, header: TaskHeader
) -> None:
    note_ends(store, [left(header, return_value="[5]")])

    row = TrackedTask.objects.get()
    assert (row.status, row.return_value) == ("success", [5])


def test_an_end_can_be_written_twice(store: TrackedTasks, header: TaskHeader) -> None:
    run(store, header, 1)
    for _ in range(2):
        note_ends(store, [left(header, return_value="2")])

    assert TrackedTask.objects.get().return_value == 2
