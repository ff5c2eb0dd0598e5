"""A task cluster for Django: background tasks, schedules and workflows.

Public names are imported when they are first used: importing the package needs no settings.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "AsyncTask": "composition",
    "Chain": "composition",
    "Group": "composition",
    "Iter": "composition",
    "aasync_bulk": "tasks",
    "aasync_task": "tasks",
    "afetch": "tasks",
    "afetch_group": "tasks",
    "aresult": "tasks",
    "aresult_group": "tasks",
    "async_bulk": "tasks",
    "async_chain": "composition",
    "async_iter": "composition",
    "async_task": "tasks",
    "batch": "client.batch",
    "call": "composition",
    "cron_task": "decorators",
    "delete_cached": "tasks",
    "delete_group": "tasks",
    "count_group": "tasks",
    "fetch": "tasks",
    "fetch_group": "tasks",
    "progress": "core.task_progress",
    "current_task": "core.current_task",
    "CurrentTask": "core.current_task",
    "TaskCancelled": "errors",
    "queue_size": "tasks",
    "result": "tasks",
    "result_group": "tasks",
    "schedule": "tasks",
    "TaskService": "service",
    "get_task_service": "service",
    "Cluster": "cluster.supervisor.embedded_cluster",
    "Discard": "errors",
    "Retry": "errors",
    "Snooze": "errors",
    "TaskContext": "task_objects",
    "TaskFunction": "task_objects",
    "TaskHandle": "task_objects",
    "TaskMiddleware": "core.task_middleware",
    "TaskProgress": "core.task_progress",
    "TaskStatus": "task_objects",
    "task": "task_objects",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604  the names are strings, only not literally here

_MOVED = {
    "django_cluster.compat": "django_cluster.django_q",
    "django_cluster.moving": "django_cluster.django_q.importer",
    "django_cluster.status": "django_cluster.django_q.status",
}
"""Former module → its new name, for the error of an import."""


class _MovedModules:
    """Import hook behind all others: an import of a module that was moved raises an error with the new name."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Raises ``ImportError`` for a module that was moved; None for any other."""
        if name in _MOVED:
            raise ImportError(f"{name} is now {_MOVED[name]}.", name=name)


sys.meta_path.append(_MovedModules)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"django_cluster.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
