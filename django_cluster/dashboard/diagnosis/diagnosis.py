"""The diagnosis of facts: reasons, the decisive one first. A pure function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django_cluster.dashboard.diagnosis.facts import Facts, QueueFacts, ScheduleRowFacts
from django_cluster.dashboard.diagnosis.queue_reasons import obstacles, reasons_of_queue
from django_cluster.dashboard.diagnosis.reason import Conclusion, Reason
from django_cluster.dashboard.diagnosis.schedule_reasons import obstacles_of_schedule
from django_cluster.dashboard.diagnosis.task_reasons import reasons_of_task
from django_cluster.dashboard.text import duration

CLOCK_SECONDS = 5.0
"""Difference of two clocks in seconds from which it is reported."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Reasons, the decisive one first, and what could not be searched."""

    target: str
    reasons: tuple[Reason, ...]
    unseen: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return int(self.reasons[0].conclusion)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        reasons = [{**asdict(each), "conclusion": each.conclusion.name.lower()} for each in self.reasons]
        return {"target": self.target, "exit_code": self.exit_code, "reasons": reasons, "unseen": list(self.unseen)}


def diagnose(facts: Facts) -> Diagnosis:
    """The diagnosis of facts; it has at least one reason."""
    reasons = tuple(_reasons(facts))
    return Diagnosis(facts.target, reasons, facts.unseen)


def _reasons(facts: Facts) -> Iterator[Reason]:
    if facts.task is not None:
        yield from reasons_of_task(facts, facts.task)
    elif facts.schedule is not None:
        yield from _of_schedule(facts.schedule, facts.queues[0], facts.now)
    else:
        yield from reasons_of_queue(facts.queues[0], facts.now)
    if facts.sync:
        yield Reason("sync", Conclusion.FINE, "The setting sync is on: tasks run in the caller and are never queued.")
    if abs(facts.clock_ahead) > CLOCK_SECONDS:
        side = "ahead of" if facts.clock_ahead > 0 else "behind"
        yield Reason(
            "clock",
            Conclusion.WAITS,
            f"The clock of this machine is {duration(abs(facts.clock_ahead))} {side} that of the database:"
            " delayed tasks become due by that much too late or too early.",
            "Set the clocks by NTP.",
        )


def _of_schedule(schedule: ScheduleRowFacts, queue: QueueFacts, now: float) -> Iterator[Reason]:
    of_schedule, of_queue = list(obstacles_of_schedule(schedule, queue, now)), list(obstacles(queue, now))
    yield from of_schedule
    if not of_schedule and schedule.next_run is not None:
        blocked = [each for each in of_queue if each.conclusion is Conclusion.BLOCKED]
        yield from blocked
        of_queue = [each for each in of_queue if each not in blocked]
        left = duration(max(0.0, schedule.next_run - now))
        yield Reason("scheduled", Conclusion.WAITS, f"Schedule {schedule.name!r} is due in {left}.")
    if schedule.task:
        yield Reason("last_task", Conclusion.FINE, f"Its last task is {schedule.task}.")
    yield from of_queue
