"""Why does a task not run? A pure function from what is known of a task or a queue to reasons, the decisive one first.

``why_facts.py`` asks the servers; ``qinfo --why`` prints. All moments are Unix times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from django_cluster.dashboard.text import duration
from django_cluster.stores.instructions import Pause
from django_cluster.stores.status import ClusterStatus, ProcessStatus

LATE_SECONDS = 60.0
"""A schedule is late when its run has been due for longer."""
CLOCK_SECONDS = 5.0
"""Two clocks disagree when they differ by more."""


class Verdict(IntEnum):
    """What the answer comes to; the number is the exit code of ``qinfo --why``."""

    FINE = 0
    """It has run, it runs, or it is about to run."""
    WAITS = 3
    """It runs by itself when its time has come, or a worker is free."""
    BLOCKED = 4
    """It does not run unless somebody does something."""
    UNKNOWN = 5
    """Nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One answer."""

    code: str
    """A stable word for programs."""
    verdict: Verdict
    sentence: str
    advice: str = ""
    """What to do about it; empty where nothing has to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """How the last run of a task has ended, as its row says."""

    status: str
    final: bool
    attempts: int
    stopped: float
    success: bool
    error: str = ""
    retried_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFacts:
    """The message of a task in its queue."""

    state: str
    """``ready``, ``delayed`` or ``leased``."""
    attempts: int = 0
    due: float | None = None
    """When it becomes ready, or when its lease ends."""
    ahead: int = 0
    """Messages that are taken before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFacts:
    """One schedule, as its row says."""

    name: str
    queue: str
    enabled: bool
    next_run: float | None
    error: str = ""
    busy: bool = False
    """Its last run is unfinished, and its runs must not overlap."""
    task: str = ""
    """Id of the last task that it has sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """A queue, who works on it, and what was to be seen of it."""

    name: str
    broker: str = ""
    known: bool = True
    """Whether the settings, a cluster, a schedule or a pause name it; messages alone may be a slip of the pen."""
    nearest: str = ""
    """The known queue with the most similar name."""
    problem: str = ""
    """Why the broker could not be asked."""
    ready: int = 0
    delayed: int = 0
    leased: int = 0
    first_due: float | None = None
    """When the first of the delayed messages is due, where the broker shows them."""
    unreadable: int = 0
    """Messages among those that were looked at which cannot be read with this project's keys."""
    searched: int = 0
    """How many messages were looked at; -1 = this broker shows none."""
    pause: Pause | None = None
    clusters: tuple[ClusterStatus, ...] = ()
    """Those that live."""
    lost: tuple[ClusterStatus, ...] = ()
    schedules: tuple[ScheduleFacts, ...] = ()

    @property
    def workers(self) -> tuple[ProcessStatus, ...]:
        return tuple(worker for cluster in self.clusters for worker in cluster.workers)

    @property
    def total(self) -> int:
        return self.ready + self.delayed + self.leased

    @property
    def unseen(self) -> str:
        """What could not be looked at, in a sentence."""
        if self.problem:
            return f"The broker of queue {self.name!r} could not be asked."
        if self.searched < 0:
            return f"The broker {self.broker!r} of queue {self.name!r} does not show its messages."
        if self.searched < self.total:
            return f"Of {self.total} messages in queue {self.name!r} only {self.searched} were looked at."
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What is known of one task."""

    id: str
    name: str = ""
    func: str = ""
    row: RowFacts | None = None
    message: MessageFacts | None = None
    cluster: ClusterStatus | None = None
    """The cluster that runs it, or that ran it when it was lost."""
    worker: ProcessStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that was found out about ``target``."""

    target: str
    now: float
    task: TaskFacts | None = None
    """Where the target is a task, or looks like the id of one."""
    schedule: ScheduleFacts | None = None
    """Where the target is a schedule, or the task was its last."""
    queues: tuple[QueueFacts, ...] = ()
    """The queue in question; for a task that was not found, all that were searched."""
    clock_ahead: float = 0.0
    """Seconds by which the clock of this machine is ahead of that of the database."""
    sync: bool = False
    """Whether the settings say that tasks run where they are called."""
    on_commit: bool = True
    keeps_successes: bool = True
    """Whether a success leaves a row at all."""
    problems: tuple[str, ...] = ()
    """Servers that could not be asked, in sentences."""

    @property
    def unseen(self) -> tuple[str, ...]:
        seen = [queue.unseen for queue in self.queues]
        return tuple(dict.fromkeys(text for text in (*self.problems, *seen) if text))


