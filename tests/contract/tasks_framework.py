"""A project of Django's Tasks framework for one test: our backend, a queue, and a worker in the process of the test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import django
import pytest
from django.test import override_settings
from django.utils import timezone

from django_cluster.client.client import get_client
from django_cluster.testing.drain import drain
from tests.conftest import wait_until
from tests.e2e.project import Project
from tests.tasks_framework import TaskResult, TaskResultStatus, default_task_backend, task, tasks_setting

T = TypeVar("T")

READY, RUNNING, FAILED, SUCCESSFUL = (
    TaskResultStatus.READY,
    TaskResultStatus.RUNNING,
    TaskResultStatus.FAILED,
    TaskResultStatus.SUCCESSFUL,
)

any_task: Any = task
"""The decorator, with options of our backend that Django's stubs do not know."""


needs_options_of_tasks = pytest.mark.skipif(
    (6, 0) <= django.VERSION < (6, 1), reason="@task of Django 6.0 takes no options of a backend"
)
needs_pickling = pytest.mark.skipif(django.VERSION < (6, 1), reason="tasks can be pickled from Django 6.1 on")


def in_hours(hours: float) -> datetime:
    return timezone.now() + timedelta(hours=hours)


def stored(result: TaskResult[..., T]) -> TaskResult[..., T]:
    """The result as it is stored now."""
    return default_task_backend.get_result(result.id)


class Framework:
    """Sends tasks through ``django.tasks``, and runs them here: leased, verified, executed, recorded, acknowledged."""

    def __init__(self, project: Project, stack: ExitStack) -> None:
        self.project = project
        self._stack = stack

    def set(self, tasks: Mapping[str, Any]) -> None:
        """Have the project use these ``TASKS`` from now on."""
        self._stack.enter_context(override_settings(TASKS=tasks))

    def options(self, queues: tuple[str, ...] = ("default",), /, **options: Any) -> None:
        """Have the project use these queues and ``OPTIONS`` from now on."""
        self.set(tasks_setting(queues, **options))

    def work(self, *queues: str, **how: Any) -> list[str]:
        """Run what is due, in the default queue or in these; returns the ids of what was run."""
        found = drain(raise_errors=False, **how)
        for queue in queues:
            found += drain(queue, raise_errors=False, **how)
        return found

    def run(self, result: TaskResult[..., T], *queues: str) -> TaskResult[..., T]:
        """Run until this task has ended; returns the same result, refreshed."""

        def ended() -> bool:
            self.work(*queues)
            result.refresh()
            return result.is_finished

        wait_until(ended, 30, f"the task {result.id} should have ended")
        return result

    def queued(self) -> int:
        """Messages at the broker, whatever their state."""
        return get_client().broker.size().total


@contextmanager
def framework(project: Project) -> Iterator[Framework]:
    """Within the block, the project has our backend with one queue, and no options."""
    with ExitStack() as stack:
        found = Framework(project, stack)
        found.options()
        yield found
