"""The tasks as Django's own framework knows them, or its backport: by the path of the decorated function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django

from benchmarks import tasks

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task


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