@dataclass(frozen=True, slots=True)
class Answer:
    """What to tell whoever asks."""

    target: str
    reasons: tuple[Reason, ...]
    unseen: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return int(self.reasons[0].verdict)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        reasons = [{**asdict(each), "verdict": each.verdict.name.lower()} for each in self.reasons]
        return {"target": self.target, "exit_code": self.exit_code, "reasons": reasons, "unseen": list(self.unseen)}


def answer(facts: Facts) -> Answer:
    """The reasons, the decisive one first; there is always one."""
    reasons = tuple(_reasons(facts))
    return Answer(facts.target, reasons, facts.unseen)


def _reasons(facts: Facts) -> Iterator[Reason]:
    if facts.task is not None:
        yield from _of_task(facts, facts.task)
    elif facts.schedule is not None:
        yield from _of_schedule(facts.schedule, facts.queues[0], facts.now)
    else:
        yield from _of_queue(facts.queues[0], facts.now)
    if facts.sync:
        yield Reason(
            "sync", Verdict.FINE, "The settings say sync: tasks run where they are called, and wait in no queue."
        )
    if abs(facts.clock_ahead) > CLOCK_SECONDS:
        side = "ahead of" if facts.clock_ahead > 0 else "behind"
        yield Reason(
            "clock",
            Verdict.WAITS,
            f"The clock of this machine is {duration(abs(facts.clock_ahead))} {side} that of the database:"
            " what it delays becomes due that much too late or too early.",
            "Set the clocks by NTP.",
        )


# ── a task ───────────────────────────────────────────────────────────────────────────────────────


def _of_task(facts: Facts, task: TaskFacts) -> Iterator[Reason]:
    if task.row is not None and task.row.final:  # a heartbeat may be older
        yield _ended(task.row, facts.now)
    elif task.worker is not None and task.cluster is not None and task.cluster.alive:
        yield _running(task.cluster, task.worker, facts.now)
    elif task.message is not None:
        yield from _waiting(facts, task, task.message)
    elif task.row is not None:
        yield from _not_queued_again(facts, task.row)
    else:
        yield from _not_found(facts)


def _running(cluster: ClusterStatus, worker: ProcessStatus, now: float) -> Reason:
    running = worker.task
    assert running is not None
    limit = "without a time limit" if running.limit is None else f"of at most {duration(running.limit)}"
    return Reason(
        "running",
        Verdict.FINE,
        f"It runs, for {duration(max(0.0, now - running.started))} {limit}, in {worker.name} (pid {worker.pid}) of"
        f" {cluster.host}.",
    )


def _ended(row: RowFacts, now: float) -> Reason:
    ago, runs = duration(max(0.0, now - row.stopped)), f"run {row.attempts}"
    if row.success:
        return Reason("succeeded", Verdict.FINE, f"It succeeded {ago} ago, in {runs}.")
    if row.retried_as:
        return Reason(
            "retried", Verdict.FINE, f"It was sent again as {row.retried_as}, after it had failed: ask for that."
        )
    if row.status == "discarded":
        return Reason("discarded", Verdict.FINE, f"It asked to be discarded {ago} ago, in {runs}: {row.error}")
    if row.status in ("rejected", "dead"):
        what = (
            "It cannot be run here" if row.status == "rejected" else "It has killed its workers, and is not tried again"
        )
        return Reason(
            row.status,
            Verdict.BLOCKED,
            f"{what}; it was put aside {ago} ago: {row.error}",
            "Mend the cause, then run it again (qmonitor --operate, the admin, control.retry).",
        )
    return Reason(
        "failed",
        Verdict.BLOCKED,
        f"It has run, and failed for good {ago} ago ({row.status}, {runs}): {row.error}",
        "Mend the cause, then run it again (qmonitor --operate, the admin, control.retry).",
    )


def _waiting(facts: Facts, task: TaskFacts, message: MessageFacts) -> Iterator[Reason]:
    queue = facts.queues[0]
    left = max(0.0, (message.due or facts.now) - facts.now)
    if message.state == "delayed":
        in_the_way = list(_in_the_way(queue, facts.now))
        yield from (each for each in in_the_way if each.verdict is Verdict.BLOCKED)
        if task.row is not None:
            text = f"Run {task.row.attempts} failed ({task.row.error}); it is tried again in {duration(left)}."
            yield Reason("retry", Verdict.WAITS, text)
        else:
            yield Reason("delayed", Verdict.WAITS, f"It is delayed, and due in {duration(left)}.")
    elif message.state == "leased":
        yield _leased(queue, task, left)
    else:
        blocked = list(_in_the_way(queue, facts.now))
        yield from blocked
        if not blocked:
            before = f"{_messages(message.ahead)} before it" if message.ahead else "it is the next"
            yield Reason("next", Verdict.FINE, f"It is ready in queue {queue.name!r}, {before}, and workers are free.")
        elif message.ahead:
            yield Reason("ahead", Verdict.WAITS, f"{_messages(message.ahead)} before it in its queue.")


