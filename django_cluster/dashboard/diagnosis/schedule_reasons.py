"""Reasons why a schedule does not run."""

from __future__ import annotations

from collections.abc import Iterator

from django_cluster.dashboard.diagnosis.facts import QueueFacts, ScheduleRowFacts
from django_cluster.dashboard.diagnosis.reason import Conclusion, Reason
from django_cluster.dashboard.text import duration

LATE_SECONDS = 60.0
"""Seconds after which a due schedule is late."""


def obstacles_of_schedule(schedule: ScheduleRowFacts, queue: QueueFacts, now: float) -> Iterator[Reason]:
    """Why a schedule sends no task."""
    name = f"Schedule {schedule.name!r}"
    if not schedule.enabled:
        yield Reason("disabled", Conclusion.BLOCKED, f"{name} is disabled.", "Enable it in the admin.")
    elif schedule.error:
        text = f"{name} cannot run: {schedule.error}"
        yield Reason("schedule_error", Conclusion.BLOCKED, text, "Correct the row and save it.")
    elif schedule.ended:
        text = f"{name} has ended: no repeats are left."
        yield Reason("no_next_run", Conclusion.BLOCKED, text, "Give it more repeats, or -1 for no end.")
    elif schedule.next_run is None:
        yield Reason("no_next_run", Conclusion.BLOCKED, f"{name} has no next run: it has ended.", "Give it one.")
    elif schedule.busy and schedule.next_run <= now:
        text = f"{name} waits for its last task, {schedule.task}: its runs must not overlap."
        yield Reason("overlap", Conclusion.WAITS, text)
    elif now - schedule.next_run > LATE_SECONDS:
        late = duration(now - schedule.next_run)
        scheduling = any(each.role == "scheduler" for cluster in queue.clusters for each in cluster.processes)
        if scheduling:
            yield Reason("late", Conclusion.WAITS, f"{name} is late by {late}; the log of the scheduler says why.")
        else:
            text = f"{name} is late by {late}: no cluster of queue {queue.name!r} runs a scheduler."
            advice = f"Start one: manage.py qcluster -n {queue.name} --scheduler-only"
            yield Reason("no_scheduler", Conclusion.BLOCKED, text, advice)
