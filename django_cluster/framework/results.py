"""Rows and runs of tasks → ``TaskResult``, the framework's own form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import SuspiciousOperation

from django_cluster.core.import_paths import load_object
from django_cluster.core.reprs import repr_of
from django_cluster.core.task_status import TaskStatus
from django_cluster.framework.compat import FrameworkTask, TaskError, TaskResult, TaskResultStatus

if TYPE_CHECKING:
    from django_cluster.models import TrackedTask

STATUSES: Mapping[str, TaskResultStatus] = {
    TaskStatus.RUNNING: TaskResultStatus.RUNNING,
    TaskStatus.SUCCESS: TaskResultStatus.SUCCESSFUL,
    TaskStatus.SCHEDULED: TaskResultStatus.READY,
    TaskStatus.QUEUED: TaskResultStatus.READY,
    TaskStatus.BLOCKED: TaskResultStatus.READY,
    TaskStatus.RETRYING: TaskResultStatus.READY,
}
"""Our status → the framework's; all others are ``FAILED``."""


class RunFacts(NamedTuple):
    """When and where a task has run, as its row says it."""

    enqueued_at: datetime
    run_after: datetime | None = None
    started_at: datetime | None = None
    last_attempted_at: datetime | None = None
    worker_ids: Sequence[str] = ()
    errors: Sequence[Sequence[str]] = ()
    finished_at: datetime | None = None

    def __repr__(self) -> str:
        return repr_of(self, "enqueued_at", "started_at", "finished_at")


def declared_task(path: str) -> Any:
    """The task of the framework that stands under this path.

    Raises ``UnknownFunction`` if nothing does, and ``SuspiciousOperation`` for anything but a task: a message must not
    be able to have another function called.
    """
    found = load_object(path)
    if not isinstance(found, FrameworkTask):
        raise SuspiciousOperation(f"{path} is not a task of Django's Tasks framework, and is not run.")
    return found


def stored_task(path: str, **values: Any) -> Any:
    """The task of a row or message: the declared one, with the values that it was enqueued with.

    It is not validated: a queue that is no longer declared must not make old results unreadable. Raises as
    ``declared_task``.
    """
    declared = declared_task(path)
    kind = type(declared)
    task = object.__new__(kind)
    for each in fields(kind):
        value = values.get(
            each.name, getattr(declared, each.name, each.default if each.default is not MISSING else None)
        )
        object.__setattr__(task, each.name, value)
    return task


def task_result(
    task: Any,
    facts: RunFacts,
    *,
    id: str,
    status: str,
    arguments: Any,
    backend: str,
    return_value: Any = None,
) -> Any:
    """A ``TaskResult``; nothing that is given is shared with it."""
    args, kwargs = arguments or ([], {})
    result: Any = TaskResult(
        task=task,
        id=id,
        status=STATUSES.get(status, TaskResultStatus.FAILED),
        enqueued_at=facts.enqueued_at,
        started_at=facts.started_at,
        finished_at=facts.finished_at,
        last_attempted_at=facts.last_attempted_at,
        args=list(args),
        kwargs=dict(kwargs),
        backend=backend,
        errors=[TaskError(exception_class_path=path, traceback=text) for path, text in facts.errors],
        worker_ids=list(facts.worker_ids),
    )
    object.__setattr__(result, "_return_value", return_value)
    return result


def result_of_row(row: TrackedTask) -> Any:
    """The result that a row describes. Raises ``UnknownFunction`` if its function is gone."""
    task = stored_task(
        row.func,
        priority=row.priority,
        backend=row.backend,
        queue_name=row.queue_name,
        run_after=row.run_after,
        metadata=row.metadata,
    )
    return task_result(
        task,
        RunFacts(
            row.enqueued_at,
            row.run_after,
            row.started_at,
            row.last_attempted_at,
            row.worker_ids,
            row.errors,
            row.finished_at,
        ),
        id=row.id,
        status=row.status,
        arguments=row.arguments,
        backend=row.backend or "",
        return_value=row.return_value,
    )
