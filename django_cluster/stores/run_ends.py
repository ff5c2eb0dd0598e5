"""The statement that writes how runs of tracked tasks ended: one for a batch on PostgreSQL, else one for each."""

# ruff: noqa: S608  what is put into the SQL here is ours: the name of our table

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from django_cluster.core.postgres_arrays import number_array, text_array
from django_cluster.core.reprs import repr_of
from django_cluster.core.task_status import TaskStatus
from django_cluster.database.dialect import is_postgresql
from django_cluster.models import TrackedTask


class RunEnd(NamedTuple):
    """What the row of a task says after a run."""

    id: str
    attempt: int
    """The fence: ``BegunRun.attempt``."""
    status: str
    called_at: datetime
    finished_at: datetime | None
    errors: str | None
    """JSON; None: the row has them already."""
    return_value: str | None
    """JSON."""

    def __repr__(self) -> str:
        return repr_of(self, "id", "attempt", "status")


TABLE = TrackedTask._meta.db_table
CHANGES = (
    "status = {status}, finished_at = {finished_at}, last_attempted_at = {called_at},"
    " started_at = CASE WHEN {row}attempt = 1 THEN {called_at} ELSE {row}started_at END,"
    " errors = COALESCE({errors}, {row}errors), return_value = {return_value}"
)
BATCH = (
    f"UPDATE {TABLE} AS kept SET "
    + CHANGES.format(
        row="kept.",
        status="given.status",
        finished_at="given.finished_at::timestamptz",
        called_at="given.called_at::timestamptz",
        errors="given.errors",
        return_value="given.return_value",
    )
    + " FROM unnest(%s::text[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])"
    " AS given(id, attempt, status, called_at, finished_at, errors, return_value)"
    " WHERE kept.id = given.id AND kept.attempt = given.attempt"
    f" AND kept.status = '{TaskStatus.RUNNING}' RETURNING kept.id"
)
SINGLE = (
    f"UPDATE {TABLE} SET "
    + CHANGES.format(row="", status="%s", finished_at="%s", called_at="%s", errors="%s", return_value="%s")
    + f" WHERE id = %s AND attempt = %s AND status = '{TaskStatus.RUNNING}'"
)


def write_ends(cursor: CursorWrapper, ends: Sequence[RunEnd]) -> list[str]:
    """Write the ends of the runs that are the last of their tasks, and running; returns the ids of these tasks."""
    return (
        _write_batch(cursor, ends) if is_postgresql(cursor.db) else [end.id for end in ends if _write_one(cursor, end)]
    )


def _write_batch(cursor: CursorWrapper, ends: Sequence[RunEnd]) -> list[str]:
    ids, attempts, statuses, called, finished, errors, values = zip(*ends, strict=True)
    columns = [
        text_array(ids),
        number_array(attempts),
        text_array(statuses),
        text_array([each.isoformat() for each in called]),
        text_array([None if each is None else each.isoformat() for each in finished]),
        text_array(errors),
        text_array(values),
    ]
    cursor.execute(BATCH, columns)
    return [task_id for (task_id,) in cursor.fetchall()]


def _write_one(cursor: CursorWrapper, end: RunEnd) -> bool:
    adapt = cursor.db.ops.adapt_datetimefield_value
    called, finished = adapt(end.called_at), None if end.finished_at is None else adapt(end.finished_at)
    changes = [end.status, finished, called, called, end.errors, end.return_value]
    cursor.execute(SINGLE, [*changes, end.id, end.attempt])
    return bool(cursor.rowcount)
