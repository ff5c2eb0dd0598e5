"""Schedules: what is sent by itself, and when next."""

from __future__ import annotations

from django_cluster.dashboard.snapshot import ScheduleView, Snapshot
from django_cluster.dashboard.tables import Column, Row, Table
from django_cluster.dashboard.text import duration

COLUMNS = (
    Column("NEXT", 8, right=True),
    Column("RULE", 16),
    Column("NAME"),
    Column("FUNCTION"),
    Column("QUEUE", 10, least=100),
    Column("LEFT", 5, right=True),
    Column("STATE", 9),
)
LATE = 60.0
"""Seconds after which a due schedule that has not been sent is worth a warning."""


def table(snapshot: Snapshot, ascii_only: bool = False) -> Table:
    return Table(COLUMNS, tuple(_row(each, snapshot.taken_at) for each in snapshot.schedules), "There is no schedule.")


def _row(schedule: ScheduleView, now: float) -> Row:
    left = None if schedule.next_run is None else schedule.next_run - now
    state, style = _state(schedule, left)
    due = "" if left is None or state in ("off", "finished") else f"in {duration(left)}" if left > 0 else duration(left)
    return Row(
        key=f"schedule:{schedule.id}",
        cells=(
            due,
            schedule.rule,
            schedule.name,
            schedule.func,
            schedule.queue,
            str(schedule.repeats) if schedule.repeats >= 0 else "",
            state,
        ),
        order=(left, schedule.rule, schedule.name, schedule.func, schedule.queue, schedule.repeats, state),
        style="dim" if state in ("off", "finished") else "",
        styles={6: style, 0: style if state == "late" else ""},
        more={"error": schedule.error, "task": schedule.task},
    )


def _state(schedule: ScheduleView, left: float | None) -> tuple[str, str]:
    if schedule.error:
        return "broken", "bad"
    if not schedule.enabled:
        return "off", "dim"
    if schedule.repeats == 0 or left is None:
        return "finished", "dim"
    return ("late", "warn") if left < -LATE else ("on", "good")
