"""Tells the project's code and the log how runs ended, after they were recorded.

Notification comes last, so that a hook that kills its process is not called again by the process that follows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django_cluster.core.liveness import report_progress
from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.errors import PackageError
from django_cluster.lifecycle.admission import ALL_FUNCTIONS, allowed_functions
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.signal_dispatch import send_signal
from django_cluster.lifecycle.soft_timeout import soft_timeout
from django_cluster.signals import post_execute
from django_cluster.stores.transient_task import transient_task

logger = logging.getLogger("django_cluster")
task_logger = logging.getLogger("django_cluster.tasks")
"""Logs how tasks ended. An error reporter that is told of failed tasks anyway can ignore this logger."""

HOOK_TIMEOUT = 30.0
"""Seconds that a hook may take, and all receivers of one outcome together."""


VERBS: dict[str, str] = {
    OutcomeStatus.TIMEOUT: "timed out",
    OutcomeStatus.LOST: "lost its worker",
    OutcomeStatus.REJECTED: "rejected",
    OutcomeStatus.DEAD: "moved to dead",
    OutcomeStatus.DISCARDED: "discarded",
}
"""How the log calls an outcome that is no success; all others *failed*."""
EVENTS: dict[str, str] = {
    OutcomeStatus.TIMEOUT: "task_timeout",
    OutcomeStatus.LOST: "task_lost",
    OutcomeStatus.REJECTED: "task_rejected",
    OutcomeStatus.DEAD: "task_dead",
    OutcomeStatus.DISCARDED: "task_discarded",
}


def notify(
    outcomes: Sequence[Outcome], hook: Callable[[Outcome], None], reporters: ErrorReporters | None = None
) -> None:
    """Log recorded outcomes, and call their signal receivers, hooks and error reporters."""
    has_receivers = bool(post_execute.receivers)
    for outcome in outcomes:
        if has_receivers:
            notify_receivers(outcome)
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
        with soft_timeout(HOOK_TIMEOUT):
            send_signal(post_execute, task=outcome)
    except BaseException:  # SystemExit, or the timeout
        logger.exception(
            "A receiver of post_execute did not return for task %s", outcome.name, extra={"event": "receiver_failed"}
        )


def log_failure(outcome: Outcome) -> None:
    """Log an outcome that is no success, at level ERROR, and whether it will be retried."""
    kind, message, _ = outcome.failure or ("", "", "")
    reason = f"{kind}: {message}" if message else kind
    task_logger.error(
        "Task %s [%s] %s in run %d: %s%s",
        outcome.name, outcome.func, VERBS.get(outcome.status, "failed"), outcome.attempt, reason.removesuffix("."),
        "" if outcome.final else "; it will be retried",
        extra={"event": EVENTS.get(outcome.status, "task_failed")},
    )  # fmt: skip


def log_success(outcome: Outcome) -> None:
    """Log a success at level DEBUG; the caller has checked that the level is enabled."""
    task_logger.debug(
        "Task %s [%s] succeeded in run %d after %.3f s",
        outcome.name, outcome.func, outcome.attempt, outcome.stopped_at - outcome.started_at,
        extra={"event": "task_succeeded"},
    )  # fmt: skip


def run_hook(outcome: Outcome, find_row: Callable[[str], Any], functions: tuple[str, ...] = ALL_FUNCTIONS) -> None:
    """Call the hook of a finished task with its saved row; a hook that fails is logged, and changes nothing.

    The hook of a success that is not kept gets a ``Task`` that is not in the database. ``functions``: the setting.
    """
    path = str(outcome.options["hook"])
    try:
        with soft_timeout(HOOK_TIMEOUT):
            allowed_functions(functions).load(path)(find_row(outcome.id) or transient_task(outcome))
    except PackageError as error:
        logger.error(
            "Hook %s of task %s cannot be called: %s", path, outcome.name, error, extra={"event": "hook_failed"}
        )
    except BaseException:  # a hook is user code: SystemExit must not end its process
        logger.exception("Hook %s of task %s failed", path, outcome.name, extra={"event": "hook_failed"})
