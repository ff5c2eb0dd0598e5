"""Retry a failed task under its own id: attempts are counted anew, and the row keeps the runs before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import connections, transaction

from django_cluster.client.client import get_client
from django_cluster.client.retries import cancel_waiting_retries, forget_cancel_requests, package_of
from django_cluster.core.messages import TaskPackage
from django_cluster.core.time import to_unix_time
from django_cluster.models import Task
from django_cluster.models.task import saved_tasks
from django_cluster.stores.rows import MAX_ATTEMPT_MESSAGE, MAX_ATTEMPT_TRACEBACK, MAX_ATTEMPTS_KEPT


def retry_in_place(task: Task) -> bool:
    """Run a failed task again under its id and name, with its arguments and options, but ``delay``, ``eta`` and
    ``expires``.

    Its attempts are counted anew, and its row keeps the earlier runs in ``attempts``. Until the next run has ended the
    row says that the task will be retried. Returns False if there is nothing to retry: the task has succeeded, or was
    retried and has not run since, be it under this id or another. A retry that the cluster has planned is cancelled
    first.

    Raises ``PackageError`` when the arguments can no longer be read, ``ClusterError`` when a retry of the task is
    running or the broker cannot tell, ``FunctionNotAllowed``, ``BrokerUnavailable``, ``BrokerRefused``; in sync mode
    what the task raises.
    """
    if task.success or task.retried_as or task.attempt_count == 0:
        return False
    package = _package_in_place(task)  # raises before anything is changed
    if not task.final:
        cancel_waiting_retries([task])
    forget_cancel_requests([task])
    client, database = get_client(task.queue), task._state.db
    broker = package.header.options.broker
    if client.settings.sync or database is None:
        return _note_retry(task) and _submitted(task, package, broker, on_commit=False)
    on_commit = None if connections[database].in_atomic_block else False
    with transaction.atomic(using=database):  # a message that cannot be sent leaves the row as it was
        return _note_retry(task) and _submitted(task, package, broker, on_commit=on_commit)


def _package_in_place(task: Task) -> TaskPackage:
    package = package_of(task)
    options = replace(package.header.options, earlier_runs=task.attempt_count, correlation_id=_own(task))
    return replace(package, header=replace(package.header, id=task.id, name=task.name, options=options))


def _own(task: Task) -> str | None:
    return None if task.correlation_id == task.id else task.correlation_id


def _submitted(task: Task, package: TaskPackage, broker: str | None, *, on_commit: bool | None) -> bool:
    get_client(task.queue).submit([package], broker=broker, on_commit=on_commit)
    return True


def _note_retry(task: Task) -> bool:
    """Let the row say that the task waits; False if another retry was faster. The last run is one of the earlier."""
    before = task.attempt_count
    earlier = [*(task.attempts or ()), last_attempt(task)][-MAX_ATTEMPTS_KEPT:]
    if task._state.db is not None:
        rows = saved_tasks(task._state.db).filter(pk=task.pk, success=False, attempt_count=before, retried_as=None)
        if not rows.update(attempt_count=0, final=False, attempts=earlier):
            return False
    task.attempt_count, task.final, task.attempts = 0, False, earlier
    return True


def last_attempt(task: Task) -> dict[str, Any]:
    """The last run of a task as one of its ``attempts``."""
    return {
        "number": task.attempt_count,
        "worker": task.worker,
        "started": to_unix_time(task.started_at),
        "stopped": to_unix_time(task.stopped_at),
        "status": task.status,
        "kind": task.error_kind,
        "message": task.error_message[:MAX_ATTEMPT_MESSAGE],
        "traceback": task.error_traceback[-MAX_ATTEMPT_TRACEBACK:],
    }
