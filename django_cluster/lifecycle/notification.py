"""Tells the project's code and the log how runs ended, after they were recorded.

Notification comes last, so that a hook that kills its process is not called again by the process that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CoroutineType
from typing import Any

from django_cluster.core.correlation import task_scope
from django_cluster.core.events.event import Event
from django_cluster.core.events.tasks import (
    HOOK_FAILED,
    RECEIVER_INTERRUPTED,
    TASK_CANCELLED,
    TASK_DEAD,
    TASK_DISCARDED,
    TASK_EXPIRED,
    TASK_FAILED,
    TASK_LOST,
    TASK_REJECTED,
    TASK_SUCCEEDED,
    TIMEOUT,
)
from django_cluster.core.liveness import report_progress
from django_cluster.core.messages import Outcome, OutcomeStatus, TaskHeader, TaskOptions
from django_cluster.errors import PackageError
from django_cluster.lifecycle.admission import ALL_FUNCTIONS, allowed_functions
from django_cluster.lifecycle.async_run import run_here
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.row_receivers import has_row_receivers, send_post_save
from django_cluster.lifecycle.signal_dispatch import send_signal
from django_cluster.lifecycle.soft_timeout import soft_timeout
from django_cluster.signals import post_execute
from django_cluster.stores.transient_task import transient_task

HOOK_TIMEOUT = 30.0
"""Seconds that a hook may take, and all receivers of one outcome together."""


VERBS: dict[str, str] = {
    OutcomeStatus.TIMEOUT: "timed out",
    OutcomeStatus.LOST: "lost its worker",
    OutcomeStatus.REJECTED: "rejected",
    OutcomeStatus.DEAD: "moved to dead",
    OutcomeStatus.DISCARDED: "discarded",
    OutcomeStatus.CANCELLED: "cancelled",
    OutcomeStatus.EXPIRED: "expired",
}
"""How the log calls an outcome that is no success; all others *failed*."""
FAILURE_EVENTS: dict[str, Event] = {
    OutcomeStatus.TIMEOUT: TIMEOUT,
    OutcomeStatus.LOST: TASK_LOST,
    OutcomeStatus.REJECTED: TASK_REJECTED,
    OutcomeStatus.DEAD: TASK_DEAD,
    OutcomeStatus.DISCARDED: TASK_DISCARDED,
    OutcomeStatus.CANCELLED: TASK_CANCELLED,
    OutcomeStatus.EXPIRED: TASK_EXPIRED,
}


def notify(
    outcomes: Sequence[Outcome],
    hook: Callable[[Outcome], None],
    reporters: ErrorReporters | None = None,
    find_row: Callable[[str], Any] | None = None,
) -> None:
    """Log recorded outcomes, and call their signal receivers, hooks and error reporters.

    ``find_row`` reads the row of a task by its id, for receivers of ``post_save``.
    """
    has_receivers = bool(post_execute.receivers)
    row_of = find_row if find_row is not None and has_row_receivers() else None
    for outcome in outcomes:
        if has_receivers:
            notify_receivers(outcome)
        if row_of is not None:
            send_post_save(outcome, row_of, HOOK_TIMEOUT)
        if has_hook(outcome):
            hook(outcome)
        if outcome.status == OutcomeStatus.SUCCESS:
            log_success(outcome)
        else:
            log_failure(outcome)
            if reporters is not None:
                reporters.report_outcome(outcome)


def has_hook(outcome: Outcome) -> bool:
    """Whether a hook is to be called: after the last run only."""
    return outcome.final and bool(outcome.options.get("hook"))


def notify_receivers(outcome: Outcome) -> None:
    """Send ``post_execute``; a receiver that exits, or runs for longer than ``HOOK_TIMEOUT``, is logged."""
    report_progress(HOOK_TIMEOUT)
    try:
        with soft_timeout(HOOK_TIMEOUT), task_scope(header_of_run(outcome), outcome.attempt):
            send_signal(post_execute, task=outcome)
    except BaseException as error:  # noqa: BLE001  SystemExit, or the timeout
        RECEIVER_INTERRUPTED.log(
            task_id=outcome.id,
            task_name=outcome.name,
            correlation_id=outcome.correlation_id,
            error=_described(error),
            exc_info=True,
        )


def header_of_run(outcome: Outcome) -> TaskHeader:
    """The header of the task, so that what is sent and logged on its behalf belongs to it."""
    return TaskHeader(
        id=outcome.id,
        name=outcome.name,
        func=outcome.func,
        enqueued_at=outcome.enqueued_at,
        options=TaskOptions(correlation_id=outcome.options.get("correlation_id")),
    )


def log_failure(outcome: Outcome) -> None:
    """Log an outcome that is no success, at the level of its event, and whether it will be retried."""
    kind, message, _ = outcome.failure or ("", "", "")
    reason = f"{kind}: {message}" if message else kind
    FAILURE_EVENTS.get(outcome.status, TASK_FAILED).log(
        task_id=outcome.id,
        task_name=outcome.name,
        function=outcome.func,
        attempt=outcome.attempt,
        correlation_id=outcome.correlation_id,
        verb=VERBS.get(outcome.status, "failed"),
        error=reason.removesuffix("."),
        final=outcome.final,
        outlook="" if outcome.final else "; retrying",
    )


def log_success(outcome: Outcome) -> None:
    """Log a success at level DEBUG; the caller has checked that the level is enabled."""
    TASK_SUCCEEDED.log(
        task_id=outcome.id,
        task_name=outcome.name,
        function=outcome.func,
        attempt=outcome.attempt,
        correlation_id=outcome.correlation_id,
        seconds=outcome.stopped_at - outcome.started_at,
    )


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def run_hook(outcome: Outcome, find_row: Callable[[str], Any], functions: tuple[str, ...] = ALL_FUNCTIONS) -> None:
    """Call the hook of a finished task with its saved row; a hook that fails is logged, and changes nothing.

    The hook of a success that is not kept gets a ``Task`` that is not in the database. ``functions``: the setting.
    """
    path = str(outcome.options["hook"])
    try:
        with soft_timeout(HOOK_TIMEOUT), task_scope(header_of_run(outcome), outcome.attempt):
            answer = allowed_functions(functions).load(path)(find_row(outcome.id) or transient_task(outcome))
            if isinstance(answer, CoroutineType):
                run_here(answer)
    except PackageError as error:
        HOOK_FAILED.log(
            hook=path,
            task_id=outcome.id,
            task_name=outcome.name,
            correlation_id=outcome.correlation_id,
            error=error,
        )
    except BaseException as error:  # noqa: BLE001  a hook is user code: SystemExit must not end its process
        HOOK_FAILED.log(
            hook=path,
            task_id=outcome.id,
            task_name=outcome.name,
            correlation_id=outcome.correlation_id,
            error=_described(error),
            exc_info=True,
        )
