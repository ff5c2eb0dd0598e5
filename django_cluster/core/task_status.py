"""How a task is doing, in one word: the same for handles, tracked rows, the admin and Django's Tasks framework."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from django_cluster.core.messages import OutcomeStatus


class TaskStatus(StrEnum):
    """How a task is doing."""

    SCHEDULED = "scheduled"
    """It is not due yet."""
    QUEUED = "queued"
    """It waits for a worker. Of a task that is not tracked: or one is running it."""
    BLOCKED = "blocked"
    """It waits for something else than a worker."""
    RUNNING = "running"
    """A worker is running it. Only known of tracked tasks."""
    RETRYING = "retrying"
    """A run has failed; another will follow."""
    SUCCESS = "success"
    FAILED = "failed"
    """Its last run raised, overran its time limit or lost its process."""
    DEAD = "dead"
    """It was rejected, or workers died under it again and again."""
    CANCELLED = "cancelled"
    """It discarded itself, or was cancelled."""
    EXPIRED = "expired"
    """No run had begun by the moment that its option ``expires`` names."""


WAITING = frozenset({TaskStatus.SCHEDULED, TaskStatus.QUEUED, TaskStatus.BLOCKED, TaskStatus.RETRYING})
ENDED = frozenset({TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.DEAD, TaskStatus.CANCELLED, TaskStatus.EXPIRED})
ENDS: Mapping[str, TaskStatus] = {
    OutcomeStatus.SUCCESS: TaskStatus.SUCCESS,
    OutcomeStatus.DUPLICATE: TaskStatus.SUCCESS,
    OutcomeStatus.REJECTED: TaskStatus.DEAD,
    OutcomeStatus.DEAD: TaskStatus.DEAD,
    OutcomeStatus.DISCARDED: TaskStatus.CANCELLED,
    OutcomeStatus.CANCELLED: TaskStatus.CANCELLED,
    OutcomeStatus.EXPIRED: TaskStatus.EXPIRED,
}
"""Status of the last run → status of the task; after any other, the task has failed."""


def status_after(run: str, *, final: bool) -> TaskStatus:
    """The status of a task after a run. ``run``: an ``OutcomeStatus``."""
    if run == OutcomeStatus.SNOOZED:
        return TaskStatus.SCHEDULED
    if not final:
        return TaskStatus.RETRYING
    return ENDS.get(run, TaskStatus.FAILED)
