"""Calls of the framework's tasks → packages and rows, and how they are sent and found again."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django_cluster.client.client import get_client
from django_cluster.core.correlation import current_correlation_id, traceparent_of
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.task_ids import new_task_id
from django_cluster.core.task_status import TaskStatus
from django_cluster.framework.json_text import arguments_as_json, as_json
from django_cluster.framework.results import RunFacts, task_result
from django_cluster.framework.signals import announce
from django_cluster.models import TrackedTask
from django_cluster.stores.tracked import SendingDetails, moment

if TYPE_CHECKING:
    from django_cluster.backend import ClusterBackend

DEFAULT_MAX_ATTEMPTS = 1
"""Runs of a task for which nothing says how often it may run: the framework itself tries nothing again."""
MAX_NAME = 100
IS_ID = re.compile(r"[0-9a-f]{32}").fullmatch


class PreparedCall(NamedTuple):
    """A call that has been checked, and can be sent."""

    task: Any
    package: TaskPackage
    details: SendingDetails


def has_priorities(queue: str | None) -> bool:
    """Whether the broker of this queue has priorities."""
    return get_client(queue).broker.capabilities.priority


def prepare(backend: ClusterBackend, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> PreparedCall:
    """Check a call. Raises ``TypeError`` and ``ValueError`` for arguments that are no JSON."""
    own_args, own_kwargs = arguments_as_json(args, kwargs)
    metadata = getattr(task, "metadata", None)
    header = TaskHeader(
        id=new_task_id(),
        name=task.name[:MAX_NAME],
        func=task.module_path,
        enqueued_at=time.time(),
        options=_options(backend, task),
    )
    return PreparedCall(
        task,
        TaskPackage(header=header, args=tuple(own_args), kwargs=own_kwargs),
        SendingDetails(
            task.queue_name,
            [own_args, own_kwargs],
            None if metadata is None else as_json(metadata, "The metadata"),
        ),
    )


def _options(backend: ClusterBackend, task: Any) -> TaskOptions:
    options, queue = backend.read_options(), backend.cluster_queue(task.queue_name)
    attempts = getattr(task, "max_attempts", None)
    if attempts is None:
        attempts = options.max_attempts
    if attempts is None:
        attempts = get_client(queue).settings.delivery.max_attempts or DEFAULT_MAX_ATTEMPTS
    timeout = getattr(task, "timeout", None)
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    inherited = current_correlation_id()
    return TaskOptions(
        queue=queue,
        priority=int(task.priority),
        not_before=_unix_time(task.run_after),
        max_attempts=attempts,
        timeout=options.timeout if timeout is None else float(timeout),
        backend=backend.alias,
        correlation_id=inherited,
        traceparent=None if inherited is None else traceparent_of(inherited),
    )


def _unix_time(value: datetime | None) -> float | None:
    return None if value is None else value.timestamp()


def submit(prepared: Sequence[PreparedCall], on_commit: bool | str | None) -> list[Any]:
    """Send the calls, those of one queue together; returns their results, in order."""
    by_queue: dict[str | None, list[PreparedCall]] = {}
    for each in prepared:
        by_queue.setdefault(each.package.header.options.queue, []).append(each)
    for queue, calls in by_queue.items():
        get_client(queue).submit(
            [each.package for each in calls],
            on_commit=on_commit,
            details={each.package.id: each.details for each in calls},
        )
    results = [_ready(each) for each in prepared]
    for result in results:
        announce("task_enqueued", result)
    return results


def _ready(call: PreparedCall) -> Any:
    header = call.package.header
    return task_result(
        call.task,
        RunFacts(moment(header.enqueued_at)),
        id=header.id,
        status=TaskStatus.QUEUED,
        arguments=(call.package.args, call.package.kwargs),
        backend=header.options.backend or "",
    )


def find_row(result_id: object) -> TrackedTask | None:
    """The row of a task of the framework; None for an id of any shape that is none."""
    if not isinstance(result_id, str) or IS_ID(result_id) is None:
        return None
    row = get_client().results.tracked.get(result_id)
    return row if row is not None and row.backend is not None else None
