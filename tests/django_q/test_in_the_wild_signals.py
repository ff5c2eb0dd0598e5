"""How projects use Django-Q's signals: dicts that they read, write into, and expect to meet again."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any
from unittest.mock import patch

import pytest
from django.test import override_settings

from django_cluster import signals as our_signals
from django_cluster.cluster.bootstrap.warmup import warm_up
from django_cluster.conf import load_settings
from django_cluster.models import Task
from django_cluster.tasks import async_task, fetch, result
from django_cluster.testing.drain import drain
from tests.sample.tasks import add, echo, fail

pytestmark = pytest.mark.django_db

Listen = Callable[..., list[Any]]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Connects a receiver to a signal of Django-Q; returns the list of the tasks that it was told."""
    connected = []

    def connect(name: str, act: Callable[[Any], object] = lambda task: None) -> list[Any]:
        from django_q import signals

        told: list[Any] = []

        def receiver(sender: Any, task: Any, **_: Any) -> None:
            told.append(task)
            act(task)

        signal = getattr(signals, name)
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))
        return told

    yield connect
    for signal, receiver in connected:
        assert signal.disconnect(receiver)


def test_what_a_receiver_writes_before_sending_is_sent(listen: Listen) -> None:
    def change(task: dict[str, Any]) -> None:
        task["args"] = (*task["args"], 3)
        task["kwargs"]["tenant"] = "north"
        task["group"] = "changed"
        task["name"] = "renamed"

    listen("pre_enqueue", change)
    task_id = async_task(echo, 1, 2, group="g")
    drain()

    task = fetch(task_id)
    assert task is not None
    assert (task.result, task.group, task.name) == (((1, 2, 3), {"tenant": "north"}), "changed", "renamed")


def test_keys_of_the_projects_own_come_along_to_every_later_signal(listen: Listen) -> None:
    own = {"trace": {"traceparent": "00-1"}, "since": date(2026, 11, 30), "pair": (1, 2)}
    listen("pre_enqueue", lambda task: task.update(own))
    later = [listen(name) for name in ("pre_execute", "post_execute_in_worker", "post_execute")]

    task_id = async_task(add, 1, 2)
    drain()

    for (task,) in later:
        assert {name: task[name] for name in own} == own
    assert result(task_id) == 3
    assert Task.objects.get(pk=task_id).args == (1, 2)  # its signature holds with them


def test_in_sync_mode_the_same_is_told(listen: Listen) -> None:
    listen("pre_enqueue", lambda task: task.update(args=(20, 22), mark=7))
    (told,) = (listen(name) for name in ("post_execute",))

    task_id = async_task(add, 1, 2, sync=True)

    assert result(task_id) == 42
    assert told[0]["mark"] == 7


