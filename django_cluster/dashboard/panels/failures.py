"""The tab *Failures*: the newest failures. Enter shows the details of one."""

from __future__ import annotations

from django_cluster.dashboard.panels.tasks import search_fields
from django_cluster.dashboard.snapshot import Snapshot, TaskView
from django_cluster.dashboard.tables import Column, Table, TableRow
from django_cluster.dashboard.text import duration

COLUMNS = (
    Column("AGO", 5, right=True),
    Column("STATUS", 9),
    Column("RUN", 4, right=True),
    Column("FUNCTION"),
    Column("ERROR"),
)


def table(snapshot: Snapshot, ascii_only: bool = False) -> Table:
    return Table(COLUMNS, tuple(_row(task, snapshot.taken_at) for task in snapshot.failures), "No task has failed.")


def _row(task: TaskView, now: float) -> TableRow:
    ago = max(0.0, now - task.moment)
    status = task.state if task.final else "retrying"
    return TableRow(
        key=f"task:{task.id}",
        cells=(duration(ago), status, str(task.attempts), task.func or task.name, task.error),
        order=(ago, status, task.attempts, task.func, task.error),
        styles={
            1: "warn" if not task.final else "dim" if task.state in ("discarded", "cancelled", "expired") else "bad"
        },
        more={**search_fields(task), "name": task.name},
    )
