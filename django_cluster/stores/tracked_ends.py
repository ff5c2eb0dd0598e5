"""The ends of tracked tasks as the monitor records them.

Workers leave the ends of quick runs to it: one statement for a batch on PostgreSQL. Of others the worker has written
the end, and nothing is left to do; unless it died, was killed for its time limit, or never began, because no worker can
read the message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django_cluster.core.batching import batches
from django_cluster.core.messages import Outcome, OutcomeStatus, TrackedEnd, is_tracked
from django_cluster.core.task_status import ENDED, TaskStatus, status_after
from django_cluster.models import TrackedTask
from django_cluster.models.tracked_task import JsonText
from django_cluster.stores.run_ends import RunEnd
from django_cluster.stores.tracked import ROWS_PER_STATEMENT, TrackedTasks, moment
from django_cluster.stores.tracked_runs import errors_of, with_error

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
    left = [outcome for outcome in tracked.values() if outcome.tracked_end is not None]
    written = {
        task_id for batch in batches(left, most=ROWS_PER_STATEMENT) for task_id in store.end_all(map(end_of, batch))
    }
    for ids in batches([task_id for task_id in tracked if task_id not in written], most=ROWS_PER_STATEMENT):
        for row in store.unfinished(ids):
            changes = missing_end(row, tracked[row.id])
            if changes is not None:
                store.change(row, **changes)


def end_of(outcome: Outcome) -> RunEnd:
    """What a row has to say after a run whose end its worker has left to the monitor."""
    end = TrackedEnd(*outcome.tracked_end or ())
    return RunEnd(
        outcome.id,
        end.attempt,
        status_after(outcome.status, final=outcome.final),
        moment(end.called_at),
        moment(end.finished_at) if outcome.final else None,
        end.errors,
        end.return_value,
    )


def missing_end(row: TrackedTask, outcome: Outcome) -> dict[str, Any] | None:
    """What the row has to say after this outcome; None if it says so already, or a later run is going on."""
    if row.status in ENDED:
        return None
    running = row.status == TaskStatus.RUNNING and abs(row.delivery) == outcome.attempt
    if row.status == TaskStatus.RUNNING and not running:
        return None
    if not running and not outcome.final:
        return None
    kind, message, text = outcome.failure or ("", "", "")
    status = status_after(outcome.status, final=outcome.final)
    changes: dict[str, Any] = {"status": status, "payload": None}
    if outcome.final:
        changes["finished_at"] = moment(outcome.stopped_at)
    if outcome.tracked_end is not None:
        changes["return_value"] = JsonText().from_db_value(end_of(outcome).return_value)
    if outcome.failure is not None and outcome.status != OutcomeStatus.SNOOZED:
        changes["errors"] = [list(each) for each in with_error(errors_of(row), class_of_kind(kind), text or message)]
    return changes