def _leased(queue: QueueFacts, task: TaskFacts, left: float) -> Reason:
    back = f"it comes back to the queue in {duration(left)}, when its lease ends"
    if task.cluster is not None:
        return Reason(
            "lost_worker", Verdict.WAITS, f"Cluster {task.cluster.host}:{task.cluster.pid} ran it and was lost; {back}."
        )
    if queue.clusters:
        hosts = ", ".join(f"{cluster.host}:{cluster.pid}" for cluster in queue.clusters)
        return Reason(
            "leased",
            Verdict.WAITS,
            f"It is leased: a cluster of {hosts} has taken it, and has not begun it, has just ended it, or"
            f" cannot record it; otherwise {back}.",
        )
    return Reason("lease_of_nobody", Verdict.WAITS, f"It was leased by a cluster that is gone; {back}.")


def _not_queued_again(facts: Facts, row: RowFacts) -> Iterator[Reason]:
    if facts.unseen:
        yield Reason(
            "retry_unseen",
            Verdict.WAITS,
            f"Run {row.attempts} failed ({row.error}) and is to be tried again; its message could not be looked for.",
        )
        yield from _in_the_way(facts.queues[0], facts.now)
        return
    yield Reason(
        "message_gone",
        Verdict.BLOCKED,
        f"Run {row.attempts} failed ({row.error}) and was to be tried again, but no message of it is in the queue:"
        " it was taken out, or the queue was emptied.",
        "Run it again (qmonitor --operate, the admin, control.retry).",
    )


def _not_found(facts: Facts) -> Iterator[Reason]:
    names = ", ".join(repr(queue.name) for queue in facts.queues)
    causes = ["the id belongs to another project, namespace or queue", "it was taken out of its queue"]
    if facts.on_commit:
        causes.insert(0, "the transaction that has sent it is still open, or was rolled back")
    causes.append("it is a later link of a chain, or follows a group, and is sent when those before it have ended")
    kept = "has ended, and its row was pruned" if facts.keeps_successes else "has succeeded, and successes are not kept"
    causes.append(f"it {kept}")
    yield Reason(
        "not_found",
        Verdict.UNKNOWN,
        f"There is no row of it, no worker that runs it, and no message in {names}. Either {'; or '.join(causes)}.",
    )
    for queue in facts.queues:
        yield from _unreadable(queue)
        if queue.unseen:
            yield from _in_the_way(queue, facts.now)


# ── a queue ──────────────────────────────────────────────────────────────────────────────────────


def _messages(number: int) -> str:
    return f"{number} message" if number == 1 else f"{number} messages"


def _of_queue(queue: QueueFacts, now: float) -> Iterator[Reason]:
    if not queue.known and not queue.total and not queue.problem:
        advice = f"Did you mean the queue {queue.nearest!r}?" if queue.nearest else ""
        text = f"No queue, schedule or task is called {queue.name!r}, as far as can be seen."
        yield Reason("unknown_target", Verdict.UNKNOWN, text, advice)
    blocked = list(_in_the_way(queue, now))
    parked = [reason for each in queue.schedules for reason in _parked(each, queue, now)]
    yield from blocked
    if not blocked and queue.ready:
        yield Reason(
            "flows", Verdict.FINE, f"Queue {queue.name!r} has {_messages(queue.ready)} ready, and free workers."
        )
    elif not blocked and queue.delayed:
        due = "" if queue.first_due is None else f"; the first is due in {duration(max(0.0, queue.first_due - now))}"
        yield Reason(
            "all_delayed",
            Verdict.WAITS,
            f"Queue {queue.name!r} has {_messages(queue.delayed)}, all of them delayed{due}.",
        )
    elif not blocked:
        what = f"{queue.leased} are leased, and none waits" if queue.leased else "it is empty"
        yield Reason("empty", Verdict.FINE, f"Nothing is in the way of queue {queue.name!r}: {what}.")
    yield from parked
    yield from _unreadable(queue)


def _in_the_way(queue: QueueFacts, now: float) -> Iterator[Reason]:
    """What keeps a ready message of this queue from being taken now."""
    if queue.problem:
        yield Reason("broker_away", Verdict.BLOCKED, f"The broker cannot be used: {queue.problem}", "Start or mend it.")
    if queue.pause is not None:
        by = f" by {queue.pause.by}" if queue.pause.by else ""
        yield Reason(
            "paused",
            Verdict.BLOCKED,
            f"Queue {queue.name!r} is paused{by}, since {duration(queue.pause.age)}.",
            "Resume it (qmonitor --operate, the admin, control.resume).",
        )
    working = [cluster for cluster in queue.clusters if cluster.workers and cluster.state in ("running", "starting")]
    if not working:
        yield _no_cluster(queue)
    elif not any(cluster.state == "running" for cluster in working):
        yield Reason("starting", Verdict.WAITS, f"The only cluster of queue {queue.name!r} is still starting.")
    elif queue.workers and all(worker.state != "idle" for worker in queue.workers):
        yield _busy(queue, now)


