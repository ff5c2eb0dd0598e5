"""Reasons that the row of a tracked task tells, where neither a result nor a message of the task is found.

SQS, RabbitMQ and IronMQ show no message without delivering it: there, this row is all that is known of a task that
waits.
"""

from __future__ import annotations

from collections.abc import Iterator

from django_cluster.core.task_status import TaskStatus
from django_cluster.dashboard.diagnosis.facts import QueueFacts, TrackedFacts
from django_cluster.dashboard.diagnosis.queue_reasons import contents, obstacles
from django_cluster.dashboard.diagnosis.reason import Conclusion, Reason
from django_cluster.dashboard.text import duration

HEARTBEAT_SECONDS = 10.0
"""Seconds in which a heartbeat that is older than a run is normal."""

ENDS = {
    TaskStatus.SUCCESS: ("succeeded", Conclusion.FINE, "It succeeded"),
    TaskStatus.FAILED: ("failed", Conclusion.BLOCKED, "It has run, and failed for good"),
    TaskStatus.DEAD: ("dead", Conclusion.BLOCKED, "It could not be run, or its workers died repeatedly; it ended"),
    TaskStatus.CANCELLED: ("cancelled", Conclusion.FINE, "It was cancelled, or discarded itself,"),
    TaskStatus.EXPIRED: ("expired", Conclusion.BLOCKED, "It was not run, and its time ended"),
}


def reasons_of_tracked(tracked: TrackedFacts, queue: QueueFacts, now: float) -> Iterator[Reason]:
    """``queue``: the queue that the row names."""
    if tracked.status in ENDS:
        yield _ended(tracked, now)
    elif tracked.status == TaskStatus.RUNNING:
        yield _unreported(tracked, now)
    else:
        yield from _waiting(tracked, queue, now)


def _ended(tracked: TrackedFacts, now: float) -> Reason:
    code, conclusion, what = ENDS[TaskStatus(tracked.status)]
    ago = "" if tracked.finished is None else f" {duration(max(0.0, now - tracked.finished))} ago"
    error = f": {tracked.error}" if tracked.error and conclusion is Conclusion.BLOCKED else ""
    return Reason(code, conclusion, f"{what}{ago}, in run {tracked.attempts}{error}. Its result is no longer kept.")


def _unreported(tracked: TrackedFacts, now: float) -> Reason:
    age = 0.0 if tracked.started is None else max(0.0, now - tracked.started)
    run = f"Run {tracked.attempts} began {duration(age)} ago in {tracked.worker or 'a worker'}"
    if age < HEARTBEAT_SECONDS:
        return Reason("running", Conclusion.FINE, f"{run}.")
    return Reason(
        "lost_worker",
        Conclusion.WAITS,
        f"{run}, and no cluster reports it: its cluster was lost, or the end of the run is not recorded yet."
        " If it was lost, it comes back to the queue when its lease ends.",
    )


def _waiting(tracked: TrackedFacts, queue: QueueFacts, now: float) -> Iterator[Reason]:
    ago = duration(max(0.0, now - tracked.enqueued))
    if not tracked.sent:
        yield Reason(
            "unsent",
            Conclusion.WAITS,
            f"It was enqueued {ago} ago, and its message has not reached the broker.",
            "The scheduler of a cluster sends it; look at the log of the process that has enqueued it.",
        )
        return
    blocked = [each for each in obstacles(queue, now) if each.conclusion is Conclusion.BLOCKED]
    yield from blocked
    if tracked.due is not None and tracked.due > now:
        yield Reason("delayed", Conclusion.WAITS, f"It is delayed, and due in {duration(tracked.due - now)}.")
    elif not queue.unseen:
        yield Reason(
            "message_gone",
            Conclusion.BLOCKED,
            f"It was sent {ago} ago, and its message is not in queue {queue.name!r}: the queue was purged, or the"
            " server has lost it.",
            "Send it again.",
        )
    else:
        yield Reason(
            "sent",
            Conclusion.WAITS,
            f"It was sent to queue {queue.name!r} {ago} ago, and no run of it is recorded. Which messages wait there"
            f" cannot be seen; the queue has {contents(queue)}.",
        )
    yield from (each for each in obstacles(queue, now) if each.conclusion is not Conclusion.BLOCKED)
