"""The one place that imports the framework: ``django.tasks``, or before Django 6.0 its backport ``django_tasks``.

The version of Django decides, and not whether the backport is installed: on Django 6 other packages may have brought it
along, and it then works with Django's own classes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import django

IS_BUILT_IN = django.VERSION >= (6, 0)
"""Whether the framework is part of Django."""

if TYPE_CHECKING:
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task as FrameworkTask
    from django_tasks.base import TaskContext as FrameworkContext
    from django_tasks.base import TaskError, TaskResult, TaskResultStatus
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.utils import normalize_json
else:
    PACKAGE = "django.tasks" if IS_BUILT_IN else "django_tasks"
    base = import_module(f"{PACKAGE}.base")
    exceptions = import_module(f"{PACKAGE}.exceptions")
    BaseTaskBackend = import_module(f"{PACKAGE}.backends.base").BaseTaskBackend
    normalize_json = import_module("django.utils.json" if IS_BUILT_IN else "django_tasks.utils").normalize_json
    FrameworkTask, FrameworkContext = base.Task, base.TaskContext
    TaskError, TaskResult, TaskResultStatus = base.TaskError, base.TaskResult, base.TaskResultStatus
    TaskResultDoesNotExist = exceptions.TaskResultDoesNotExist
    # The backport has had both names.
    InvalidTask = getattr(exceptions, "InvalidTask", None) or exceptions.InvalidTaskError


def backend_of(alias: str) -> Any:
    """The backend of this alias of ``TASKS``. Raises ``InvalidTaskBackend``."""
    return _package().task_backends[alias]


def framework_signals() -> Any:
    """The module with the signals of the framework."""
    _package()
    return import_module(f"{_package().__name__}.signals")


def _package() -> Any:
    return import_module("django.tasks" if IS_BUILT_IN else "django_tasks")


__all__ = [
    "IS_BUILT_IN",
    "BaseTaskBackend",
    "FrameworkContext",
    "FrameworkTask",
    "InvalidTask",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "backend_of",
    "framework_signals",
    "normalize_json",
]
