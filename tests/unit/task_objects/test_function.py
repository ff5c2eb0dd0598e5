"""Task objects: what stands in the module, what is sent, and with which options."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from django_cluster import async_task
from django_cluster.brokers import memory
from django_cluster.composition import Chain
from django_cluster.errors import UnknownFunction, UnsuitableFunction
from django_cluster.schedules.planning import package_for_run
from django_cluster.task_objects import TaskContext, TaskFunction, TaskHandle, task
from django_cluster.testing import EnqueuedTask, enqueued
from django_cluster.testing.drain import drain
from tests.fields import fields
from tests.sample.task_objects import add, named, note_context, order, runs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def queues(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False, "ALT_CLUSTERS": {"slow": {}}}
    memory.reset()
    runs.clear()


def sent(queue: str | None = None) -> EnqueuedTask:
    """The only task that waits."""
    (package,) = enqueued(queue)
    return package


def test_a_call_of_the_object_runs_the_function_here() -> None:
    assert add(1, b=2) == 3
    assert enqueued() == []


def test_the_object_looks_like_its_function() -> None:
    assert fields(add, "__name__", "__module__", "__wrapped__") == {
        "__name__": "add",
        "__module__": "tests.sample.task_objects",
        "__wrapped__": add.func,
    }
    assert named.__doc__ == "Its parameters are called like options."
    assert repr(add) == "<task tests.sample.task_objects.add>"


def test_an_object_travels_by_its_name_and_a_copy_with_its_options() -> None:
    assert pickle.loads(pickle.dumps(add)) is add
    copy = pickle.loads(pickle.dumps(order.using(timeout=5)))
    assert (copy.origin, copy.options) == (order, {**order.options, "timeout": 5})


@pytest.mark.parametrize("verb", ["delay", "enqueue", "send", "dispatch"])
def test_each_verb_sends_the_arguments_and_nothing_else(verb: str) -> None:
    handle = getattr(add, verb)(1, b=2)

    package = sent()
    assert (package.func, package.args, package.kwargs) == ("tests.sample.task_objects.add", (1,), {"b": 2})
    assert handle == package.id
    assert isinstance(handle, TaskHandle)


@pytest.mark.parametrize("verb", ["adelay", "aenqueue"])
@pytest.mark.django_db(transaction=True)
def test_each_async_verb_sends_the_arguments(verb: str) -> None:
    handle = async_to_sync(getattr(add, verb))(1, b=2)

    assert sent().id == handle


def test_a_parameter_may_be_called_like_an_option() -> None:
    named.delay(delay=5, queue="x")

    package = sent()
    assert package.kwargs == {"delay": 5, "queue": "x"}
    assert package.options.not_before is None


def test_arguments_that_the_function_does_not_take_are_refused_where_they_are_sent() -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'c'"):
        add.delay(1, c=2)  # type: ignore[call-arg]
    assert enqueued() == []


def test_many_calls_are_sent_together() -> None:
    handles = add.bulk([(1, 2), 3])

    assert [package.args for package in enqueued()] == [(1, 2), (3,)]
    assert handles == [package.id for package in enqueued()]


# ── options ──────────────────────────────────────────────────────────────────────────────────────


def options_of_order() -> dict[str, Any]:
    return sent("slow").options.to_wire()


DECLARED = {
    "queue": "slow",
    "max_attempts": 3,
    "retry_delay": 5.0,
    "retry_backoff": "fixed",
    "timeout": 60.0,
    "priority": 7,
    "group": "orders",
}


@pytest.mark.parametrize("func", [order, "tests.sample.task_objects.order"])
def test_declared_options_hold_however_the_task_is_sent(func: Any) -> None:
    async_task(func, 1)

    assert options_of_order() == DECLARED


def test_declared_options_hold_for_the_object() -> None:
    order.delay(1)

    assert options_of_order() == DECLARED


def test_declared_options_hold_in_a_chain() -> None:
    chain = Chain()
    chain.append(order, 1)
    chain.run()

    assert options_of_order().items() >= {**DECLARED, "group": chain.group}.items()


def test_options_of_a_call_go_before_the_declared_ones() -> None:
    async_task(order, 1, timeout=5)

    assert options_of_order() == {**DECLARED, "timeout": 5.0}


def test_using_makes_a_copy_with_other_options() -> None:
    patient = order.using(timeout=timedelta(minutes=5)).using(priority=0)

    patient.delay(1)

    assert options_of_order() == {**{k: v for k, v in DECLARED.items() if k != "priority"}, "timeout": 300.0}
    assert order.options["timeout"] == 60


def test_the_last_start_time_counts() -> None:
    assert add.using(eta=5e9).using(delay=60).options == {"delay": 60}
    assert add.using(delay=60).using(eta=5e9, priority=1).options == {"eta": 5e9, "priority": 1}


def test_options_have_the_names_of_other_task_queues_too() -> None:
    add.using(queue_name="slow", max_retries=2, job_retry_after=9, time_limit=1500, retry_strategy="linear").delay(1)

    options = sent("slow").options
    assert fields(options, "max_attempts", "retry_delay", "timeout", "retry_backoff") == {
        "max_attempts": 3,
        "retry_delay": 9,
        "timeout": 1.5,
        "retry_backoff": "linear",
    }


def test_send_with_options_counts_the_delay_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)

    handle = add.send_with_options((1,), {"b": 2}, delay=60_000, priority=3)

    assert handle.not_before == 1060.0
    (package,) = [each for each in enqueued() if each.id == handle]
    assert (package.args, package.kwargs, package.options.priority) == ((1,), {"b": 2}, 3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"timout": 5}, r"'timout' is not an option \(did you mean 'timeout'\?\)"),
        ({"timeout": 5, "job_timeout": 6}, "'job_timeout' and 'timeout' are two names of one option"),
        ({"chain": []}, "'chain' belongs to one call, not to a task object"),
        ({"sync": True}, "'sync' belongs to one call"),
        ({"eta": 5}, "'eta' belongs to one call"),
    ],
)
def test_options_that_no_task_could_have_are_refused_where_they_stand(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        task(**options)


@pytest.mark.parametrize("value", [0.5, -1, "quadratic", True, float("nan"), float("inf")])
def test_a_backoff_is_a_factor_or_the_name_of_a_strategy(value: Any) -> None:
    with pytest.raises(ValueError, match="'retry_backoff'"):
        task(retry_backoff=value)


# ── what can be a task ───────────────────────────────────────────────────────────────────────────


def test_a_function_that_no_worker_could_import_is_no_task() -> None:
    with pytest.raises(UnknownFunction, match="defined inside a function"):

        @task
        def local() -> None: ...


def test_a_task_under_another_name_is_refused_when_it_is_sent() -> None:
    other = TaskFunction[..., int](add.func, {})

    with pytest.raises(UnknownFunction, match="must stand there under its own name"):
        other.delay(1)


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_keeps_the_options_of_using_and_reads_those_of_task_at_each_run() -> None:
    plain = order.schedule(1, schedule_type="D")
    changed = order.using(timeout=5).schedule(2, schedule_type="D", q_options={"catch_up": "all", "priority": 1})

    assert [row.kwargs for row in (plain, changed)] == ["{}", "{'q_options': {'timeout': 5, 'priority': 1}}"]
    now = timezone.now()
    assert (
        package_for_run(plain, "x", now, now).header.options.to_wire().items()
        >= {"timeout": 60.0, "queue": "slow"}.items()
    )
    assert (
        package_for_run(changed, "x", now, now).header.options.to_wire().items()
        >= {"timeout": 5.0, "priority": 1}.items()
    )


# ── the context ──────────────────────────────────────────────────────────────────────────────────


def test_a_worker_gives_the_context_and_the_caller_does_not() -> None:
    handle = note_context.delay(5)

    assert drain() == [handle]

    (context,) = runs
    assert fields(context, "id", "attempt", "queue") == {"id": handle, "attempt": 1, "queue": None}
    assert handle.result() == 5


def test_a_call_without_a_queue_has_an_empty_context() -> None:
    assert note_context(5) == 5

    assert runs == [TaskContext(id="", name="", attempt=1, queue=None, enqueued_at=0.0)]


def test_the_context_is_no_argument_of_the_caller() -> None:
    with pytest.raises(TypeError, match="too many positional arguments"):
        note_context.delay(TaskContext(id="", name="", attempt=1, queue=None, enqueued_at=0), 5)  # type: ignore[call-arg, arg-type]


def test_a_function_without_a_parameter_for_the_context_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(without_parameters, "__qualname__", "without_parameters")
    with pytest.raises(UnsuitableFunction, match="it must be the first"):
        task(takes_context=True)(without_parameters)  # type: ignore[arg-type]


def without_parameters() -> None: ...
