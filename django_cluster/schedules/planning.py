"""Plans the run of a due schedule: the task to send, and what its row says afterwards. Functions of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django_cluster.core.arguments import args_from_text, kwargs_from_text
from django_cluster.core.call_options import split_options, with_declared, with_queue
from django_cluster.core.due import CatchUp, decide_due
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.next_run import ScheduleColumns, local_text, revise
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import checked_name
from django_cluster.core.recurrence import Recurrence
from django_cluster.core.task_ids import derived_id, task_name
from django_cluster.models.schedule import Schedule

RUN_LOST_AFTER = timedelta(days=1)
"""Age of an unfinished run from which it counts as lost, and no longer delays the next one."""

MOST_RUNS = (1 << 63) - 1
"""The largest value of the column: a row that holds it must not stop the other schedules."""

SENDER_OPTIONS = ("sync", "on_commit")
"""Options that mean something to a caller only; refused in schedules."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A schedule that is due: what to send, and what its row will say afterwards."""

    schedule: Schedule
    """The row as it was seen."""
    task_id: str
    """Id of the task of the run that is due."""
    package: TaskPackage | None
    """None: this run is skipped."""
    changes: Mapping[str, Any] | None = field(repr=False)
    """ScheduleColumns and their new values; None: the row has done its work, and is deleted."""
    skipped: tuple[datetime, datetime] | None = None
    """Missed runs that are not made up for, because there are too many: from this one to the one before that."""

    @property
    def has_own_broker(self) -> bool:
        """Whether the task names a broker of its own: not the one that its cluster has."""
        return self.package is not None and self.package.header.options.broker is not None

    @property
    def was_claimed_before(self) -> bool:
        """Whether a cluster has claimed this run before, and not recorded that it was sent."""
        return self.schedule.task == self.task_id


def plan_run(
    row: Schedule, now: datetime, tz: tzinfo | None, *, catch_up: CatchUp, max_catch_up: int | None = None
) -> PlannedRun:
    """Plan what to do with a row that is due, or whose next run may be stale. Raises what is wrong with the row.

    ``tz``, ``catch_up`` and ``max_catch_up`` are those of the settings; the row may override the zone and ``catch_up``.
    """
    columns, zone = row.columns, row.zone(now, tz)
    changes: dict[str, Any] = {}
    if (revision := revise(columns, now, zone)) is not None:
        columns, changes = columns.after(revision), asdict(revision)
    due = columns.next_run
    if due is None or (revision is not None and due > now):
        return PlannedRun(row, "", None, changes)
    rule = columns.rule_with_anchor(now, zone)
    rule.check()
    rule, task_id = rule.anchored_at(due, zone), run_id(row, due)
    begun = row.task == task_id  # a cluster has claimed this very run, and may have sent it
    catch_up_mode = CatchUp(row.catch_up) if row.catch_up else catch_up
    if begun and catch_up_mode is CatchUp.SKIP:
        catch_up_mode = CatchUp.ONCE
    busy, limit = is_busy(row, now) and not begun, None if begun else max_catch_up
    found = decide_due(rule, due, now, zone, catch_up=catch_up_mode, window=row.window, busy=busy, limit=limit)
    if found.fire is not None and found.fire != due:
        due, task_id = found.fire, run_id(row, found.fire)
    changes |= _plan_after(columns, found.next_run, rule, zone)
    if found.fire is None:
        return PlannedRun(row, task_id, None, changes)
    package = package_for_run(row, task_id, due, now)
    changes |= {"task": task_id, "runs": min(row.runs + 1, MOST_RUNS), "repeats": row.repeats - (row.repeats > 0)}
    if found.next_run is None and rule.next_after(due, zone) is None:
        # Nothing follows, ever: what was to run once has run.
        changes |= _plan_after(columns, due, rule, zone) | {"repeats": 0}
        return PlannedRun(row, task_id, package, changes if row.repeats >= 0 else None)
    return PlannedRun(row, task_id, package, changes, found.skipped)


def _plan_after(
    columns: ScheduleColumns, run: datetime | None, rule: Recurrence, zone: tzinfo | None
) -> dict[str, Any]:
    """The columns that change with the next run; what is not here stays as it is."""
    changes = {"next_run": run, "anchor": rule.anchor, "local_next_run": local_text(rule, run, zone)}
    if rule.anchor != columns.anchor:
        changes["local_anchor"] = local_text(rule, rule.anchor, zone, rule.local_anchor)
    return changes


def is_busy(row: Schedule, now: datetime) -> bool:
    """Whether the schedule must not overlap, and its last run is unfinished."""
    return row.no_overlap and row.busy_since is not None and now - row.busy_since < RUN_LOST_AFTER


def run_id(row: Schedule, due: datetime) -> str:
    """The task id of one run: the same in every cluster; another for the next run, even of the same time."""
    return derived_id("schedule", row.pk, row.runs, due.isoformat())


def package_for_run(row: Schedule, task_id: str, due: datetime, now: datetime) -> TaskPackage:
    """The task of one run. Raises whatever is wrong with the row."""
    kwargs = kwargs_from_text(row.kwargs)
    options, name = task_options(row, kwargs.pop("q_options", None) or {})
    if row.intended_date_kwarg:
        kwargs[row.intended_date_kwarg] = due.isoformat()
    header = TaskHeader(
        id=task_id,
        name=name or task_name(task_id),
        func=dotted_path(row.func),
        enqueued_at=now.timestamp(),
        options=options,
    )
    return TaskPackage(header=header, args=args_from_text(row.args), kwargs=kwargs)


def task_options(row: Schedule, given: Any) -> tuple[TaskOptions, str | None]:
    """The options of the task, and its name if one is given. The columns of the row go before ``q_options``."""
    if not isinstance(given, dict):
        raise ValueError("q_options is not a dict.")
    options = {"group": row.name or str(row.pk), **with_queue(given)}
    older = options.pop("broker_name", None)
    options |= {"queue": row.queue or options.get("queue") or older, "hook": row.hook or options.get("hook")}
    for name in SENDER_OPTIONS:
        if options.get(name):
            raise ValueError(
                f"A schedule always sends its tasks to the cluster: the option {name!r} means nothing here."
            )
    _, options = split_options({"q_options": options})
    chosen = {option: value for option, value in options.items() if value is not None}
    found = build_options(with_declared(row.func, chosen, SENDER_OPTIONS))
    return (replace(found, schedule=row.pk) if row.no_overlap else found), checked_name(options.get("task_name"))
