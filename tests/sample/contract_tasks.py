"""Functions of a project that are declared with the ``@task`` of Django's Tasks framework."""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from django.contrib.auth.models import Group

from django_cluster.errors import Discard
from django_cluster.testing.drain import drain
from tests.tasks_framework import Task, TaskContext, TaskResult, task, task_finished, task_started

calls: list[Any] = []
"""What the tasks of this process have noted."""


class OutOfStock(Exception):
    """An exception of the project's own."""


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task()
def note(*args: Any, **kwargs: Any) -> list[Any]:
    """What the function was really called with, in ``calls`` and as the result."""
    calls.append((args, kwargs))
    return [list(args), kwargs]


@task
def echo(value: Any) -> Any:
    return value


@task
def nothing() -> None:
    """The cheapest task there is."""


@task
async def add_async(a: int, b: int) -> int:
    return a + b


@task(takes_context=True)
def look(context: TaskContext[Any, Any]) -> list[Any]:
    """What the context says, and what is stored, while the task runs."""
    given = context.task_result
    stored = given.task.get_result(given.id)
    calls.append((given, stored))
    return [given.id, context.attempt, given.status, stored.status, stored.attempts]


@task
def fail(message: str = "no luck") -> NoReturn:
    raise ValueError(message)


@task
def fail_with(message: str) -> NoReturn:
    """The message as a literal of Python, because JSON may not be able to carry it."""
    raise ValueError(ast.literal_eval(message))


@task
def sell() -> NoReturn:
    raise OutOfStock("nothing left")


ENDS_OF_PROGRAMS: dict[str, type[BaseException]] = {
    kind.__name__: kind for kind in (SystemExit, KeyboardInterrupt, GeneratorExit)
}


@task
def leave(kind: str) -> NoReturn:
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit}[kind](
        "out"
    )


@task
def discard() -> NoReturn:
    raise Discard("not wanted any more")


@task(takes_context=True)
def succeed_at(context: TaskContext[Any, Any], attempt: int) -> int:
    """Fail until this attempt, which returns its number."""
    if context.attempt < attempt:
        raise ValueError(f"attempt {context.attempt}")
    return context.attempt


RETURNED: dict[str, Callable[[], Any]] = {
    "function": lambda: discard,
    "set": lambda: {1, 2},
    "decimal": lambda: Decimal(1),
    "nan": lambda: float("nan"),
    "bytes that are no text": lambda: b"\xff",
    "tuple": lambda: (1, (2, 3)),
    "numbers as keys": lambda: {1: {2: 3}},
    "bytes": lambda: b"text",
    "nothing": lambda: None,
    "zero character": lambda: "a\0b",
    "lone surrogate": lambda: "a\ud800b",
}


@task
def give(kind: str) -> Any:
    """Return what a key of ``RETURNED`` stands for."""
    return RETURNED[kind]()


@task
def create_group(name: str) -> int:
    return Group.objects.create(name=name).pk


@task(takes_context=True)
def outlive_the_lease(context: TaskContext[Any, Any], how: str) -> str:
    """The first attempt does not end before another worker has run the second; then it fails or returns."""
    if context.attempt > 1:
        return "second"
    until = time.monotonic() + 20
    while not calls and time.monotonic() < until:
        calls.extend(drain(raise_errors=False))
        time.sleep(0.02)
    if how == "fails":
        raise ValueError("late")
    return "first"


# ── what no worker could import ──────────────────────────────────────────────────────────────────


def plain() -> None:
    """A function that is no task, and that ``by_hand`` wraps."""
    calls.append("plain")


class Holder:
    @staticmethod
    def inside() -> None:
        calls.append("inside")


by_hand: Task[..., Any] = task(plain)
nameless: Task[..., Any] = task(lambda: calls.append("nameless"))  # type: ignore[misc]  # its type is not known
of_a_class: Task[..., Any] = task(Holder.inside)


# ── for whole clusters: what has happened is written into a file ──────────────────────────────────


def write(path: str, line: object) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


@task(takes_context=True)
def write_attempt(context: TaskContext[Any, Any], path: str) -> int:
    write(path, f"{context.task_result.id} {context.attempt}")
    return context.attempt


@task
def write_line(path: str, line: str) -> None:
    write(path, line)


@task(takes_context=True)
def die_until(context: TaskContext[Any, Any], attempt: int) -> int:
    """End the process as the kernel does when memory runs out, until this attempt."""
    if context.attempt < attempt:
        os.kill(os.getpid(), 9)
    return context.attempt


@task(takes_context=True)
def hang_until(context: TaskContext[Any, Any], attempt: int) -> int:
    """Exceed the time limit, until this attempt."""
    if context.attempt < attempt:
        time.sleep(60)
    return context.attempt


@task
def hang_deaf() -> None:
    """Exceed the time limit, and swallow what it raises."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(1)
        except BaseException:  # noqa: BLE001  that is the point
            continue


@task(takes_context=True)
def hold(context: TaskContext[Any, Any], path: str, end: str) -> int:
    """Say that it runs, and go on until the file ``end`` is there."""
    write(path, context.attempt)
    while not Path(end).exists():
        time.sleep(0.02)
    return context.attempt


def write_signals(path: str) -> None:
    """Have this process write every ``task_started`` and ``task_finished`` into the file."""

    def tell(name: str) -> Callable[..., None]:
        def receiver(sender: object, task_result: TaskResult[Any, Any], **_: object) -> None:
            current = sys.exc_info()[0]
            what = isinstance(sender, type) and sender.__name__
            errors = ",".join(each.exception_class_path.rpartition(".")[2] for each in task_result.errors)
            about = f"{task_result.task.name} {task_result.status} {errors or '-'} {current and current.__name__}"
            write(path, f"{name} {what} {about}")

        return receiver

    task_started.connect(tell("started"), weak=False, dispatch_uid="tests: started")
    task_finished.connect(tell("finished"), weak=False, dispatch_uid="tests: finished")
