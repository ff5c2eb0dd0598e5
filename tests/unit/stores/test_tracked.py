"""Rows of tracked tasks: fences, second messages, runs that vanished, and how long rows are kept."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from django_cluster.core.messages import Outcome, TaskHeader, TaskOptions
from django_cluster.core.settings import ResultSettings
from django_cluster.core.task_ids import new_task_id
from django_cluster.models import TrackedTask
from django_cluster.stores.abandoned_runs import LEAST_SILENCE
from django_cluster.stores.orm import OrmResults
from django_cluster.stores.status import ClusterStatus, ProcessStatus, RunningTask, StatusStore
from django_cluster.stores.tracked import BegunRun, Refusal, SendingDetails, TrackedTasks, new_row
from django_cluster.stores.tracked_ends import note_ends
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
