"""The tab *Tasks*: queued, leased and finished tasks."""

from __future__ import annotations

from django_cluster.dashboard.snapshot import Snapshot, TaskView
from django_cluster.dashboard.tables import Column, Table, TableRow
from django_cluster.dashboard.text import duration

COLUMNS = (
    Column("STATE", 9),
    Column("QUEUE", 10, least=90),
    Column("FUNCTION"),
    Column("NAME"),
    Column("RUN", 4, right=True),
    Column("AGE", 5, right=True),
    Column("WAITED", 6, right=True, least=100),
    Column("RAN", 5, right=True),
)
STYLES = {
    "success": "good", "ready": "", "delayed": "dim", "leased": "key", "discarded": "dim", "cancelled": "dim",
    "expired": "dim",
}  # fmt: skip


def table(snapshot: Snapshot, ascii_only: bool = False) -> Table:
    ended = sorted([*snapshot.ended, *snapshot.failures], key=lambda task: -task.moment)
    rows = [_row(task, snapshot.taken_at, place) for place, task in enumerate([*snapshot.waiting, *ended])]
    return Table(COLUMNS, tuple(rows), "No task waits, and none has left a row.")


def _row(task: TaskView, now: float, place: int) -> TableRow:
    age = max(0.0, now - task.moment) if task.moment else 0.0
    state = task.state
    if task.state == "delayed" and task.due is not None:
        state = f"in {duration(max(0.0, task.due - now))}"
    elif not task.waits and not task.final:
        state = "retrying"
    waited = duration(task.wait) if not task.waits else ""
    ran = duration(task.run) if not task.waits else ""
    return TableRow(
        key=key_of(task, place),
        cells=(state, task.queue, task.func, task.name, str(task.attempts), duration(age), waited, ran),
        order=(state, task.queue, task.func, task.name, task.attempts, age, task.wait, task.run),
        styles={0: STYLES.get(task.state, "bad")},
        more=search_fields(task),
    )


def key_of(task: TaskView, place: int = 0) -> str:
    if not task.waits:
        return f"task:{task.id}"
    return f"waiting:{task.queue}:{task.key or task.id or place}"


def search_fields(task: TaskView) -> dict[str, str]:
    """Fields for the filter, in addition to the columns."""
    return {
        "about": f"{task.name} [{task.func}]" if task.func else task.name,
        "status": task.state,
        "queue": task.queue,
        "key": task.key if task.state != "leased" else "",
        "id": task.id,
        "group": task.group,
        "error": task.error,
        "worker": task.worker,
    }
