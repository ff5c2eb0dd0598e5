"""Collects the facts of a diagnosis from rows, heartbeats and brokers. Servers that do not answer are problems."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.db import Error
from django.db.models import Q
from django.utils import timezone

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import QueuedMessage
from django_cluster.core.settings import Settings
from django_cluster.core.suggestions import closest_match
from django_cluster.core.time import to_unix_time
from django_cluster.dashboard.collector import QUERY_ERRORS, Collector
from django_cluster.dashboard.diagnosis.facts import (
    Facts,
    MessageFacts,
    QueueFacts,
    RowFacts,
    ScheduleRowFacts,
    TaskFacts,
    TrackedFacts,
)
from django_cluster.dashboard.snapshot import QueueView, Snapshot
from django_cluster.database.clock import DatabaseServerClock
from django_cluster.errors import PackageError, StoreUnavailable
from django_cluster.models import Schedule, Task, TrackedTask
from django_cluster.models.task import saved_tasks
from django_cluster.models.tracked_task import tracked_tasks
from django_cluster.stores.session import results_session

SEARCHED = 10_000
"""Number of messages of a queue that are searched for a task, in the order of delivery."""
LOOKED_AT = 200
"""Number of messages of a queue that are read if no task is searched."""
MANY_QUEUES = 100
"""Queues of schedules that are read at most."""
MANY_SCHEDULES = 20
"""Schedules of a queue that are looked at, those that are due first and those with an error."""

IS_ID = re.compile(r"[0-9a-f]{32}").fullmatch
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """The message of the task that was searched."""

    queue: str
    id: str
    name: str
    func: str
    message: MessageFacts


class FactCollector:
    """Collects the facts of one diagnosis. Belongs to one thread, like its collector."""

    def __init__(
        self,
        collector: Collector,
        settings: Settings,
        delay_room: Callable[[str], Broker | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``delay_room``: where messages of a queue wait that its broker cannot delay; None = nowhere else."""
        self._collector, self._settings, self._delay_room, self._clock = collector, settings, delay_room, clock
        self._session = results_session(str(collector.database))
        self._problems: list[str] = []
        self._snapshot = Snapshot()

    def ask(self, target: str) -> Facts:
        """Everything about a task (its id or name), a queue or a schedule; what could not be asked is a problem."""
        self._snapshot = self._collector.collect(("clusters", "queues"))
        self._problems += [text for text in self._snapshot.problems if text not in self._broker_problems()]
        if target in self._known():
            return self._facts(target, queues=(self._queue(target, []),))
        row = self._try(lambda: saved_tasks(self._collector.database).find(target), None)
        if IS_ID(target) or row is not None:
            return self._task(target, row)
        schedule = self._schedule(target)
        found, queues = self._search(target)
        if found is not None:
            return self._task_facts(target, None, found, queues)
        if schedule is not None:
            facts = self._schedule_facts(schedule)
            return self._facts(target, schedule=facts, queues=(self._queue(facts.queue, []),))
        return self._facts(target, queues=(self._queue(target, []),))

    # ── a task ───────────────────────────────────────────────────────────────────────────────────

    def _task(self, target: str, row: Task | None) -> Facts:
        if row is not None and row.final:
            found = None
            queues: tuple[QueueFacts, ...] = (self._queue(row.queue or self._settings.queue, []),)
            return self._task_facts(target, row, found, queues)
        task_id = row.pk if row is not None else target
        tracked = self._try(tracked_tasks(self._collector.database).filter(pk=task_id).first, None)
        home = tracked.queue or self._settings.queue if tracked is not None else None
        found, queues = self._search(task_id, home)
        if row is not None and found is None and row.queue:
            queues = tuple(sorted(queues, key=lambda queue: queue.name != row.queue))
        return self._task_facts(target, row, found, queues, tracked)

    def _task_facts(
        self,
        target: str,
        row: Task | None,
        found: Found | None,
        queues: Sequence[QueueFacts],
        tracked: TrackedTask | None = None,
    ) -> Facts:
        task_id = row.pk if row is not None else found.id if found is not None else target
        cluster, worker = self._runner(task_id)
        known = [each for each in (row, tracked, found) if each is not None]
        func = known[0].func if known else ""
        task = TaskFacts(
            id=task_id,
            name=known[0].name if known else "",
            func=func,
            pause=self._try(lambda: self._collector.paused_task(func), None) if func else None,
            row=_row(row) if row is not None else None,
            tracked=_tracked(tracked, self._settings.queue) if tracked is not None else None,
            message=found.message if found is not None else None,
            cluster=cluster,
            worker=worker,
        )
        if found is not None:
            queues = [queue for queue in queues if queue.name == found.queue]
        return self._facts(target, task=task, queues=tuple(queues))

    def _runner(self, task_id: str) -> tuple[Any, Any]:
        """The cluster and the worker that run it; of a lost cluster, that ran it."""
        for cluster in sorted(self._snapshot.clusters, key=lambda each: not each.alive):
            if runner := cluster.runner_of(task_id):
                worker, task = runner
                return cluster, replace(worker, task=task, others=())
        return None, None

    def _search(self, target: str, queue: str | None = None) -> tuple[Found | None, tuple[QueueFacts, ...]]:
        """The message of this task, by id or name, and the queues that were searched for it: one, or all (None)."""
        queues = []
        for name in self._known() if queue is None else [queue]:
            hits: list[Found] = []
            queues.append(self._queue(name, hits, target))
            if hits:
                return hits[0], tuple(queues)
        return None, tuple(queues)

    # ── a queue ──────────────────────────────────────────────────────────────────────────────────

    def _known(self) -> list[str]:
        return [queue.name for queue in self._snapshot.queues]

    def _named(self) -> set[str]:
        """Queues that the settings, clusters, schedules or pauses name; a message alone may name a misspelt one."""
        snapshot = self._snapshot
        unknown: list[str | None] = []
        by_clusters = (queue for cluster in snapshot.clusters for queue in cluster.queues)
        rows = Schedule.objects.using(self._collector.database).exclude(queue=None).order_by()
        scheduled = rows.values_list("queue", flat=True).distinct()
        names = self._try(lambda: list(scheduled[:MANY_QUEUES]), unknown)
        pauses = (pause.queue for pause in snapshot.pauses)
        return {name for name in (*self._collector.queues, *by_clusters, *pauses, *names) if name}

    def _queue(self, name: str, hits: list[Found], target: str = "") -> QueueFacts:
        """``hits`` is given the message of ``target``, if it is there."""
        view = next((queue for queue in self._snapshot.queues if queue.name == name), None)
        named = self._named()
        if view is None:
            view = self._collector.view_queue(name)
        on_it = [cluster for cluster in self._snapshot.clusters if name in cluster.queues]
        facts = QueueFacts(
            name=name,
            broker=view.broker,
            known=name in named,
            nearest=closest_match(name, named),
            problem=view.problem,
            ready=view.ready,
            delayed=view.delayed,
            leased=view.leased,
            pause=self._snapshot.paused(name),
            clusters=tuple(cluster for cluster in on_it if cluster.alive),
            lost=tuple(cluster for cluster in on_it if not cluster.alive),
            schedules=tuple(map(self._schedule_facts, self._schedules(name))),
        )
        return facts if view.problem else self._with_messages(facts, view, hits, target)

    def _with_messages(self, facts: QueueFacts, view: QueueView, hits: list[Found], target: str) -> QueueFacts:
        broker = self._collector.broker_of(facts.name)
        room = self._delay_room(facts.name)
        if room is not None:
            delayed = self._ask_broker(lambda: room.size().total, 0)
            facts = replace(facts, delayed=facts.delayed + delayed)
        peeks = broker.capabilities.peek
        limit = SEARCHED if target else LOOKED_AT
        messages: list[QueuedMessage] = self._ask_broker(lambda: list(broker.peek(limit)), []) if peeks else []
        if room is not None:
            messages += self._ask_broker(lambda: list(room.peek(limit)), [])
        unreadable, ahead = 0, 0
        for each in messages:
            state = "leased" if each.leased else "ready" if each.due is None else "delayed"
            try:
                header = self._collector.read_label(facts.name, each.payload)
            except PackageError:
                unreadable += 1
                continue
            if target and target in (header.id, header.name):
                message = MessageFacts(state=state, attempts=each.attempts, due=each.due, ahead=ahead)
                hits.append(Found(facts.name, header.id, header.name, header.func, message))
                break
            ahead += state == "ready"
        dues = [each.due for each in messages if each.due is not None and not each.leased]
        searched = len(messages) if peeks else -1
        return replace(facts, unreadable=unreadable, searched=searched, first_due=min(dues, default=None))

    # ── schedules ────────────────────────────────────────────────────────────────────────────────

    def _schedules(self, queue: str) -> list[Schedule]:
        """Schedules of this queue that may explain something: due long ago, with an error, or disabled."""
        mine = Q(queue=queue)
        if queue == self._settings.name:
            mine |= Q(queue__isnull=True) | Q(queue="")
        wrong = Q(enabled=False) | ~Q(last_error="") | Q(next_run__lt=timezone.now())
        rows = Schedule.objects.using(self._collector.database).filter(mine, wrong).exclude(repeats=0)
        rows = rows.order_by("next_run", "pk")
        return self._try(lambda: list(rows[:MANY_SCHEDULES]), [])

    def _schedule(self, name: str) -> Schedule | None:
        rows = Schedule.objects.using(self._collector.database).filter(name=name)
        return self._try(lambda: rows.order_by("pk").first(), None)

    def _schedule_facts(self, row: Schedule) -> ScheduleRowFacts:
        return ScheduleRowFacts(
            name=row.name or row.func,
            queue=row.queue or self._settings.name,
            enabled=row.enabled,
            next_run=None if row.next_run is None else to_unix_time(row.next_run),
            error=row.last_error,
            busy=row.no_overlap and row.busy_since is not None,
            task=row.task or "",
            ended=row.repeats == 0,
        )

    # ── common facts ────────────────────────────────────────────────────────────────────────

    def _facts(self, target: str, **found: Any) -> Facts:
        settings = self._settings
        return Facts(
            target=target,
            now=self._clock(),
            clock_ahead=self._clock_ahead(),
            sync=settings.sync,
            on_commit=bool(settings.on_commit),
            keeps_successes=settings.results.save_limit >= 0,
            problems=tuple(dict.fromkeys(self._problems)),
            **found,
        )

    def _clock_ahead(self) -> float:
        def compare() -> float:
            try:
                there = DatabaseServerClock(str(self._collector.database))()
            except Error as error:
                raise StoreUnavailable(str(error)) from error
            return (timezone.now() - there).total_seconds()

        return self._try(compare, 0.0)

    def _broker_problems(self) -> Iterable[str]:
        return [queue.problem for queue in self._snapshot.queues if queue.problem]

    def _try(self, ask: Callable[[], T], otherwise: T) -> T:
        """The result of a query, or ``otherwise`` and a problem if the database does not answer."""
        return self._ask_broker(lambda: self._session.read(ask), otherwise)

    def _ask_broker(self, ask: Callable[[], T], otherwise: T) -> T:
        try:
            return ask()
        except QUERY_ERRORS as error:
            self._problems.append(str(error))
            return otherwise


def _row(task: Task) -> RowFacts:
    kind = task.error_kind.removeprefix("django_cluster.errors.")
    message = " ".join(task.error_message.split())[:200]
    return RowFacts(
        status=task.status,
        final=task.final,
        attempts=task.attempt_count,
        stopped=to_unix_time(task.stopped_at),
        success=task.success,
        error=": ".join(part for part in (kind, message) if part) or task.status,
        retried_as=task.retried_as or "",
    )


def _tracked(row: TrackedTask, queue: str) -> TrackedFacts:
    workers, errors = row.worker_ids or [], row.errors or []
    return TrackedFacts(
        status=row.status,
        queue=row.queue or queue,
        enqueued=to_unix_time(row.enqueued_at),
        sent=row.payload is None,
        due=None if row.run_after is None else to_unix_time(row.run_after),
        attempts=row.attempt,
        started=None if row.last_attempted_at is None else to_unix_time(row.last_attempted_at),
        worker=str(workers[-1]) if workers else "",
        finished=None if row.finished_at is None else to_unix_time(row.finished_at),
        error=str(errors[-1][0]).removeprefix("django_cluster.errors.") if errors and errors[-1] else "",
    )
