"""The tasks as Django's own framework knows them: by the path of the decorated function."""

from __future__ import annotations

from typing import Any

from django.tasks import task

from benchmarks import tasks


@task
def noop() -> int:
    return tasks.noop()


@task
def weigh(text: str) -> int:
    return tasks.weigh(text)


@task
def work() -> int:
    return tasks.work()


TASKS: dict[str, Any] = {"noop": noop, "weigh": weigh, "work": work}
