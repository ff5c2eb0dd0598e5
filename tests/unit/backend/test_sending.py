"""The backend of Django's Tasks framework in one process: what it sends, what it reads back, what runs make of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from django_cluster import control
from django_cluster.backend import ClusterBackend
from django_cluster.brokers import memory
from django_cluster.client.results import fetch
from django_cluster.client.retries import retry
from django_cluster.core.correlation import correlate
from django_cluster.framework.compat import InvalidTask, TaskResultDoesNotExist, backend_of, framework_signals
from django_cluster.models import Task, TrackedTask
from django_cluster.testing.drain import drain
from django_cluster.testing.faults import InjectedFailure, fail_at
from django_cluster.testing.inspection import assert_enqueued, assert_not_enqueued, enqueued
from django_cluster.testing.transactions import committing
from tests.sample import framework_tasks

pytestmark = pytest.mark.django_db
tasks: Any = framework_tasks
"""Without their types, which are those of Django: the options of the backend are not among them."""
BACKEND = "django_cluster.backend.ClusterBackend"


@pytest.fixture(autouse=True, params=["orm", "memory"])
def queues(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": request.param, "ALT_CLUSTERS": {"slow": {}}}
    settings.TASKS = {"default": {"BACKEND": BACKEND, "QUEUES": ["default", "slow"]}}
    memory.reset()
    tasks.seen.clear()


def run(result: Any, **options: Any) -> Any:
    drain(raise_errors=False, **options)
    result.refresh()
    return result


def enqueue(task: Any, *args: Any, **kwargs: Any) -> Any:
    """Enqueue as outside of the test's transaction."""
    with committing():
        return task.enqueue(*args, **kwargs)


def test_a_result_is_ready_from_the_moment_of_enqueueing() -> None:
    result = tasks.add.enqueue(1, b=2)

    again = tasks.add.get_result(result.id)
    assert (result.status, again.status) == ("READY", "READY")
    assert (again.args, again.kwargs, again.backend, again.task) == ([1], {"b": 2}, "default", tasks.add)
    assert again.enqueued_at == result.enqueued_at
    assert again == result


def test_a_success() -> None:
    result = run(enqueue(tasks.add, 1, b=2))

    assert (result.status, result.return_value, result.errors, result.attempts) == ("SUCCESSFUL", 3, [], 1)
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at


def test_an_async_task() -> None:
    assert run(enqueue(tasks.async_add, 1, 2)).return_value == 3


@pytest.mark.parametrize(
    ("task", "args", "kind"),
    [
        (tasks.fail, ["no"], ValueError),
        (tasks.exit_process, [], SystemExit),
        (tasks.interrupt, [], KeyboardInterrupt),
        (tasks.return_object, [], TypeError),
    ],
)
def test_a_failure(task: Any, args: list[Any], kind: type) -> None:
    result = run(enqueue(task, *args))

    assert result.status == "FAILED"
    assert [error.exception_class for error in result.errors] == [kind]
    assert kind.__name__ in result.errors[0].traceback
    assert result.finished_at is not None
    with pytest.raises(ValueError, match="Task failed"):
        getattr(result, "return_value")  # noqa: B009  a property that raises


def test_the_context_says_which_run_this_is() -> None:
    result = run(enqueue(tasks.describe.using(metadata={"trace": "a"})))

    assert result.return_value == [1, result.id, "RUNNING", {"trace": "a"}]
    assert result.task.metadata == {"trace": "a"}


def test_metadata_can_be_saved_by_the_task() -> None:
    result = run(enqueue(tasks.count_in_metadata))

    assert TrackedTask.objects.get(pk=result.id).metadata == {"count": 1}


def test_a_discarded_task_has_failed_and_a_snoozed_one_is_ready_again() -> None:
    discarded, snoozed = enqueue(tasks.discard), enqueue(tasks.snooze)
    drain(raise_errors=False)
    for each in (discarded, snoozed):
        each.refresh()

    assert (discarded.status, snoozed.status, snoozed.attempts) == ("FAILED", "READY", 0)
    statuses = dict(TrackedTask.objects.values_list("pk", "status"))
    assert statuses == {discarded.id: "cancelled", snoozed.id: "scheduled"}


def test_arguments_are_json() -> None:
    result = run(enqueue(tasks.echo, (1, 2), {3: b"x"}, text="\0"))

    assert result.return_value == [[[1, 2], {"3": "x"}], {"text": "\0"}]


@pytest.mark.parametrize(("value", "kind"), [({1}, TypeError), (float("nan"), ValueError), (b"\xff", ValueError)])
def test_arguments_that_are_no_json_are_refused_by_name(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="Argument 'a'"):
        tasks.echo.enqueue(a=value)
    assert not TrackedTask.objects.exists()


@pytest.mark.parametrize("task", [tasks.other_name, tasks.in_lambda])
def test_a_task_that_no_worker_finds_is_refused(task: Any) -> None:
    with pytest.raises(InvalidTask, match="No worker can run this task"):
        task.enqueue()


