"""Middleware: the order of its calls, what it may change, and what its errors mean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_cluster import TaskMiddleware
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.errors import SendRefused
from django_cluster.lifecycle.middleware_stack import MiddlewareStack, load_middleware
from django_cluster.models import Task
from django_cluster.tasks import async_task, fetch

HERE = __name__
calls: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> Iterator[None]:
    calls.clear()
    yield
    calls.clear()


class Outer(TaskMiddleware):
    def around_run(self, task: TaskPackage, attempt: int, call_next: Callable[[], Any]) -> Any:
        calls.append(f"outer, attempt {attempt}")
        return call_next() * 10

    async def around_async_run(self, task: TaskPackage, attempt: int, call_next: Callable[[], Awaitable[Any]]) -> Any:
        calls.append("outer")
        return await call_next() * 10


class Inner(TaskMiddleware):
    def before_send(self, task: TaskPackage) -> TaskPackage:
        header = replace(task.header, id="other", options=replace(task.header.options, queue="other"))
        return replace(task, header=header, kwargs={"y": 5})

    def around_run(self, task: TaskPackage, attempt: int, call_next: Callable[[], Any]) -> Any:
        calls.append(f"inner of {task.header.func}")
        return call_next() + 1

    async def around_async_run(self, task: TaskPackage, attempt: int, call_next: Callable[[], Awaitable[Any]]) -> Any:
        calls.append("inner")
        return await call_next() + 1


class Refusing(TaskMiddleware):
    def before_send(self, task: TaskPackage) -> TaskPackage | None:
        raise PermissionError("over the quota")


class Breaking(TaskMiddleware):
    def around_run(self, task: TaskPackage, attempt: int, call_next: Callable[[], Any]) -> Any:
        raise KeyError("tenant")


def add(x: int, y: int = 0) -> int:
    return x + y


def with_middleware(*names: str) -> override_settings:
    return override_settings(Q_CLUSTER={"name": "m", "sync": True, "middleware": [f"{HERE}.{name}" for name in names]})


@pytest.mark.django_db
def test_the_first_is_the_outermost_and_a_changed_package_keeps_its_id_and_queue() -> None:
    with with_middleware("Outer", "Inner"):
        task = fetch(async_task(add, 1))

    assert task is not None
    assert (task.result, task.queue) == ((1 + 5 + 1) * 10, "m")
    assert calls == ["outer, attempt 1", f"inner of {HERE}.add"]


def test_coroutines_have_their_own_methods() -> None:
    async def double(x: int) -> int:
        return x * 2

    package = TaskPackage(header=TaskHeader(id="1", name="", func="f", enqueued_at=0.0))
    wrapped = MiddlewareStack([Outer(), Inner()]).around(double, package, 1, lambda: double(4))

    assert async_to_sync(wrapped)() == (8 + 1) * 10
    assert calls == ["outer", "inner"]


@pytest.mark.django_db
def test_an_error_before_sending_refuses_the_task() -> None:
    with with_middleware("Refusing"), pytest.raises(SendRefused, match="over the quota") as refused:
        async_task(add, 1)

    assert isinstance(refused.value.__cause__, PermissionError)
    assert not Task.objects.exists()


@pytest.mark.django_db
def test_an_error_around_the_run_is_the_failure_of_the_task() -> None:
    with with_middleware("Breaking"), pytest.raises(KeyError, match="tenant"):
        async_task(add, 1)

    assert [(row.success, row.error_kind) for row in Task.objects.all()] == [(False, "KeyError")]


@pytest.mark.parametrize("path", ["no.such.module", f"{HERE}.add"])
def test_what_is_no_middleware_is_named(path: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=path):
        load_middleware((path,))
    settings = override_settings(Q_CLUSTER={"name": "m", "orm": "default", "middleware": [path]})
    with settings, pytest.raises(CommandError, match=path):
        call_command("qcluster", skip_checks=True)


def test_a_method_that_is_not_overwritten_is_not_called() -> None:
    package = TaskPackage(header=TaskHeader(id="1", name="", func="f", enqueued_at=0.0))
    stack = MiddlewareStack([Breaking(), Refusing()])

    def call() -> int:
        return 1

    assert MiddlewareStack([Breaking()]).before_send(package) is package
    assert MiddlewareStack([Refusing()]).around(add, package, 1, call) is call
    with pytest.raises(KeyError):
        stack.around(add, package, 1, call)()