def _no_cluster(queue: QueueFacts) -> Reason:
    start = f"Start one: manage.py qcluster -n {queue.name}"
    if any(cluster.state == "stopping" for cluster in queue.clusters):
        return Reason("stopping", Verdict.BLOCKED, f"The only cluster of queue {queue.name!r} stops.", start)
    if queue.clusters:
        text = f"The only cluster of queue {queue.name!r} has no worker: it runs with --scheduler-only."
        return Reason("no_workers", Verdict.BLOCKED, text, start)
    if queue.lost:
        last = max(queue.lost, key=lambda cluster: cluster.published_at)
        text = (
            f"No cluster works on queue {queue.name!r}: the last, {last.host}:{last.pid}, was lost"
            f" {duration(last.age)} ago."
        )
        return Reason("cluster_lost", Verdict.BLOCKED, text, start)
    if not queue.known and queue.nearest:
        return Reason(
            "unknown_queue",
            Verdict.BLOCKED,
            f"No cluster works on queue {queue.name!r}, and nothing names such a queue.",
            f"Did you mean {queue.nearest!r}? Otherwise: manage.py qcluster -n {queue.name}",
        )
    return Reason("no_cluster", Verdict.BLOCKED, f"No cluster works on queue {queue.name!r}.", start)


def _busy(queue: QueueFacts, now: float) -> Reason:
    running = [worker.task for worker in queue.workers if worker.task is not None]
    longest = min(running, key=lambda task: task.started, default=None)
    what = "" if longest is None else f"; the longest, {longest.func}, for {duration(max(0.0, now - longest.started))}"
    return Reason(
        "busy",
        Verdict.WAITS,
        f"All {len(queue.workers)} workers of queue {queue.name!r} are busy{what}.",
        "Wait, or start more workers or another cluster.",
    )


def _unreadable(queue: QueueFacts) -> Iterator[Reason]:
    if queue.unreadable:
        yield Reason(
            "unreadable",
            Verdict.BLOCKED,
            f"{_messages(queue.unreadable)} in queue {queue.name!r} cannot be read here: signed with another key or for"
            " another namespace (name), or damaged.",
            "Compare SECRET_KEY and name of those who send with those of the cluster.",
        )


# ── a schedule ───────────────────────────────────────────────────────────────────────────────────


def _of_schedule(schedule: ScheduleFacts, queue: QueueFacts, now: float) -> Iterator[Reason]:
    parked = list(_parked(schedule, queue, now))
    yield from parked
    if not parked and schedule.next_run is not None:
        left = duration(max(0.0, schedule.next_run - now))
        yield Reason("scheduled", Verdict.WAITS, f"Schedule {schedule.name!r} is due in {left}.")
    if schedule.task:
        yield Reason("last_task", Verdict.FINE, f"The last task that it has sent is {schedule.task}: ask for that.")
    yield from _in_the_way(queue, now)


def _parked(schedule: ScheduleFacts, queue: QueueFacts, now: float) -> Iterator[Reason]:
    """What keeps a schedule from sending its tasks."""
    name = f"Schedule {schedule.name!r}"
    if not schedule.enabled:
        yield Reason("disabled", Verdict.BLOCKED, f"{name} is disabled.", "Enable it in the admin.")
    elif schedule.error:
        text = f"{name} cannot be fired: {schedule.error}"
        yield Reason("schedule_error", Verdict.BLOCKED, text, "Correct the row and save it.")
    elif schedule.next_run is None:
        yield Reason("no_next_run", Verdict.BLOCKED, f"{name} has no next run: it has ended.", "Give it one.")
    elif schedule.busy and schedule.next_run <= now:
        text = f"{name} waits for its last task, {schedule.task}: its runs must not overlap."
        yield Reason("overlap", Verdict.WAITS, text)
    elif now - schedule.next_run > LATE_SECONDS:
        late = duration(now - schedule.next_run)
        scheduling = any(each.role == "scheduler" for cluster in queue.clusters for each in cluster.processes)
        if scheduling:
            yield Reason("late", Verdict.WAITS, f"{name} is late by {late}; the log of the scheduler says why.")
        else:
            text = f"{name} is late by {late}: no cluster of queue {queue.name!r} runs a scheduler."
            advice = f"Start one: manage.py qcluster -n {queue.name} --scheduler-only"
            yield Reason("no_scheduler", Verdict.BLOCKED, text, advice)
