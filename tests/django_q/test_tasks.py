"""The functions and classes of ``django_q.tasks``: their arguments, and every option of a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from django_cluster import tasks
from django_cluster.models import Task
from django_cluster.testing.drain import drain
from tests.sample import hooks
from tests.sample.tasks import add, echo, fail

pytestmark = pytest.mark.django_db

SIGNATURES = {
    "async_task": "func *args **kwargs",
    "schedule": "func *args **kwargs",
    "result": "task_id wait=0 cached",
    "result_cached": "task_id wait=0 broker=None",
    "result_group": "group_id failures=False wait count=None cached",
    "result_group_cached": "group_id failures=False wait count=None broker=None",
    "fetch": "task_id wait=0 cached",
    "fetch_cached": "task_id wait=0 broker=None",
    "fetch_group": "group_id failures=True wait count=None cached",
    "fetch_group_cached": "group_id failures=True wait count=None broker=None",
    "count_group": "group_id failures=False cached",
    "count_group_cached": "group_id failures=False broker=None",
    "delete_group": "group_id tasks=False cached",
    "delete_group_cached": "group_id broker=None",
    "delete_cached": "task_id broker=None",
    "queue_size": "broker=None",
    "async_iter": "func args_iter **kwargs",
    "async_chain": "chain group=None cached sync broker=None",
    "Iter": "func=None args=None kwargs=None cached sync broker=None",
    "Iter.append": "self *args",
    "Iter.run": "self",
    "Iter.result": "self wait=0",
    "Iter.fetch": "self wait=0",
    "Iter.length": "self",
    "Chain": "chain=None group=None cached sync broker=None",
    "Chain.append": "self func *args **kwargs",
    "Chain.run": "self",
    "Chain.result": "self wait",
    "Chain.fetch": "self failures=True wait",
    "Chain.current": "self",
    "Chain.length": "self",
    "AsyncTask": "func *args **kwargs",
    "AsyncTask.run": "self",
    "AsyncTask.result": "self wait=0",
    "AsyncTask.fetch": "self wait=0",
    "AsyncTask.result_group": "self failures=False wait count=None",
    "AsyncTask.fetch_group": "self failures=True wait count=None",
}
"""As ``inspect`` shows them in Django-Q 1.11.

Left open are defaults that were read from ``Conf``, and that of ``wait`` where a number of results is waited for: there
0 means "without limit", which is said by other words here.
"""


def found(name: str) -> Callable[..., Any]:
    owner, _, method = name.partition(".")
    named: Callable[..., Any] = getattr(getattr(tasks, owner), method) if method else getattr(tasks, owner)
    return named


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_have_the_same_names_order_and_defaults(name: str) -> None:
    ours = list(inspect.signature(found(name)).parameters.values())
    wanted = SIGNATURES[name].split()

    for place, parameter in enumerate(wanted):
        if parameter.startswith("*"):
            kind = inspect.Parameter.VAR_KEYWORD if parameter.startswith("**") else inspect.Parameter.VAR_POSITIONAL
            assert any(each.kind is kind for each in ours), parameter
            continue
        word, _, default = parameter.partition("=")
        assert ours[place].name == word or ours[place].name.strip("_") == word
        if default:
            assert repr(ours[place].default) == default
    required = [each for each in ours[len(wanted) :] if each.default is each.empty and each.kind < 2]
    assert not required, "ours asks for more than Django-Q's"


def run(*args: Any, **kwargs: Any) -> Task:
    task_id = tasks.async_task(*args, **kwargs)
    drain(raise_errors=False)
    task = tasks.fetch(task_id)
    assert task is not None
    return task


@pytest.fixture(params=["keywords", "q_options"])
def option(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Options can be given in both ways."""
    return lambda **given: given if request.param == "keywords" else {"q_options": given}


def test_the_option_hook_names_what_is_called_with_the_task(
    option: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(hooks.HOOK_FILE, str(tmp_path / "seen"))

    task = run(add, 1, 2, **option(hook="tests.sample.hooks.note"))

    assert (tmp_path / "seen").read_text() == f"{task.id} True\n"


def test_the_option_group_is_kept(option: Any) -> None:
    assert run(add, 1, 2, **option(group="g")).group == "g"
    assert tasks.result_group("g") == [3]


def test_the_option_save_overrides_the_limit(option: Any) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", "save_limit": -1}):
        kept = tasks.async_task(add, 1, 2, **option(save=True))
        dropped = tasks.async_task(add, 1, 2)
        drain()

    assert Task.objects.filter(pk=kept).exists()
    assert not Task.objects.filter(pk=dropped).exists()


def test_the_option_sync_runs_at_once_and_raises(option: Any) -> None:
    assert tasks.result(tasks.async_task(add, 1, 2, **option(sync=True))) == 3
    with pytest.raises(ValueError, match="no luck"):
        tasks.async_task(fail, **option(sync=True))


@pytest.mark.parametrize("cached", [True, 60])
def test_the_option_cached_keeps_the_result_in_the_cache_alone(option: Any, cached: bool | int) -> None:
    task_id = tasks.async_task(add, 1, 2, **option(cached=cached))
    drain()

    assert tasks.result_cached(task_id) == 3
    assert tasks.result(task_id, cached=True) == 3
    assert not Task.objects.exists()


def test_the_option_ack_failure_makes_a_failure_final(option: Any) -> None:
    assert run(fail, **option(ack_failure=True)).final
    assert not run(fail).final


@pytest.mark.parametrize(("timeout", "kept"), [(30, 30.0), (-1, -1.0)])
def test_the_option_timeout_travels(option: Any, timeout: int, kept: float) -> None:
    from django_cluster.client.client import get_client

    tasks.async_task(add, 1, 2, **option(timeout=timeout))

    (waiting,) = get_client().broker.peek()
    assert get_client().codec.loads(waiting.payload).header.options.timeout == kept


def test_the_option_task_name_replaces_the_four_words(option: Any) -> None:
    assert run(add, 1, 2, **option(task_name="mine")).name == "mine"
    assert tasks.result("mine") == 3


def test_the_option_cluster_names_the_queue(option: Any) -> None:
    tasks.async_task(add, 1, 2, **option(queue="long"))

    assert (tasks.queue_size(), drain()) == (0, [])
    assert len(drain("long")) == 1


def test_the_option_broker_is_used(option: Any) -> None:
    from django_q.brokers import get_broker

    broker = get_broker("aside")
    tasks.async_task(add, 1, 2, **option(broker=broker))

    assert (tasks.queue_size(), tasks.queue_size(broker)) == (0, 1)
    broker.purge_queue()


def test_the_option_chain_and_those_of_iterables_belong_to_functions_of_their_own() -> None:
    group = tasks.async_chain([(add, (1, 1)), (add, (2, 2))])
    drain()
    assert sorted(tasks.result_group(group)) == [2, 4]

    group = tasks.async_iter(add, [(1, 1), (2, 2)])
    drain()
    assert tasks.result(group) == [2, 4]


def test_an_id_has_32_digits_and_a_name_has_four_words() -> None:
    task_id = tasks.async_task(echo)
    drain()
    task = tasks.fetch(task_id)

    assert task is not None
    assert len(task_id) == 32
    assert task.name.count("-") == 3


@pytest.mark.parametrize("name", ["broker", "sync", "save", "hook", "group", "cached"])
def test_an_async_task_can_be_set_after_it_was_made(name: str) -> None:
    task = tasks.AsyncTask(add, 1, 2)
    task.run()
    assert task.started

    setattr(task, name, getattr(task, name))

    assert not task.started
