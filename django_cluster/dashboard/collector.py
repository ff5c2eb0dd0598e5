"""Collects a ``Snapshot`` from clusters, brokers and rows, by a bounded number of bounded queries.

A server that does not answer is a problem in the snapshot, not an exception, and its older data is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Q, QuerySet
from django.utils import timezone

from django_cluster.brokers.base import MAX_QUEUE_NAMES, Broker
from django_cluster.brokers.messages import QueuedMessage
from django_cluster.core.messages import TaskHeader
from django_cluster.core.redaction import redactor
from django_cluster.core.time import to_unix_time
from django_cluster.dashboard.post_mortem import MAX_SAME_KIND, NO_POST_MORTEM, facts_of, variable_lines
from django_cluster.dashboard.row_search import condition
from django_cluster.dashboard.snapshot import Detail, QueueView, ScheduleView, Snapshot, TaskView, Totals
from django_cluster.dashboard.state_labels import LATE_SECONDS
from django_cluster.errors import ClusterError, PackageError
from django_cluster.models import Schedule, Task
from django_cluster.models.task import saved_tasks
from django_cluster.schedules.declarations import discover
from django_cluster.stores.operator_commands import OperatorCommandStore, TaskPause
from django_cluster.stores.session import results_session
from django_cluster.stores.status import StatusStore

MAX_ROWS = 200
"""Largest number of rows of one kind that are read."""
MAX_COUNTED = 100_000
"""Upper limit of all counts."""
PARTS = ("clusters", "queues", "waiting", "ended", "failures", "schedules", "totals")
QUERY_ERRORS = (ClusterError, ImproperlyConfigured)
"""Errors of unavailable servers, and of brokers whose library is not installed."""
OUR_ERRORS = "django_cluster.errors."
MAX_TEXT = 2000
"""Largest number of characters of a value that are shown."""
UNREADABLE = "(cannot be read: {})"
COLUMNS = (
    "id", "name", "func", "queue", "status", "attempt_count", "enqueued_at", "started_at", "stopped_at",
    "error_kind", "error_message", "final", "group", "worker",
)  # fmt: skip


@dataclass
class Collector:
    """Collects snapshots. Belongs to one thread, like its connections."""

    label: str
    queues: Sequence[str]
    """Queues of the settings; those of clusters, pauses, schedules and brokers are added."""
    open_broker: Callable[[str], Broker]
    """The broker of a queue."""
    read_label: Callable[[str, str], TaskHeader]
    """``read_label(queue, payload)``: the header of a message. Raises ``PackageError``."""
    database: str | None = None
    """Alias of the rows; None asks the router."""
    clock: Callable[[], float] = time.time
    _brokers: dict[str, Broker] = field(default_factory=dict)
    _wanted: Q | None = None

    def __post_init__(self) -> None:
        self.database = self.database or router.db_for_write(Task)
        self._session = results_session(self.database)
        self._statuses, self._commands = StatusStore(self.database), OperatorCommandStore(self.database)

    def collect(self, parts: Iterable[str] = PARTS, before: Snapshot | None = None, query: str = "") -> Snapshot:
        """Refresh these parts of a snapshot.

        ``query``: the filter; matching rows are searched among the newest ``MAX_COUNTED``.
        """
        before = before or Snapshot(label=self.label)
        self._wanted = condition(query)
        seen: dict[str, Any] = {"taken_at": self.clock(), "label": self.label}
        problems: list[str] = []
        part_times = dict(before.part_times)
        for part in parts:
            try:
                seen |= getattr(self, f"_{part}")(replace(before, **seen))
                part_times[part] = seen["taken_at"]
            except QUERY_ERRORS as error:
                if (problem := redactor().text(str(error))) not in problems:
                    problems.append(problem)
        problems += [queue.problem for queue in seen.get("queues", ()) if queue.problem]
        return replace(before, **seen, problems=tuple(dict.fromkeys(problems)), part_times=part_times)

    def close(self) -> None:
        for broker in self._brokers.values():
            with suppress(ClusterError):
                broker.close()

    # ── clusters and queues ──────────────────────────────────────────────────────────────────────

    def _clusters(self, _: Snapshot) -> dict[str, Any]:
        """Two queries."""
        return {"clusters": tuple(self._statuses.all(dead=True)), "pauses": tuple(self._commands.paused())}

    def paused_task(self, func: str) -> TaskPause | None:
        """The pause of the function of this dotted path; None if it is not paused. Raises ``StoreUnavailable``."""
        return next((pause for pause in self._commands.paused_tasks() if pause.func == func), None)

    def _queues(self, known: Snapshot) -> dict[str, Any]:
        """One question a queue, and three to learn which there are. A broker that is away hides its own queues only."""
        names = dict.fromkeys(self.queues)
        names |= dict.fromkeys(queue for each in known.clusters for queue in each.queues)  # of lost ones, too
        names |= dict.fromkeys(pause.queue for pause in known.pauses)
        names |= dict.fromkeys(self._scheduled())
        for queue in self.queues:
            with suppress(*QUERY_ERRORS):  # said by the question about the queue itself
                names |= dict.fromkeys(self.broker_of(queue).queue_names())
        return {"queues": tuple(self.view_queue(name) for name in list(names)[:MAX_QUEUE_NAMES])}

    def _scheduled(self) -> list[str]:
        """Queues that schedules send to."""
        rows = Schedule.objects.using(self.database).exclude(queue=None).order_by()
        names = rows.values_list("queue", flat=True).distinct()[:MAX_QUEUE_NAMES]
        return self._session.read(lambda: [name for name in names if name])

    def view_queue(self, name: str) -> QueueView:
        """The size of a queue; an unavailable broker is a problem in the view."""
        kind = ""
        try:
            broker = self.broker_of(name)
            kind = broker.settings.kind
            size = broker.size()
        except QUERY_ERRORS as error:
            return QueueView(name=name, broker=kind, problem=redactor().text(str(error)))
        return QueueView(name=name, broker=kind, ready=size.ready, delayed=size.delayed, leased=size.leased)

    def _waiting(self, known: Snapshot) -> dict[str, Any]:
        """One question a queue."""
        waiting: list[TaskView] = []
        for name in [queue.name for queue in known.queues if not queue.problem] or self.queues:
            broker = self.broker_of(name)
            if broker.capabilities.peek:
                waiting += [self._waits(name, each) for each in broker.peek(MAX_ROWS)]
        return {"waiting": tuple(waiting)}

    def broker_of(self, queue: str) -> Broker:
        """The broker of a queue, opened once."""
        if queue not in self._brokers:
            self._brokers[queue] = self.open_broker(queue)
        return self._brokers[queue]

    def _waits(self, queue: str, each: QueuedMessage) -> TaskView:
        state = "leased" if each.leased else "ready" if each.due is None else "delayed"
        common: dict[str, Any] = {
            "queue": queue, "state": state, "attempts": each.attempts, "due": each.due, "key": each.key,
        }  # fmt: skip
        try:
            header = self.read_label(queue, each.payload)
        except PackageError as error:
            return TaskView(id="", name="(cannot be read)", func="", moment=0.0, error=str(error), **common)
        group = header.options.group or ""
        return TaskView(
            id=header.id, name=header.name, func=header.func, moment=header.enqueued_at, group=group, **common
        )

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────

    def _ended(self, _: Snapshot) -> dict[str, Any]:
        """One query for the successes and one for the others: each reads the end of an index."""
        return {"ended": self._newest(success=True)}

    def _failures(self, _: Snapshot) -> dict[str, Any]:
        return {"failures": self._newest(success=False)}

    def _newest(self, **conditions: Any) -> tuple[TaskView, ...]:
        rows = saved_tasks(self.database).filter(**conditions).order_by("-stopped_at")
        found = self._session.read(lambda: list(rows.values_list(*COLUMNS)[:MAX_ROWS]))
        if self._wanted is not None and len(found) == MAX_ROWS:
            found += self._session.read(lambda: self._matching(rows))
        return tuple(_ended(row) for row in dict.fromkeys(found))

    def _matching(self, rows: QuerySet[Task]) -> list[tuple[Any, ...]]:
        """The newest matching rows, by two queries that read at most ``MAX_COUNTED`` rows."""
        beyond = list(rows.values_list("stopped_at", flat=True)[MAX_COUNTED : MAX_COUNTED + 1])
        near = rows.filter(stopped_at__gt=beyond[0]) if beyond else rows
        return list(near.filter(self._wanted).values_list(*COLUMNS)[:MAX_ROWS])

    def _schedules(self, _: Snapshot) -> dict[str, Any]:
        rows = Schedule.objects.using(self.database).order_by("next_run", "pk")[:MAX_ROWS]
        return {"schedules": tuple(_schedule(row) for row in self._session.read(lambda: list(rows)))}

    def _totals(self, _: Snapshot) -> dict[str, Any]:
        """Four queries, none of which reads more than ``MAX_COUNTED`` entries."""
        tasks, schedules = saved_tasks(self.database).order_by(), Schedule.objects.using(self.database).order_by()
        overdue = timezone.now() - timedelta(seconds=LATE_SECONDS)
        late = schedules.filter(enabled=True, next_run__lt=overdue, last_error="").exclude(repeats=0)
        counts = self._session.read(
            lambda: [
                rows.values("pk")[:MAX_COUNTED].count()
                for rows in (tasks.filter(success=True), tasks.filter(success=False), schedules, late)
            ]
        )
        names = ("successes", "failures", "schedules", "late")
        return {"totals": Totals(**dict(zip(names, counts, strict=True)), limit=MAX_COUNTED)}

    def detail(self, task_id: str) -> Detail | None:
        """The details of a finished task; None if it has no row. Raises ``StoreUnavailable``."""
        task = self._session.read(lambda: saved_tasks(self.database).filter(pk=task_id).first())
        return _detail(task) if task is not None else None


def _ended(row: tuple[Any, ...]) -> TaskView:
    id, name, func, cluster, status, attempts, enqueued, started, stopped, kind, message, final, group, worker = row
    return TaskView(
        id=id,
        name=name,
        func=func,
        queue=cluster or "",
        state=status,
        attempts=attempts,
        moment=to_unix_time(stopped),
        wait=max(0.0, (started - enqueued).total_seconds()),
        run=max(0.0, (stopped - started).total_seconds()),
        error=_error(kind, message),
        final=final,
        group=group or "",
        worker=worker,
    )


def _schedule(row: Schedule) -> ScheduleView:
    rule = str(row.get_schedule_type_display())
    if row.cron:
        rule = row.cron
    elif row.minutes and row.schedule_type == Schedule.MINUTES:
        rule = f"every {row.minutes} min"
    return ScheduleView(
        id=row.pk,
        name=row.name or "",
        func=row.func,
        rule=rule,
        queue=row.queue or "",
        next_run=to_unix_time(row.next_run) if row.next_run else None,
        repeats=row.repeats,
        enabled=row.enabled,
        task=row.task or "",
        error=redactor().text(row.last_error),
    )


def _detail(task: Task) -> Detail:
    facts = [
        ("Task", f"{task.name} ({task.id})"),
        ("Function", task.func),
        ("Arguments", _arguments(task)),
        ("Status", task.status + ("" if task.final else ", will be tried again")),
        ("Result", _result(task) if task.success else ""),
        ("Attempt", str(task.attempt_count)),
        ("Queue", task.queue or ""),
        ("Group", task.group or ""),
        ("Worker", task.worker),
        ("Enqueued", _moment(task.enqueued_at)),
        ("Started", _moment(task.started_at)),
        ("Stopped", _moment(task.stopped_at)),
        ("Error", _error(task.error_kind, task.error_message)),
    ]
    found = task.post_mortem or NO_POST_MORTEM
    facts += [(name.capitalize(), value) for name, value in facts_of(found)]
    if task.fingerprint:
        facts.append(("Same kind", _same_kind(task)))
    attempts = [
        redactor().text(
            f"run {each.get('number')}: {each.get('status')} {each.get('kind', '')}: {each.get('message', '')}"
        )
        for each in task.attempts or ()
    ]
    shown = tuple((name, value) for name, value in facts if value)
    traceback = redactor().traceback(task.error_traceback)
    return Detail(
        title=task.name,
        facts=shown,
        traceback=traceback,
        attempts=tuple(attempts),
        variables=tuple(redactor().text(each) for each in variable_lines(found)),
        log_lines=tuple(redactor().text(each) for each in found.log_lines),
    )


def _same_kind(task: Task) -> str:
    """How many rows of failures have the same fingerprint, this one included."""
    number = task.same_kind()[:MAX_SAME_KIND].count()
    return f"{number}{'+' if number == MAX_SAME_KIND else ''} failures, this one included"


def _error(kind: str, message: str) -> str:
    """Class and message of an error, without credentials; the package name of own errors is left out."""
    return ": ".join(part for part in (kind.removeprefix(OUR_ERRORS), redactor().text(message)) if part)


def _result(task: Task) -> str:
    """The result of a task, unpickled because a user asked for it."""
    try:
        return "" if task.result is None else repr(redactor().value(task.result))[:MAX_TEXT]
    except Exception as error:  # noqa: BLE001  a class of the user's may do anything when it is unpickled or shown
        return UNREADABLE.format(type(error).__name__)


def _arguments(task: Task) -> str:
    """The arguments as they would be written in a call, without credentials."""
    discover()  # the names of parameters are known of functions that are imported
    try:
        parts = [repr(each) for each in redactor().args(task.func, task.args)]
        parts += [f"{name}={value!r}" for name, value in redactor().kwargs(task.kwargs).items()]
    except Exception as error:  # noqa: BLE001  a class of the user's may do anything when it is unpickled or shown
        return UNREADABLE.format(type(error).__name__)
    return f"({', '.join(parts)})"[:MAX_TEXT]


def _moment(moment: Any) -> str:
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return str(local.strftime("%Y-%m-%d %H:%M:%S"))
