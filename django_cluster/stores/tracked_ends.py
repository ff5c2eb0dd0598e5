"""The ends of tracked tasks as the monitor records them: of runs that their worker could not write down any more.

Nearly always the worker has written the end, and nothing is left to do. It could not if it died, was killed for its
time limit, or never began: a message that no worker can read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django_cluster.core.batching import batches
from django_cluster.core.messages import Outcome, OutcomeStatus, is_tracked
from django_cluster.core.task_status import ENDED, TaskStatus, status_after
from django_cluster.models import TrackedTask
from django_cluster.stores.tracked import ROWS_PER_STATEMENT, TrackedTasks, errors_of, moment, with_error

OUR_ERRORS = "django_cluster.errors"
CLASSES: Mapping[str, str] = {
    "TaskTimeout": f"{OUR_ERRORS}.TaskTimeout",
    "WorkerLost": f"{OUR_ERRORS}.WorkerLost",
    "OutOfMemory": f"{OUR_ERRORS}.WorkerLost",
}
"""Kinds of failures without an exception → the class that says the same."""


def class_of_kind(kind: str) -> str:
    """The path of the exception class for the kind of a failure: ``FailureDetails.kind``."""
    return CLASSES.get(kind) or (kind if "." in kind else f"builtins.{kind}")


def note_ends(store: TrackedTasks, outcomes: Sequence[Outcome]) -> None:
    """Write the ends that are missing. ``outcomes``: as they were decided (``status``, ``final``). Can be repeated."""
    tracked = {outcome.id: outcome for outcome in outcomes if is_tracked(outcome.options)}
    for ids in batches(list(tracked), most=ROWS_PER_STATEMENT):
        for row in store.unfinished(ids):
            changes = missing_end(row, tracked[row.id])
            if changes is not None:
                store.change(row, **changes)


def missing_end(row: TrackedTask, outcome: Outcome) -> dict[str, Any] | None:
    """What the row has to say after this outcome; None if it says so already, or a later run is going on."""
    if row.status in ENDED:
        return None
    running = row.status == TaskStatus.RUNNING and row.delivery == outcome.attempt
    if row.status == TaskStatus.RUNNING and not running:
        return None
    if not running and not outcome.final:
        return None
    kind, message, text = outcome.failure or ("", "", "")
    status = status_after(outcome.status, final=outcome.final)
    changes: dict[str, Any] = {"status": status, "payload": None}
    if outcome.final:
        changes["finished_at"] = moment(outcome.stopped_at)
    if outcome.failure is not None and outcome.status != OutcomeStatus.SNOOZED:
        changes["errors"] = [list(each) for each in with_error(errors_of(row), class_of_kind(kind), text or message)]
    return changes
