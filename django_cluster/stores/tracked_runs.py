"""Which run of a tracked task may begin, and what the row of the task says of it. Pure: rows are read and written by
``stores.tracked``.

The delivery of a run that was written down before its worker came to it is negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django_cluster.core.reprs import repr_of
from django_cluster.core.task_status import ENDED, WAITING, TaskStatus
from django_cluster.models import TrackedTask

MAX_ERRORS, MAX_WORKERS = 100, 1000
"""Most runs of which a row keeps the error, and most of which it keeps the worker: the last ones."""
MAX_TRACEBACK = 16_000
"""Characters kept of the end of each traceback."""
NEVER_BEGUN: Mapping[str, Any] = {"attempt": 0, "status": tuple(sorted(WAITING))}
"""What is in the row of a task of which no run has begun."""
NOT_BEGUN: Mapping[str, Any] = {
    "status": TaskStatus.QUEUED,
    "attempt": 0,
    "delivery": 0,
    "started_at": None,
    "last_attempted_at": None,
    "worker_ids": [],
}
"""What a row says again of a task whose first run was written ahead, and does not begin."""
VANISHED = ("django_cluster.errors.WorkerLost", "The run ended without a report: its cluster died.")
"""The error of a run that was going on when the next one began."""


class BegunRun(NamedTuple):
    """A run that has been written down as running."""

    attempt: int
    """The fence: number of this run among all of the task."""
    started_at: datetime
    """Start of the first run."""
    last_attempted_at: datetime
    worker_ids: tuple[str, ...]
    errors: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return repr_of(self, "attempt", "started_at")


class Refusal(NamedTuple):
    """Why a run may not begin."""

    ended: bool
    """The task has ended; else another run of it is going on."""


def errors_of(row: TrackedTask) -> tuple[tuple[str, str], ...]:
    """The errors of a row: a changed row must not stop the process that reads it."""
    written = row.errors if isinstance(row.errors, list) else []
    return tuple((str(each[0]), str(each[1])) for each in written if isinstance(each, list) and len(each) == 2)


def with_error(errors: Sequence[tuple[str, str]], kind: str, text: str) -> tuple[tuple[str, str], ...]:
    """The errors of a task after another run has failed."""
    return (*errors, (kind, text[-MAX_TRACEBACK:]))[-MAX_ERRORS:]


def running_values(run: BegunRun, delivery: int) -> dict[str, Any]:
    return {
        "status": TaskStatus.RUNNING,
        "attempt": run.attempt,
        "delivery": delivery,
        "started_at": run.started_at,
        "last_attempted_at": run.last_attempted_at,
        "worker_ids": list(run.worker_ids),
        "errors": [list(each) for each in run.errors],
        "payload": None,
    }


def refusal_of(row: TrackedTask, delivery: int, worker: str, *, handed_over: bool) -> Refusal | None:
    if row.status in ENDED:
        return Refusal(ended=True)
    if row.status != TaskStatus.RUNNING or abs(row.delivery) < delivery or _is_own(row, delivery, worker):
        return None
    if _is_ahead(row) and handed_over:
        return None  # another worker had written it down ahead, and has not begun it
    return Refusal(ended=False)  # a second message of the task


def _workers(row: TrackedTask) -> list[str]:
    return [*row.worker_ids] if isinstance(row.worker_ids, list) else []


def _is_ahead(row: TrackedTask) -> bool:
    """Whether its run was written down with others, before the worker came to it."""
    return row.status == TaskStatus.RUNNING and row.delivery < 0 and bool(_workers(row))


def written_ahead(worker: str) -> dict[str, Any]:
    """What is in a row that this worker has written ahead, and no other has changed."""
    return {"attempt": 1, "status": TaskStatus.RUNNING, "worker_ids": [worker]}


def _is_own(row: TrackedTask, delivery: int, worker: str) -> bool:
    """Whether this worker has written it a moment ago, and the answer was lost."""
    return row.status == TaskStatus.RUNNING and abs(row.delivery) == delivery and _workers(row)[-1:] == [worker]


def next_run(row: TrackedTask, delivery: int, worker: str, began: datetime) -> BegunRun:
    errors, workers = errors_of(row), _workers(row)
    if _is_own(row, delivery, worker):
        assert row.started_at is not None
        return BegunRun(row.attempt, row.started_at, row.last_attempted_at or began, tuple(workers), errors)
    if _is_ahead(row):
        # Whether it began is known if this is the same delivery: it did not.
        workers = workers[:-1] if row.delivery == -delivery else workers
    elif row.status == TaskStatus.RUNNING:
        errors = with_error(errors, *VANISHED)
    return BegunRun(
        attempt=row.attempt + 1,
        started_at=row.started_at or began,
        last_attempted_at=began,
        worker_ids=(*workers, worker)[-MAX_WORKERS:],
        errors=errors,
    )
