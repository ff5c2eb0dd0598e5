"""What views call, end to end and inline, against real rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_cluster import (
    AsyncTask,
    Group,
    async_bulk,
    async_chain,
    async_iter,
    async_task,
    call,
    count_group,
    delete_cached,
    delete_group,
    fetch,
    fetch_group,
    queue_size,
    result,
    result_group,
    schedule,
)
from django_cluster.brokers import memory
from django_cluster.client.client import get_client
from django_cluster.core.messages import TaskPackage
from django_cluster.errors import NotFinished, NotSerializable, NotSupported, UnknownFunction, UnsuitableFunction
from django_cluster.models import Failure, QueuedTask, Schedule, Success, Task
from django_cluster.signals import post_execute, pre_enqueue
from django_cluster.tasks import fetch_cached, result_cached, retry
from tests.fields import fields
from tests.sample import hooks, tasks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_memory(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False}
    memory.reset()


def sent(cluster: str | None = None) -> list[TaskPackage]:
    """What is on the queue."""
    client = get_client(cluster)
    return [client.codec.loads(delivery.payload) for delivery in client.broker.lease(100)]


# ── asking for work ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [float("nan"), [float("inf")]], ids=str)
def test_a_schedule_is_refused_where_json_could_not_carry_its_arguments(value: object, settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "serializer": "json"}

    with pytest.raises(NotSerializable, match="The arguments"):
        schedule(tasks.echo, value)
    with pytest.raises(NotSerializable, match="The arguments"):
        schedule(tasks.echo, when=value)
    assert not Schedule.objects.exists()
    schedule(tasks.echo, [1, 2], when="now", q_options={"starts_at": datetime(2026, 1, 1, tzinfo=UTC), "timeout": 3})


def test_a_task_is_sent_and_its_id_returned() -> None:
    task_id = async_task(tasks.add, 1, b=2)

    (package,) = sent()
    assert package.id == task_id
    assert (package.header.func, package.args, package.kwargs) == ("tests.sample.tasks.add", (1,), {"b": 2})


def test_a_function_may_be_named_by_its_path() -> None:
    async_task("tests.sample.tasks.add", 1, 2)

    assert sent()[0].header.func == "tests.sample.tasks.add"


def test_options_are_taken_out_of_the_keywords() -> None:
    async_task(tasks.echo, x=1, group="letters", timeout=5, task_name="census", hook=hooks.note, save=True)

    (package,) = sent()
    options = package.header.options
    assert package.kwargs == {"x": 1}
    assert package.header.name == "census"
    assert (options.group, options.timeout, options.hook, options.save) == (
        *("letters", 5.0, "tests.sample.hooks.note", True),
    )


def test_with_q_options_a_keyword_that_looks_like_an_option_reaches_the_function() -> None:
    q_options = {"group": "letters", "task_name": "census"}

    task_id = async_task(tasks.echo, group="mine", sync="mine too", q_options={**q_options, "sync": True})

    row = Task.objects.get(pk=task_id)
    assert row.result == ((), {"group": "mine", "sync": "mine too"})
    assert (row.group, row.name) == ("letters", "census")


def test_the_options_of_the_caller_stay_as_they_were() -> None:
    q_options = {"group": "letters", "task_name": "census", "sync": True}

    async_task(tasks.echo, q_options=q_options)

    assert q_options == {"group": "letters", "task_name": "census", "sync": True}


def test_a_task_goes_to_the_cluster_it_names() -> None:
    async_task(tasks.nothing, queue="other")

    assert (queue_size(), get_client("other").broker.size().ready) == (0, 1)
    assert sent("other")[0].header.options.queue == "other"


def test_a_task_goes_through_the_broker_it_names(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "brokers": {"audit": {"orm": "default"}}}

    async_task(tasks.nothing, broker="audit")
    async_task(tasks.nothing, q_options={"broker": "audit", "queue": "other"})

    assert queue_size() == 0
    assert [row.key for row in QueuedTask.objects.order_by("id")] == ["tests", "other"]
    (first, _) = [get_client().codec.for_queue(row.key).loads(row.payload) for row in QueuedTask.objects.order_by("id")]
    assert first.header.options.broker == "audit"


def test_what_was_put_aside_goes_back_to_its_broker_with_its_priority(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "brokers": {"audit": {"orm": "default"}}}
    moment = timezone.now()
    moments = {"enqueued_at": moment, "started_at": moment, "stopped_at": moment}
    options = {"broker": "audit", "priority": 5}
    dead = Task.objects.create(
        id="d" * 32, func="a.b", status="dead", success=False, payload="as it came", options=options, **moments
    )

    retry(dead)

    (row,) = QueuedTask.objects.all()
    assert fields(row, "queue", "payload", "priority", "attempts") == {
        "queue": "tests",
        "payload": "as it came",
        "priority": 5,
        "attempts": 0,
    }


def test_a_broker_that_is_not_configured_is_refused_at_the_door() -> None:
    with pytest.raises(NotSupported, match="'audit'"):
        async_task(tasks.nothing, broker="audit")

    assert queue_size() == 0


def test_a_broker_at_hand_does_not_travel() -> None:
    async_task(tasks.nothing, broker=get_client("other").broker)

    assert sent("other")[0].header.options.broker is None


def test_a_task_may_wait(clock: Any) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    async_task(tasks.nothing, q_options={"eta": later})
    async_task(tasks.nothing, q_options={"delay": timedelta(hours=1)})

    assert get_client().broker.size().delayed == 2
    assert queue_size() == 0


@pytest.mark.parametrize("option", ["iter_count", "iter_cached"])
def test_what_async_iter_sets_itself_is_refused_and_sends_nothing(option: str) -> None:
    with pytest.raises(TypeError, match="async_iter"):
        async_task(tasks.nothing, **{option: 1})

    assert queue_size() == 0


@pytest.mark.parametrize("func", [lambda: None, "nope", "shop.tasks:send", "shop.tasks.send mail"])
def test_a_function_that_nobody_could_find_is_refused_at_the_door(func: Any) -> None:
    with pytest.raises(UnknownFunction):
        async_task(func)
    with pytest.raises(ValueError, match=r"A lambda has no name|dotted path"):
        schedule(func)

    assert queue_size() == 0


def test_a_path_may_lead_into_another_program() -> None:
    async_task("no.such.function")

    assert queue_size() == 1


def test_many_tasks_are_sent_at_once_in_their_order() -> None:
    ids = async_bulk(tasks.echo, [(1, 2), [3, 4], "56"], group="letters")

    packages = sent()
    assert [package.id for package in packages] == ids
    assert [package.args for package in packages] == [(1, 2), (3, 4), ("56",)]
    assert {package.header.options.group for package in packages} == {"letters"}


@pytest.mark.parametrize(
    "ask",
    [
        lambda func: async_task(func),
        lambda func: async_bulk(func, [()]),
        lambda func: async_iter(func, [()]),
        lambda func: async_chain([func]),
        lambda func: async_task(tasks.nothing, chain=[func]),
        lambda func: Group([func]).run(),
        lambda func: Group([tasks.nothing]).on_success(func).run(),
        lambda func: schedule(func),
        lambda func: async_task(tasks.nothing, hook=func),
        lambda func: async_iter(tasks.echo, [1], hook=func),
        lambda func: schedule(tasks.nothing, hook=func),
        lambda func: AsyncTask(func).run(),
    ],
    ids=range(12),
)
@pytest.mark.parametrize("func", [tasks.generate_later, "tests.sample.tasks.generate_later"], ids=["function", "path"])
def test_an_async_generator_is_refused_however_it_is_sent(ask: Callable[[Any], Any], func: Any) -> None:
    with pytest.raises(UnsuitableFunction, match="async generator"):
        ask(func)
    assert queue_size() == 0
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: async_task(tasks.nothing, 7, queue="slow", q_options={"max_attempts": 1}),
        lambda: async_bulk(tasks.nothing, [()], queue="slow", q_options={"max_attempts": 1}),
        lambda: async_iter(tasks.fail, ["x"], queue="slow", q_options={"max_attempts": 1}),
        lambda: async_chain([(tasks.nothing, (), {}), (tasks.add, (1,), {})]),
        lambda: Group([call(tasks.add, 1, 2), call(tasks.add, 1)]).run(),
        lambda: Group([call(tasks.add, 1, 2)]).on_success(tasks.add, 1).run(),
        lambda: AsyncTask(tasks.add, 1).run(),
        lambda: async_task(tasks.add, 1, sync=True),
    ],
    ids=range(8),
)
def test_arguments_that_the_function_does_not_take_are_refused_however_they_are_sent(ask: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="cannot be called so"):
        ask()
    assert queue_size() == 0
    assert Task.objects.count() == 0


def test_no_tasks_are_no_trouble() -> None:
    assert async_bulk(tasks.add, []) == []


def test_a_broker_may_be_given_along() -> None:
    other = get_client("other").broker

    async_task(tasks.nothing, broker=other)

    assert queue_size(other) == 1
    assert queue_size() == 0


def test_receivers_hear_of_what_is_sent() -> None:
    heard: list[str] = []

    def listen(task: TaskPackage, **_: Any) -> None:
        heard.append(task.id)

    pre_enqueue.connect(listen)
    try:
        task_id = async_task(tasks.nothing)
    finally:
        pre_enqueue.disconnect(listen)

    assert heard == [task_id]


# ── inline, end to end ───────────────────────────────────────────────────────────────────────────


def test_sync_leaves_a_row_as_a_cluster_would() -> None:
    task_id = async_task(tasks.echo, 1, x=2, sync=True, group="letters")

    row = Success.objects.get(pk=task_id)
    assert fields(row, "args", "kwargs", "result") == {"args": (1,), "kwargs": {"x": 2}, "result": ((1,), {"x": 2})}
    assert fields(row, "func", "group", "attempt_count", "final") == {
        "func": "tests.sample.tasks.echo",
        "group": "letters",
        "attempt_count": 1,
        "final": True,
    }
    assert row.enqueued_at <= row.started_at <= row.stopped_at


def test_sync_raises_after_recording() -> None:
    with pytest.raises(ValueError, match="no luck"):
        async_task(tasks.fail, "no luck", sync=True, task_name="unlucky")

    row = Failure.objects.get(name="unlucky")
    assert (row.error_kind, row.error_message) == ("ValueError", "no luck")
    assert "tests/sample/tasks.py" in row.error_traceback


def test_sync_of_a_function_that_does_not_exist_is_recorded_and_raised() -> None:
    with pytest.raises(UnknownFunction):
        async_task("tests.sample.tasks.no_such_task", sync=True, task_name="lost")

    assert Failure.objects.get(name="lost").status == "rejected"


def test_sync_of_a_result_that_cannot_be_carried_is_recorded_and_raised() -> None:
    with pytest.raises(Exception, match="stays where it is"):
        async_task(tasks.unpicklable, sync=True)

    assert Failure.objects.count() == 1


def test_sync_calls_the_hook_with_the_saved_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hooks.HOOK_FILE, str(tmp_path / "notes"))

    task_id = async_task(tasks.nothing, sync=True, hook=hooks.note)

    assert (tmp_path / "notes").read_text() == f"{task_id} True\n"


def test_a_row_that_is_saved_again_calls_no_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hooks.HOOK_FILE, str(tmp_path / "notes"))
    task_id = async_task(tasks.nothing, sync=True, hook=hooks.note)

    Task.objects.get(pk=task_id).save()

    assert (tmp_path / "notes").read_text() == f"{task_id} True\n"


def test_a_hook_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    task_id = async_task(tasks.nothing, sync=True, hook=hooks.fail)

    assert Task.objects.get(pk=task_id).success
    assert "has no luck" in caplog.text


def test_sync_announces_the_outcome() -> None:
    heard: list[str] = []

    def listen(task: Any, **_: Any) -> None:
        heard.append(task.id)

    post_execute.connect(listen)
    try:
        task_id = async_task(tasks.nothing, sync=True)
    finally:
        post_execute.disconnect(listen)

    assert heard == [task_id]


def test_a_success_that_is_not_to_be_saved_leaves_no_row() -> None:
    task_id = async_task(tasks.nothing, sync=True, save=False)

    assert fetch(task_id) is None


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def test_a_result_is_found_by_id_and_by_name() -> None:
    task_id = async_task(tasks.add, 1, 2, sync=True, task_name="sum")

    assert result(task_id) == result("sum") == 3
    found = fetch("sum")
    assert found is not None
    assert found.pk == task_id


def test_of_tasks_of_one_name_the_newest_is_found() -> None:
    for number in range(3):
        async_task(tasks.add, number, 0, sync=True, task_name="sum")

    assert result("sum") == 2


def test_not_finished_can_be_told_from_returned_none() -> None:
    nothing = async_task(tasks.nothing, sync=True)
    waiting = async_task(tasks.nothing)

    assert result(nothing, required=True) is None
    assert result(waiting) is None
    with pytest.raises(NotFinished):
        result(waiting, required=True)


def test_the_result_of_a_failed_task_is_the_text_of_its_error() -> None:
    with pytest.raises(ValueError, match="no luck"):
        async_task(tasks.fail, "no luck", sync=True, task_name="unlucky")

    assert "no luck" in result("unlucky")


def test_waiting_ends_when_the_time_is_up() -> None:
    assert fetch(async_task(tasks.nothing), wait=20) is None


def test_a_cached_result_is_in_the_cache_and_in_no_row() -> None:
    task_id = async_task(tasks.add, 1, 2, sync=True, cached=60)

    assert not Task.objects.exists()
    assert result_cached(task_id) == result(task_id, cached=True) == result(task_id) == 3
    assert result(task_id, cached=False) is None
    found = fetch_cached(task_id)
    assert found is not None
    assert found.success


def test_a_cached_result_can_be_forgotten() -> None:
    task_id = async_task(tasks.add, 1, 2, sync=True, cached=True)

    assert delete_cached(task_id)
    assert not delete_cached(task_id)
    assert result_cached(task_id) is None


# ── groups ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def group() -> str:
    """Two successes and a failure."""
    for arguments in [(1, 2), (3, 4)]:
        async_task(tasks.add, *arguments, sync=True, group="letters")
    with pytest.raises(ValueError, match="no luck"):
        async_task(tasks.fail, sync=True, group="letters")
    return "letters"


def test_a_group_is_read_together(group: str) -> None:
    assert sorted(result_group(group)) == [3, 7]
    assert len(result_group(group, failures=True)) == 3
    assert len(fetch_group(group)) == 3
    assert [task.success for task in fetch_group(group, failures=False)] == [True, True]
    assert (count_group(group), count_group(group, failures=True)) == (3, 1)


def test_a_group_loses_its_label(group: str) -> None:
    assert delete_group(group) == 3
    assert count_group(group) == 0
    assert Task.objects.count() == 3


def test_a_group_is_deleted_with_its_tasks(group: str) -> None:
    assert delete_group(group, tasks=True) == 3
    assert not Task.objects.exists()


def test_a_group_that_does_not_exist_is_empty() -> None:
    assert fetch_group("nobody") == []
    assert delete_group("nobody") == 0
    assert delete_group("nobody", cached=True) == 0


# ── the queue ────────────────────────────────────────────────────────────────────────────────────


def test_only_what_waits_counts_as_queued() -> None:
    async_bulk(tasks.nothing, [() for _ in range(5)])
    async_task(tasks.nothing, q_options={"delay": 60})
    get_client().broker.lease(2)

    assert queue_size() == 3


# ── sending again ────────────────────────────────────────────────────────────────────────────────


def ended(func: Any, *args: Any, **kwargs: Any) -> Task:
    """The row of a task that ran here and now."""
    task: Task | None = fetch(async_task(func, *args, **kwargs))
    assert task is not None
    return task


def test_a_task_that_is_sent_again_keeps_every_option() -> None:
    options = {
        **{"group": "primes", "hook": hooks.fail, "timeout": 7, "ack_failure": True, "max_attempts": 3},
        **{"priority": 5, "retry_on": [OSError], "retry_delay": 2, "save": True},
    }
    task = ended(tasks.add, 1, b=2, q_options={**options, "sync": True})

    task_id = retry(task, as_new=True)

    (package,) = sent()
    assert task_id == package.id != task.id
    assert (package.header.func, package.args, package.kwargs) == (task.func, (1,), {"b": 2})
    assert package.header.options == replace(task.given_options, queue="tests", correlation_id=task.id)
    assert package.header.options.retry_on == ("OSError",)
    assert (package.header.options.timeout, package.header.options.priority) == (7, 5)


def test_a_task_that_had_to_wait_is_sent_again_at_once() -> None:
    task = ended(tasks.add, 1, 2, q_options={"sync": True, "delay": 3600})

    retry(task, as_new=True)

    assert sent()[0].header.options.not_before is None


def test_what_stands_in_a_row_is_sent_again_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function may take other arguments by now, in the program that runs it."""
    task = ended(tasks.echo, 1, 2, 3, sync=True)
    monkeypatch.setattr(tasks, "echo", tasks.add)

    retry(task, as_new=True)

    assert sent()[0].args == (1, 2, 3)


def test_only_a_name_that_was_given_is_kept() -> None:
    retry(ended(tasks.add, 1, 2, sync=True, task_name="the sum"), as_new=True)
    retry(nameless := ended(tasks.add, 1, 2, sync=True), as_new=True)

    named, other = sent()
    assert named.header.name == "the sum"
    assert other.header.name != nameless.name


def test_a_task_that_was_put_aside_unopened_is_sent_again_with_its_arguments() -> None:
    async_task(tasks.add, 1, b=2)
    (delivery,) = get_client().broker.lease(1)
    task_id = get_client().codec.loads(delivery.payload).id
    row = Task(id=task_id, name="x", func="tests.sample.tasks.add", payload=delivery.payload)

    retry(row, as_new=True)

    (package,) = sent()
    assert (package.args, package.kwargs) == ((1,), {"b": 2})
