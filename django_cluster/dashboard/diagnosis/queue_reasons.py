"""Reasons why the messages of a queue do not run."""

from __future__ import annotations

from collections.abc import Iterator

from django_cluster.dashboard.diagnosis.facts import QueueFacts
from django_cluster.dashboard.diagnosis.reason import Conclusion, Reason
from django_cluster.dashboard.diagnosis.schedule_reasons import obstacles_of_schedule
from django_cluster.dashboard.text import duration


def count_of(number: int) -> str:
    return f"{number} message" if number == 1 else f"{number} messages"


def contents(queue: QueueFacts) -> str:
    """The sizes of a queue in words."""
    return f"{count_of(queue.ready)} ready, {queue.delayed} delayed and {queue.leased} leased"


def reasons_of_queue(queue: QueueFacts, now: float) -> Iterator[Reason]:
    if not queue.known and not queue.total and not queue.problem:
        advice = f"Did you mean the queue {queue.nearest!r}?" if queue.nearest else ""
        text = f"No queue, schedule or task named {queue.name!r} was found."
        yield Reason("unknown_target", Conclusion.UNKNOWN, text, advice)
    blocked = list(obstacles(queue, now))
    parked = [reason for each in queue.schedules for reason in obstacles_of_schedule(each, queue, now)]
    yield from blocked
    if not blocked and queue.ready:
        yield Reason(
            "flows", Conclusion.FINE, f"Queue {queue.name!r} has {count_of(queue.ready)} ready, and free workers."
        )
    elif not blocked and queue.delayed:
        due = "" if queue.first_due is None else f"; the first is due in {duration(max(0.0, queue.first_due - now))}"
        yield Reason(
            "all_delayed",
            Conclusion.WAITS,
            f"Queue {queue.name!r} has {count_of(queue.delayed)}, all of them delayed{due}.",
        )
    elif not blocked:
        what = f"{queue.leased} are leased, and none is ready" if queue.leased else "it is empty"
        yield Reason("empty", Conclusion.FINE, f"Queue {queue.name!r} is not blocked: {what}.")
    yield from parked
    yield from unreadable_messages(queue)


def obstacles(queue: QueueFacts, now: float) -> Iterator[Reason]:
    """Why a ready message of this queue is not leased now."""
    if queue.problem:
        yield Reason("broker_away", Conclusion.BLOCKED, f"Broker unavailable: {queue.problem}", "Start or repair it.")
    if queue.pause is not None:
        by = f" by {queue.pause.by}" if queue.pause.by else ""
        yield Reason(
            "paused",
            Conclusion.BLOCKED,
            f"Queue {queue.name!r} is paused{by}, since {duration(queue.pause.age)}.",
            "Resume it (qmonitor --operate, the admin, control.resume).",
        )
    working = [cluster for cluster in queue.clusters if cluster.workers and cluster.state in ("running", "starting")]
    if not working:
        yield _no_cluster(queue)
    elif not any(cluster.state == "running" for cluster in working):
        yield Reason("starting", Conclusion.WAITS, f"The only cluster of queue {queue.name!r} is still starting.")
    elif queue.workers and all(worker.state != "idle" for worker in queue.workers):
        yield _busy(queue, now)


def _no_cluster(queue: QueueFacts) -> Reason:
    start = f"Start one: manage.py qcluster -n {queue.name}"
    if any(cluster.state == "stopping" for cluster in queue.clusters):
        return Reason("stopping", Conclusion.BLOCKED, f"The only cluster of queue {queue.name!r} is stopping.", start)
    if queue.clusters:
        text = f"The only cluster of queue {queue.name!r} has no worker: it runs with --scheduler-only."
        return Reason("no_workers", Conclusion.BLOCKED, text, start)
    if queue.lost:
        last = max(queue.lost, key=lambda cluster: cluster.published_at)
        text = (
            f"No cluster works on queue {queue.name!r}: the last, {last.host}:{last.pid}, was lost"
            f" {duration(last.age)} ago."
        )
        return Reason("cluster_lost", Conclusion.BLOCKED, text, start)
    if not queue.known:
        return Reason(
            "unknown_queue",
            Conclusion.BLOCKED,
            f"No cluster works on queue {queue.name!r}, and nothing names such a queue.",
            (f"Did you mean {queue.nearest!r}?" if queue.nearest else "It may be misspelt.")
            + f" Otherwise: manage.py qcluster -n {queue.name}",
        )
    return Reason("no_cluster", Conclusion.BLOCKED, f"No cluster works on queue {queue.name!r}.", start)


def _busy(queue: QueueFacts, now: float) -> Reason:
    running = [worker.task for worker in queue.workers if worker.task is not None]
    longest = min(running, key=lambda task: task.started, default=None)
    what = "" if longest is None else f"; the longest, {longest.func}, for {duration(max(0.0, now - longest.started))}"
    return Reason(
        "busy",
        Conclusion.WAITS,
        f"All {len(queue.workers)} workers of queue {queue.name!r} are busy{what}.",
        "Wait, or start more workers or another cluster.",
    )


def unreadable_messages(queue: QueueFacts) -> Iterator[Reason]:
    if queue.unreadable:
        yield Reason(
            "unreadable",
            Conclusion.BLOCKED,
            f"{count_of(queue.unreadable)} in queue {queue.name!r} cannot be read here: signed with another key or for"
            " another namespace (name), or damaged.",
            "Compare SECRET_KEY and name of those who send with those of the cluster.",
        )
