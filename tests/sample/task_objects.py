"""Functions of a project that are declared with ``@task``."""

from __future__ import annotations

from django_cluster.task_objects import TaskContext, task

runs: list[TaskContext] = []
"""The contexts of the runs of ``note_context`` in this process."""


class OutOfStock(Exception):
    """An exception of the project's own."""


class NeedsTwo(Exception):
    """An exception that cannot be made from its message."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task(queue="slow", max_attempts=3, retry_delay=5, retry_backoff="fixed", timeout=60, priority=7, group="orders")
def order(number: int) -> str:
    return f"order {number}"


@task(takes_context=True)
def note_context(context: TaskContext, value: int) -> int:
    runs.append(context)
    return value


@task
def named(delay: float, queue: str = "") -> tuple[float, str]:
    """Its parameters are called like options."""
    return delay, queue


@task(max_attempts=1)
def sell() -> None:
    raise OutOfStock("nothing left")


@task(max_attempts=1)
def sell_both() -> None:
    raise NeedsTwo("neither", "nor")
