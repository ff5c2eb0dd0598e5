"""Reasons why a task does not run, or how it has ended."""

from __future__ import annotations

from collections.abc import Iterator

from django_cluster.dashboard.diagnosis.facts import Facts, MessageFacts, QueueFacts, RowFacts, TaskFacts
from django_cluster.dashboard.diagnosis.queue_reasons import contents, count_of, obstacles, unreadable_messages
from django_cluster.dashboard.diagnosis.reason import Conclusion, Reason
from django_cluster.dashboard.diagnosis.tracked_reasons import reasons_of_tracked
from django_cluster.dashboard.text import duration
from django_cluster.stores.status import ClusterStatus, ProcessStatus


def reasons_of_task(facts: Facts, task: TaskFacts) -> Iterator[Reason]:
    if task.row is not None and task.row.final:  # a heartbeat may be older
        yield _ended(task.row, facts.now)
    elif task.worker is not None and task.cluster is not None and task.cluster.alive:
        yield _running(task.cluster, task.worker, facts.now)
    elif task.message is not None:
        yield from _waiting(facts, task, task.message)
    elif task.row is not None:
        yield from _not_queued_again(facts, task.row)
    elif task.tracked is not None:
        yield from reasons_of_tracked(task.tracked, facts.queues[0], facts.now)
    else:
        yield from _not_found(facts)


def _running(cluster: ClusterStatus, worker: ProcessStatus, now: float) -> Reason:
    running = worker.task
    assert running is not None
    limit = "without a time limit" if running.limit is None else f"of at most {duration(running.limit)}"
    return Reason(
        "running",
        Conclusion.FINE,
        f"It runs, for {duration(max(0.0, now - running.started))} {limit}, in {worker.name} (pid {worker.pid}) of"
        f" {cluster.host}.",
    )


def _ended(row: RowFacts, now: float) -> Reason:
    ago, runs = duration(max(0.0, now - row.stopped)), f"run {row.attempts}"
    if row.success:
        return Reason("succeeded", Conclusion.FINE, f"It succeeded {ago} ago, in {runs}.")
    if row.retried_as:
        return Reason("retried", Conclusion.FINE, f"It failed, and was retried as {row.retried_as}.")
    if row.status == "discarded":
        return Reason("discarded", Conclusion.FINE, f"It asked to be discarded {ago} ago, in {runs}: {row.error}")
    if row.status == "cancelled":
        return Reason("cancelled", Conclusion.FINE, f"It was cancelled {ago} ago, in {runs}: {row.error}")
    if row.status == "expired":
        return Reason(
            "expired",
            Conclusion.BLOCKED,
            f"It was not run, and its time ended {ago} ago: {row.error}",
            "Give such tasks more workers, or a longer time to expire; retry it if it is still of use.",
        )
    if row.status in ("rejected", "dead"):
        what = (
            "It cannot be run here"
            if row.status == "rejected"
            else "Its workers died repeatedly, and it is not retried"
        )
        return Reason(
            row.status,
            Conclusion.BLOCKED,
            f"{what}; it was {row.status} {ago} ago: {row.error}",
            "Fix the cause, then retry it (qmonitor --operate, the admin, control.retry).",
        )
    return Reason(
        "failed",
        Conclusion.BLOCKED,
        f"It has run, and failed for good {ago} ago ({row.status}, {runs}): {row.error}",
        "Fix the cause, then retry it (qmonitor --operate, the admin, control.retry).",
    )


