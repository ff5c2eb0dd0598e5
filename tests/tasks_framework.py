"""Django's Tasks framework for tests: Django's own from 6.0 on, its backport before; under Django's names.

No pytest here: tasks import this in a cluster, which would take itself for a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django

OWN = django.VERSION >= (6, 0)
"""Whether Django brings the framework along."""

if TYPE_CHECKING or OWN:
    from django.tasks import TaskContext, TaskResult, TaskResultStatus, default_task_backend, task, task_backends
    from django.tasks.base import Task, TaskError
    from django.tasks.exceptions import InvalidTask, InvalidTaskBackend, TaskResultDoesNotExist, TaskResultMismatch
    from django.tasks.signals import task_enqueued, task_finished, task_started
else:
    from django_tasks import TaskContext, TaskResult, TaskResultStatus, default_task_backend, task, task_backends
    from django_tasks import exceptions as _exceptions
    from django_tasks.base import Task, TaskError
    from django_tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch
    from django_tasks.signals import task_enqueued, task_finished, task_started

    # The backport has taken over Django's names after 0.12.
    InvalidTask = getattr(_exceptions, "InvalidTask", None) or _exceptions.InvalidTaskError
    InvalidTaskBackend = getattr(_exceptions, "InvalidTaskBackend", None) or _exceptions.InvalidTaskBackendError

__all__ = [
    "BACKEND",
    "LOGGER",
    "InvalidTask",
    "InvalidTaskBackend",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultMismatch",
    "TaskResultStatus",
    "default_task_backend",
    "task",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
    "tasks_setting",
]

BACKEND = "django_cluster.backend.ClusterBackend"
LOGGER = "django.tasks" if OWN else "django_tasks"


def tasks_setting(queues: tuple[str, ...] = ("default",), /, **options: Any) -> dict[str, dict[str, Any]]:
    """``TASKS`` with our backend under its default alias."""
    return {"default": {"BACKEND": BACKEND, "QUEUES": list(queues), "OPTIONS": options}}