def test_a_value_that_cannot_travel_is_left_out_and_logged(listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    listen("pre_enqueue", lambda task: task.update(connection=object()))

    task_id = async_task(add, 1, 2)
    drain()

    assert result(task_id) == 3
    assert "connection" in caplog.text


def test_the_id_of_a_task_stays(listen: Listen) -> None:
    listen("pre_enqueue", lambda task: task.update(id="0" * 32, cluster="elsewhere"))

    task_id = async_task(add, 1, 2)

    assert drain() == [task_id]


def test_receivers_before_and_after_a_run_share_one_dict(listen: Listen) -> None:
    started = object()
    before = listen("pre_execute", lambda task: task.update(started_timer=started))
    after = listen("post_execute_in_worker")

    async_task(add, 1, 2, timeout=60)
    drain()

    assert after[0] is before[0]
    assert after[0]["started_timer"] is started
    assert (after[0]["success"], after[0]["result"]) == (True, 3)
    assert after[0]["stopped"] >= after[0]["started"]
    assert "timeout" not in before[0]


def test_arguments_that_are_changed_before_the_run_are_those_of_the_call(listen: Listen) -> None:
    listen("pre_execute", lambda task: task["kwargs"].update(x=2))

    task_id = async_task(echo, 1)
    drain()

    assert result(task_id) == ((1,), {"x": 2})


def test_a_failure_is_told_with_its_text(listen: Listen) -> None:
    in_worker, saved = listen("post_execute_in_worker"), listen("post_execute")

    async_task(fail)
    drain(raise_errors=False)

    for (task,) in (in_worker, saved):
        assert task["success"] is False
        assert task["result"].startswith("no luck : Traceback")
        assert task["result"].rstrip().endswith("no luck")


def test_a_finished_task_is_a_dict_in_every_respect(listen: Listen) -> None:
    told = listen("post_execute", lambda task: task.update(seen=True))

    async_task(add, 1, 2, group="g")
    drain()

    (task,) = told
    assert isinstance(task, dict)
    assert task.pop("group") == "g"
    task["extra"] = [1]
    assert task.get("args") == (1, 2)
    for whole in (task.copy(), dict(task), {**task}, copy.deepcopy(task), pickle.loads(pickle.dumps(task))):
        assert type(whole) is dict
        assert (whole["result"], whole["args"], whole["seen"], whole["extra"]) == (3, (1, 2), True, [1])
        assert whole == task
    assert "3" in repr(task)
    assert json.loads(json.dumps(task, default=str))["result"] == 3
    assert set(task) == set(task.keys()) == {name for name, _ in task.items()}


def test_who_does_not_look_at_a_result_need_not_open_it(listen: Listen) -> None:
    told = listen("post_execute", lambda task: task["id"])

    with patch("django_cluster.django_q.shim.task_dicts.transient_task", side_effect=AssertionError("opened")):
        async_task(add, 1, 2)
        drain()
        assert told[0]["success"]
        with pytest.raises(AssertionError, match="opened"):
            told[0]["result"]


def test_of_several_receivers_one_that_raises_spoils_nothing(listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    listen("pre_enqueue", lambda task: task["nothing of the kind"])
    listen("pre_enqueue", lambda task: task.update(group="kept"))

    task_id = async_task(add, 1, 2)
    drain()

    assert Task.objects.get(pk=task_id).group == "kept"
    assert "nothing of the kind" in caplog.text


def test_only_workers_announce_themselves(listen: Listen) -> None:
    from django_q.signals import post_spawn

    names: list[str] = []

    def hear(proc_name: str, **_: Any) -> None:
        names.append(proc_name)

    post_spawn.connect(hear)
    for name in ("monitor", "pusher", "worker 1", "scheduler", "worker 12", "notifier"):
        our_signals.post_spawn.send(our_signals.SENDER, proc_name=name)
    post_spawn.disconnect(hear)

    assert names == ["worker 1", "worker 12"]


def test_the_warm_up_of_a_cluster_tells_nothing(listen: Listen) -> None:
    told = [listen(name) for name in ("pre_enqueue", "pre_execute", "post_execute_in_worker", "post_execute")]

    warm_up(load_settings())

    assert told == [[], [], [], []]


def test_a_native_receiver_may_return_another_package() -> None:
    from dataclasses import replace

    def swap(task: Any, **_: Any) -> Any:
        return replace(task, args=task.args[::-1])

    our_signals.pre_enqueue.connect(swap)
    try:
        task_id = async_task(echo, 1, 2)
    finally:
        our_signals.pre_enqueue.disconnect(swap)
    drain()

    assert result(task_id) == ((2, 1), {})


# ── packages that are signed by hand ─────────────────────────────────────────────────────────────


def test_a_signed_package_keeps_foreign_keys() -> None:
    from django_q.signing import SignedPackage

    task = {"id": "1" * 32, "name": "n", "func": "a.b", "args": (1,), "kwargs": {}, "mine": {"a": (1, 2)}, "sync": True}

    found = SignedPackage.loads(SignedPackage.dumps(task))

    assert {name: found[name] for name in task} == task


@pytest.mark.parametrize("value", [{"a": 1}, "text", [1, date(2026, 1, 2)], None, {"id": "1", "name": "no function"}])
def test_what_is_no_task_is_signed_as_it_is(value: Any) -> None:
    from django_q.signing import BadSignature, SignedPackage

    text = SignedPackage.dumps(value, True)

    assert SignedPackage.loads(text) == value
    with override_settings(SECRET_KEY="another"), pytest.raises(BadSignature):
        SignedPackage.loads(text)


def test_a_task_without_a_name_gets_one() -> None:
    from django_q.signing import SignedPackage

    assert SignedPackage.loads(SignedPackage.dumps({"id": "1" * 32, "func": "a.b"}))["name"].count("-") == 3


# ── hooks ────────────────────────────────────────────────────────────────────────────────────────


def test_call_hook_calls_the_hook_of_a_row(caplog: pytest.LogCaptureFixture) -> None:
    from django_q.signals import call_hook

    row = Task(id="1" * 32, name="n", func="a.b", hook="tests.sample.tasks.echo")
    with patch("tests.sample.tasks.echo") as hook:
        call_hook(Task, row)
    call_hook(Task, Task(id="2" * 32, name="n", func="a.b"))

    hook.assert_called_once_with(row)
    row.hook = "tests.sample.missing"
    call_hook(Task, row)
    assert "tests.sample.missing" in caplog.text


# ── functions that a test replaces ───────────────────────────────────────────────────────────────


def test_a_patched_function_is_the_one_that_runs() -> None:
    assert result(async_task("tests.sample.tasks.add", 1, 2, sync=True)) == 3
    with patch("tests.sample.tasks.add", return_value="patched") as replaced:
        task_id = async_task("tests.sample.tasks.add", 1, 2, sync=True)
        async_task("tests.sample.tasks.add", 3, 4)
        drain()
    assert result(task_id) == "patched"
    assert [call.args for call in replaced.call_args_list] == [(1, 2), (3, 4)]
    assert result(async_task("tests.sample.tasks.add", 1, 2, sync=True)) == 3