def _waiting(facts: Facts, task: TaskFacts, message: MessageFacts) -> Iterator[Reason]:
    queue = facts.queues[0]
    left = max(0.0, (message.due or facts.now) - facts.now)
    if task.pause is not None and message.state != "leased":
        by = f" by {task.pause.by}" if task.pause.by else ""
        yield Reason(
            "task_paused",
            Conclusion.BLOCKED,
            f"Its function {task.func} is paused{by}, since {duration(task.pause.age)}.",
            f"Resume it (manage.py qresume --task {task.func}, control.resume_task).",
        )
    if message.state == "delayed":
        in_the_way = list(obstacles(queue, facts.now))
        yield from (each for each in in_the_way if each.conclusion is Conclusion.BLOCKED)
        if task.row is not None:
            text = f"Run {task.row.attempts} failed ({task.row.error}); it is retried in {duration(left)}."
            yield Reason("retry", Conclusion.WAITS, text)
        else:
            yield Reason("delayed", Conclusion.WAITS, f"It is delayed, and due in {duration(left)}.")
    elif message.state == "leased":
        yield _leased(queue, task, left)
    else:
        blocked = list(obstacles(queue, facts.now))
        yield from blocked
        if not blocked:
            before = f"{count_of(message.ahead)} before it" if message.ahead else "it is the next"
            yield Reason(
                "next", Conclusion.FINE, f"It is ready in queue {queue.name!r}, {before}, and workers are free."
            )
        elif message.ahead:
            yield Reason("ahead", Conclusion.WAITS, f"{count_of(message.ahead)} before it in its queue.")


def _leased(queue: QueueFacts, task: TaskFacts, left: float) -> Reason:
    back = f"it comes back to the queue in {duration(left)}, when its lease ends"
    if task.cluster is not None:
        return Reason(
            "lost_worker",
            Conclusion.WAITS,
            f"Cluster {task.cluster.host}:{task.cluster.pid} ran it and was lost; {back}.",
        )
    if queue.clusters:
        hosts = ", ".join(f"{cluster.host}:{cluster.pid}" for cluster in queue.clusters)
        return Reason(
            "leased",
            Conclusion.WAITS,
            f"It is leased: a cluster of {hosts} has taken it, and has not begun it, has just ended it, or"
            f" cannot record it; otherwise {back}.",
        )
    return Reason("abandoned_lease", Conclusion.WAITS, f"It was leased by a cluster that no longer exists; {back}.")


def _not_queued_again(facts: Facts, row: RowFacts) -> Iterator[Reason]:
    if facts.unseen:
        yield Reason(
            "retry_unseen",
            Conclusion.WAITS,
            f"Run {row.attempts} failed ({row.error}) and will be retried; its message could not be searched.",
        )
        yield from obstacles(facts.queues[0], facts.now)
        return
    yield Reason(
        "message_gone",
        Conclusion.BLOCKED,
        f"Run {row.attempts} failed ({row.error}) and was to be retried, but its message is not in the queue:"
        " it was cancelled, or the queue was purged.",
        "Retry it (qmonitor --operate, the admin, control.retry).",
    )


def _not_found(facts: Facts) -> Iterator[Reason]:
    hidden = [queue for queue in facts.queues if queue.unseen]
    names = ", ".join(repr(queue.name) for queue in facts.queues if queue not in hidden)
    causes = ["the id belongs to another project, namespace or queue", "it was cancelled"]
    if facts.on_commit:
        causes.insert(0, "the transaction that has sent it is still open, or was rolled back")
    causes.append("it is a later link of a chain, or follows a group, and is sent when those before it have ended")
    kept = "has ended, and its row was pruned" if facts.keeps_successes else "has succeeded, and successes are not kept"
    causes.append(f"it {kept}")
    if hidden:
        waits = (f"in {queue.name!r}, which has {contents(queue)}" for queue in hidden if not queue.problem)
        causes.insert(0, "; or ".join(["it waits", *waits]).replace("; or ", " ", 1))
    yield Reason(
        "not_found",
        Conclusion.UNKNOWN,
        f"There is no row of it, {'no' if names else 'and no'} worker that runs it"
        f"{f', and no message in {names}' if names else ''}. Either {'; or '.join(causes)}.",
        "Set track_tasks, or the option track: the row of such a task says where it is." if hidden else "",
    )
    for queue in facts.queues:
        yield from unreadable_messages(queue)
    for queue in hidden:
        yield from obstacles(queue, facts.now)
