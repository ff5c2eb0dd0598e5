"""The tab *Schedules*: schedules and their next runs."""

from __future__ import annotations

from django_cluster.dashboard.snapshot import ScheduleView, Snapshot
from django_cluster.dashboard.state_labels import FINISHED, LATE, OFF, schedule_state
from django_cluster.dashboard.tables import Column, Table, TableRow
from django_cluster.dashboard.text import duration

COLUMNS = (
    Column("NEXT", 8, right=True),
    Column("RULE", 16),
    Column("NAME"),
    Column("FUNCTION"),
    Column("QUEUE", 10, least=100),
    Column("LEFT", 5, right=True),
    Column("STATE", 12),
)


def table(snapshot: Snapshot, ascii_only: bool = False) -> Table:
    return Table(COLUMNS, tuple(_row(each, snapshot.taken_at) for each in snapshot.schedules), "There is no schedule.")


def _row(schedule: ScheduleView, now: float) -> TableRow:
    left = None if schedule.next_run is None else schedule.next_run - now
    state = schedule_state(
        enabled=schedule.enabled, repeats=schedule.repeats, until_next_run=left, error=schedule.error
    )
    rests = state.text in (OFF, FINISHED)
    due = "" if left is None or rests else f"in {duration(left)}" if left > 0 else duration(left)
    return TableRow(
        key=f"schedule:{schedule.id}",
        cells=(
            due,
            schedule.rule,
            schedule.name,
            schedule.func,
            schedule.queue,
            str(schedule.repeats) if schedule.repeats >= 0 else "",
            state.plain,
        ),
        order=(left, schedule.rule, schedule.name, schedule.func, schedule.queue, schedule.repeats, state.plain),
        style="dim" if rests else "",
        styles={6: state.style, 0: state.style if state.text == LATE else ""},
        more={"error": schedule.error, "task": schedule.task},
    )
