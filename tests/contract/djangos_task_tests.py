"""Django's own tests of its Tasks framework, on our backend: for ``python -m django test`` in a process of its own.

The package ``tasks`` is that of Django's source distribution, and is on the path of the process. What is left out looks
into the backends of Django, or names them.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any

from django.test import TestCase, override_settings

from django_cluster.backend import ClusterBackend
from django_cluster.testing.drain import drain
from tests.tasks_framework import BACKEND

IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"


class BackendWithWorker(ClusterBackend):
    """Ours, and a worker that has run the task by the time that it is sent: what Django's ImmediateBackend does."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        result = super().enqueue(task, args, kwargs)
        drain(raise_errors=False)
        result.refresh()
        return result


def pointed_at(tasks: dict[str, Any], cases: Any, only: Collection[str] = (), without: Collection[str] = ()) -> Any:
    """The tests of a class of Django's with these ``TASKS``: ``only`` some of them, or those ``without`` others."""
    names = [name for name in dir(cases) if name.startswith("test_")]
    assert {*without} <= {*names}, f"{cases.__name__} has no {sorted({*without} - {*names})}"
    left_out = [name for name in names if name in without or (only and name not in only)]
    body = {"setUp": lambda self: None, "__module__": __name__, **dict.fromkeys(left_out)}
    # TestCase: our backend asks the database.
    return override_settings(TASKS=tasks)(type(f"Our{cases.__name__}", (cases, TestCase), body))


OurTasks = pointed_at(
    {
        "default": {"BACKEND": BACKEND, "QUEUES": ["default", "queue_1"]},
        "immediate": {"BACKEND": IMMEDIATE, "QUEUES": []},
        "missing": {"BACKEND": "does.not.exist"},
    },
    import_module("tasks.test_tasks").TaskTestCase,
    without={
        "test_using_correct_backend",
        "test_get_backend",
        "test_enqueue_task",
        "test_enqueue_task_async",
        "test_refresh_result",
    },
)

OurResults = pointed_at(
    {"default": {"BACKEND": BACKEND, "QUEUES": []}},
    import_module("tasks.test_dummy_backend").DummyBackendTestCase,
    only={
        "test_get_result",
        "test_get_result_async",
        "test_get_missing_result",
        "test_enqueue_logs",
        "test_errors",
        "test_validate_on_enqueue",
        "test_validate_on_aenqueue",
        "test_validate_disallowed_async_task",
        "test_check",
        "test_takes_context",
    },
)

OurRuns = pointed_at(
    {"default": {"BACKEND": f"{__name__}.BackendWithWorker", "QUEUES": []}},
    import_module("tasks.test_immediate_backend").ImmediateBackendTestCase,
    without={
        "test_using_correct_backend",
        "test_throws_keyboard_interrupt",
        "test_cannot_get_result",
        "test_cannot_refresh_result",
        "test_cannot_pass_run_after",
    },
)

CustomBackendTestCase = import_module("tasks.test_custom_backend").CustomBackendTestCase
CustomTaskTestCase = getattr(import_module("tasks.test_custom_backend"), "CustomTaskTestCase", None)
