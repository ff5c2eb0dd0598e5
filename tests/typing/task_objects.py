"""Task objects as their users write them: checked by mypy and by pyright, never run.

A line that both must refuse ends in ``# type: ignore``; either complains of one that it need not ignore.
"""

from __future__ import annotations

from typing import assert_type

from django_cluster import TaskContext, TaskHandle, fetch, task
from django_cluster.models import Schedule, Task


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task(queue="mail", max_attempts=3, retry_delay=1.5, retry_on=[OSError], time_limit=60_000)
def send(to: str, *, subject: str = "") -> None: ...


@task(takes_context=True, priority=5)
def with_context(context: TaskContext, value: int) -> str:
    return f"{context.id}: {value}"


def calls_are_typed_by_the_function() -> None:
    assert_type(add(1, b=2), int)
    assert_type(add.delay(1, b=2), TaskHandle[int])
    assert_type(add.enqueue(1), TaskHandle[int])
    assert_type(send.send("x", subject="y"), TaskHandle[None])
    assert_type(with_context(5), str)
    assert_type(with_context.dispatch(5), TaskHandle[str])
    assert_type(add.using(queue="slow", delay=5).delay(1), TaskHandle[int])
    assert_type(add.bulk([(1, 2), 3]), list[TaskHandle[int]])
    assert_type(add.send_with_options((1,), delay=500), TaskHandle[int])
    assert_type(add.schedule(1, schedule_type=Schedule.DAILY), Schedule)


def handles_are_typed_by_the_result(handle: TaskHandle[int]) -> None:
    assert_type(handle.id, str)
    as_text: str = handle
    assert_type(handle.result(timeout=5), int)
    assert_type(handle.wait(), Task)
    assert_type(fetch(as_text), Task | None)


async def in_async_code() -> None:
    handle = await add.adelay(1, b=2)
    assert_type(handle, TaskHandle[int])
    assert_type(await handle.aresult(timeout=5), int)
    assert_type(await handle, Task)


def what_is_wrong_is_refused() -> None:
    add("1")  # type: ignore[arg-type]
    add.delay()  # type: ignore[call-arg]
    add.delay(1, c=2)  # type: ignore[call-arg]
    send.delay(5)  # type: ignore[arg-type]
    with_context.delay("x")  # type: ignore[arg-type]
    with_context.delay(TaskContext, 5)  # type: ignore[arg-type, call-arg]
    task(timout=5)  # type: ignore[call-overload]
    task(priority="high")  # type: ignore[call-overload]
    fetch(add.delay(1).result())  # type: ignore[arg-type]
