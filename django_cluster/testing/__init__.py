"""Test kit for projects, the contracts of brokers and stores, and ``qchaos``.

Public names are imported when they are first used: the plugin of pytest, which is loaded by every run, needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_cluster.testing.faults import InjectedFailure, fail_at, kill_worker_at, time_out_at
    from django_cluster.testing.inspection import (
        EnqueuedTask,
        assert_enqueued,
        assert_not_enqueued,
        enqueued,
        forget_enqueued,
    )
    from django_cluster.testing.kit import TaskKit, TaskTestMixin, task_kit
    from django_cluster.testing.modes import TaskMode, task_mode
    from django_cluster.testing.pending import run_pending, run_schedules

__all__ = [
    "EnqueuedTask",
    "InjectedFailure",
    "TaskKit",
    "TaskMode",
    "TaskTestMixin",
    "assert_enqueued",
    "assert_not_enqueued",
    "enqueued",
    "fail_at",
    "forget_enqueued",
    "kill_worker_at",
    "run_pending",
    "run_schedules",
    "task_kit",
    "task_mode",
    "time_out_at",
]

_HOMES = {
    **dict.fromkeys(("InjectedFailure", "fail_at", "kill_worker_at", "time_out_at"), "faults"),
    **dict.fromkeys(
        ("EnqueuedTask", "assert_enqueued", "assert_not_enqueued", "enqueued", "forget_enqueued"), "inspection"
    ),
    **dict.fromkeys(("TaskKit", "TaskTestMixin", "task_kit"), "kit"),
    **dict.fromkeys(("TaskMode", "task_mode"), "modes"),
    **dict.fromkeys(("run_pending", "run_schedules"), "pending"),
}
"""Public name → its module in this package."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"django_cluster.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
