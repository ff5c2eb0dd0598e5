"""Ends of tasks of Django's Tasks framework that no worker could announce: it died, or was killed for a time limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.errors import TaskTimeout, WorkerLost
from django_cluster.lifecycle.error_reporting import is_unreported
from django_cluster.models import TrackedTask

BY_A_WORKER = frozenset({OutcomeStatus.FAILURE, OutcomeStatus.REJECTED})
"""Statuses of runs whose worker lives, and has announced the end itself."""
EXCEPTIONS: Mapping[str, type[BaseException]] = {OutcomeStatus.TIMEOUT: TaskTimeout}


def is_unannounced(outcome: Outcome) -> bool:
    """Whether ``task_finished`` is still to be sent for this task."""
    return (
        outcome.final and "backend" in outcome.options and outcome.status not in BY_A_WORKER and is_unreported(outcome)
    )


def announce_end(outcome: Outcome, find_row: Callable[[str], TrackedTask | None]) -> None:
    """Send ``task_finished``, with an exception as the current one that says what happened: receivers log it."""
    from django_cluster.framework.results import result_of_row
    from django_cluster.framework.signals import announce

    if (row := find_row(outcome.id)) is None:
        return
    result = result_of_row(row)
    try:
        raise EXCEPTIONS.get(outcome.status, WorkerLost)(outcome.failure[1] if outcome.failure else "")
    except (TaskTimeout, WorkerLost):
        announce("task_finished", result)