def test_the_task_is_validated_when_it_is_enqueued(settings: Any) -> None:
    slow = tasks.add.using(queue_name="slow")
    settings.TASKS = {"default": {"BACKEND": BACKEND}}

    with pytest.raises(InvalidTask):
        slow.enqueue(1)


def test_a_result_of_a_queue_that_is_gone_can_be_read(settings: Any) -> None:
    result = tasks.add.using(queue_name="slow", priority=7).enqueue(1)
    settings.TASKS = {"default": {"BACKEND": BACKEND}}

    task = tasks.add.get_result(result.id).task
    assert (task.queue_name, task.priority) == ("slow", 7)


def test_a_task_goes_to_its_queue() -> None:
    result = enqueue(tasks.add.using(queue_name="slow"), 1)

    assert [each.queue for each in enqueued()] == ["slow"]
    drain("slow")
    result.refresh()
    assert result.return_value == 1


@pytest.mark.parametrize("id", ["unknown", "0" * 32, "a b", "\0", "", "x" * 1000, 7, None])
def test_an_unknown_id_of_any_shape(id: Any) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        backend_of("default").get_result(id)


def test_what_an_operator_sends_again_has_its_arguments_and_its_queue() -> None:
    result = run(enqueue(tasks.fail.using(queue_name="slow"), "once"), queue="slow")
    row = fetch(result.id)
    assert row is not None

    with committing():
        again = tasks.fail.get_result(retry(row, as_new=True))

    assert (again.status, again.args, again.task.queue_name) == ("READY", ["once"], "slow")


def test_a_delay_may_be_a_timedelta() -> None:
    result = enqueue(tasks.add.using(run_after=timedelta(hours=1)), 1)

    drain()
    result.refresh()
    row = TrackedTask.objects.get(pk=result.id)
    assert (result.status, row.status) == ("READY", "scheduled")
    assert abs((row.run_after or row.enqueued_at) - timezone.now() - timedelta(hours=1)) < timedelta(minutes=1)
    assert tasks.add.get_result(result.id).task.run_after == row.run_after


def test_the_transaction_of_the_caller_decides() -> None:
    with transaction.atomic():
        tasks.add.enqueue(1)
        transaction.set_rollback(True)

    assert (TrackedTask.objects.count(), enqueued()) == (0, [])


def test_many_calls_are_enqueued_together() -> None:
    backend = backend_of("default")
    with committing():
        results = backend.enqueue_many([(tasks.add, (number,), {}) for number in range(3)])

    drain()
    assert [backend.get_result(result.id).return_value for result in results] == [0, 1, 2]


def test_signals_have_the_class_as_sender_and_a_receiver_that_fails_harms_nothing() -> None:
    heard: list[tuple[str, type, str]] = []

    def hear(name: str) -> Any:
        def receiver(sender: Any, task_result: Any, **_: Any) -> None:
            heard.append((name, sender, task_result.status))
            raise LookupError(name)

        return receiver

    signals = framework_signals()
    receivers = {name: hear(name) for name in ("task_enqueued", "task_started", "task_finished")}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    try:
        result = run(enqueue(tasks.add, 1))
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)

    assert result.status == "SUCCESSFUL"
    assert heard == [
        ("task_enqueued", ClusterBackend, "READY"),
        ("task_started", ClusterBackend, "RUNNING"),
        ("task_finished", ClusterBackend, "SUCCESSFUL"),
    ]


def test_a_message_that_names_no_task_is_not_called() -> None:
    result = enqueue(tasks.add, 1)
    TrackedTask.objects.filter(pk=result.id).update(func="os.getcwd")
    with pytest.raises(Exception, match=r"os\.getcwd is not a task"):
        backend_of("default").get_result(result.id)


def test_a_task_of_the_framework_is_named_by_itself_in_tests_and_pauses() -> None:
    result = enqueue(tasks.add, 1, b=2)
    assert assert_enqueued(tasks.add, (1,), {"b": 2}).id == result.id
    assert_not_enqueued(tasks.echo)

    with fail_at(tasks.add, 1):
        assert run(result).errors[0].exception_class is InjectedFailure
    with pytest.raises(AssertionError, match=r"^tests\.sample\.framework_tasks\.add is not enqueued\."):
        assert_enqueued(tasks.add)

    assert control.pause_task(tasks.add)
    assert [each.func for each in control.paused_tasks()] == ["tests.sample.framework_tasks.add"]
    assert control.resume_task(tasks.add)


def test_a_task_belongs_to_what_has_sent_it() -> None:
    with correlate("order 7"):
        sent = [run(enqueue(tasks.add, 1)), run(enqueue(tasks.async_add, 1, 2)), run(enqueue(tasks.fail, "no"))]
    alone = run(enqueue(tasks.add, 1))

    assert {row.id for row in Task.objects.correlated("order 7")} == {result.id for result in sent}
    row = fetch(alone.id)
    assert row is not None
    assert row.correlation_id == alone.id
