"""``get_task_service()``: queues, tasks and clusters as one object, for code of a project.

Every act goes through the functions behind ``qmonitor`` and the admin (``django_cluster.control``), on every broker.
The service checks no permission: ``control.PERMISSIONS`` names that of each act.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from django_cluster import control
from django_cluster.brokers import needs_delay_queue
from django_cluster.brokers.publisher import delay_queue
from django_cluster.client.client import get_client
from django_cluster.client.results import fetch
from django_cluster.client.retries import RetryReport, cancel_waiting_retries
from django_cluster.client.retries_in_place import retry_in_place
from django_cluster.conf import known_queues, load_settings
from django_cluster.core.events.cluster import OPERATOR_ACTED, UNNAMED
from django_cluster.core.import_paths import TaskLike, dotted_path, task_path
from django_cluster.core.messages import OutcomeStatus
from django_cluster.errors import ClusterError
from django_cluster.models import Schedule, Task
from django_cluster.models.task import TaskQuerySet, saved_tasks
from django_cluster.schedules.creation import arguments_as_text
from django_cluster.stores.group_retention import at_work
from django_cluster.stores.pruning import delete_in_batches
from django_cluster.stores.session import results_session
from django_cluster.stores.status import ClusterStatus, ProcessStatus
from django_cluster.tasks import schedule

T = TypeVar("T")
End = datetime | timedelta | float | None
CANCELLED = OutcomeStatus.CANCELLED.value
"""What somebody has cancelled has not failed."""
DEAD = (OutcomeStatus.DEAD.value, OutcomeStatus.REJECTED.value)
BATCH_SIZE = 500
LATE = timedelta(minutes=1)
"""A schedule that is overdue by more than this is late."""


class TaskService:
    """Looks at queues, tasks and clusters, and acts on them. Has no state: one object serves all threads.

    ``queue=None`` means all queues, where nothing else is said. ``by`` names the person or program that acts: pauses
    show it, and the log event ``operator_acted`` carries it. All raise ``StoreUnavailable`` or ``BrokerError`` if a
    server is unavailable, but for ``health``.
    """

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def get_all_queues(self) -> list[str]:
        """The names of the queues of the settings, of running clusters, and those that are paused."""
        names = dict.fromkeys(known_queues())
        names |= dict.fromkeys(queue for cluster in control.clusters() for queue in cluster.queues)
        names |= dict.fromkeys(pause.queue for pause in control.paused())
        return list(names)

    def get_queue_stats(self, queue: str | None = None) -> dict[str, Any]:
        """Figures of one queue, or of all queues together, as a dict.

        ``pending``: tasks that are ready; ``scheduled``: tasks that are not due yet; ``failed``: failed tasks that were
        not retried, ``dead`` of which were rejected or killed workers; ``paused``: whether it is paused, or all are;
        ``workers``, ``running``, ``throughput_per_minute``, ``latency`` (median seconds from sending to start) and
        ``avg_duration_ms`` (median run): of the clusters that work on it, in the last minutes; None = nothing ended.
        """
        names = [queue] if queue is not None else self.get_all_queues()
        serving = [each for each in control.clusters() if set(each.queues) & set(names)]
        paused = {pause.queue for pause in control.paused()}
        ready, scheduled = (sum(each) for each in zip(*map(_sizes, names), strict=True))
        return {
            "pending": ready,
            "scheduled": scheduled,
            "running": sum(len(worker.tasks) + worker.unlisted for each in serving for worker in each.workers),
            "workers": sum(len(each.workers) for each in serving),
            "failed": self.count_failed_tasks(queue=queue),
            "dead": _read(self._failed(queue).filter(status__in=DEAD).count),
            "paused": set(names) <= paused,
            **_throughput(serving),
        }

    def count_pending_tasks(self, queue: str | None = None) -> int:
        """How many tasks wait in a queue, or in all: those that are ready, and those that are not due yet."""
        return sum(sum(_sizes(name)) for name in ([queue] if queue is not None else self.get_all_queues()))

    def count_completed_tasks(self, hours: float | None = 24, queue: str | None = None) -> int:
        """How many tasks have succeeded in the last hours (None: ever), as far as their rows are kept."""
        rows = _since(_of(saved_tasks(_database()).filter(success=True).order_by(), queue), hours)
        return _read(rows.count)

    def count_failed_tasks(self, hours: float | None = None, queue: str | None = None) -> int:
        """How many tasks have failed for good in the last hours (None: ever), and were not retried since."""
        return _read(_since(self._failed(queue), hours).count)

    def get_failed_tasks(
        self, queue: str | None = None, hours: float | None = None, limit: int | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """The tasks that ``count_failed_tasks`` counts, newest first, as dicts.

        They have ``message_id`` (the task id), ``name``, ``func``, ``queue``, ``status``, ``error``, ``attempts``,
        ``failed_at``, ``correlation_id``. For a queryset take ``Failure.objects``.
        """
        rows = _since(self._failed(queue), hours).order_by("-stopped_at", "pk")
        end = None if limit is None else offset + limit
        columns = ("name", "func", "queue", "status", "error_kind", "error_message", "attempt_count", "stopped_at")
        return [
            {
                "message_id": row.id,
                "name": row.name,
                "func": row.func,
                "queue": row.queue,
                "status": row.status,
                "error": ": ".join(part for part in (row.error_kind, row.error_message) if part),
                "attempts": row.attempt_count,
                "failed_at": row.stopped_at,
                "correlation_id": row.correlation_id,
            }
            for row in _read(lambda: list(rows.only("id", "correlation_id", *columns)[offset:end]))
        ]

    def get_task_by_id(self, task_id: str) -> Task | None:
        """The row of a finished task, by its id or name; None while there is none."""
        return fetch(task_id)

    def get_worker_stats(self, queue: str | None = None) -> list[dict[str, Any]]:
        """A dict for each worker of the running clusters.

        ``cluster`` (id), ``host``, ``queues``, ``name``, ``pid``, ``state`` (``idle``, ``busy``, …), ``done`` (tasks),
        ``rss`` (kB), ``cpu`` (percent), ``task`` (id of the running task, or None).
        """
        return [
            {
                "cluster": cluster.id,
                "host": cluster.host,
                "queues": list(cluster.queues),
                "name": worker.name,
                "pid": worker.pid,
                "state": worker.state,
                "done": worker.done,
                "rss": worker.rss,
                "cpu": worker.cpu,
                "task": worker.task.id if worker.task else None,
            }
            for cluster, worker in _workers(queue)
        ]

    def get_running_tasks(self, limit: int | None = None, offset: int = 0) -> list[dict[str, Any]]:
        """A dict for each task that ran at the last heartbeat of its cluster, the one that runs longest first.

        ``message_id``, ``name``, ``func``, ``started`` (Unix time), ``limit`` (seconds, or None), ``worker``, ``host``,
        ``cluster`` (id).
        """
        running: list[dict[str, Any]] = [
            {
                "message_id": task.id,
                "name": task.name,
                "func": task.func,
                "started": task.started,
                "limit": task.limit,
                "worker": worker.name,
                "host": cluster.host,
                "cluster": cluster.id,
            }
            for cluster, worker in _workers(None)
            for task in worker.tasks
        ]
        running.sort(key=lambda task: task["started"])
        return running[offset:][:limit]

    def health(self, max_latency: float | None = None) -> dict[str, Any]:
        """Whether the tasks of this project are run: ``{"status": ..., "reasons": [...]}``. Raises nothing.

        ``status``: ``unhealthy`` if tasks cannot run (no workers, a server that does not answer), ``degraded`` if some
        are late or wait for a person (a paused or unserved queue, late schedules, a lost cluster, a median waiting time
        above ``max_latency`` seconds), else ``healthy``. ``reasons``: a sentence each, the worst first.
        """
        try:
            bad, poor = self._look_at_clusters(max_latency)
        except ClusterError as error:
            bad, poor = [str(error)], []
        status = "unhealthy" if bad else "degraded" if poor else "healthy"
        return {"status": status, "reasons": [*bad, *poor]}

    def _look_at_clusters(self, max_latency: float | None) -> tuple[list[str], list[str]]:
        seen = control.clusters(dead=True)
        alive = [each for each in seen if each.alive]
        paused = {pause.queue for pause in control.paused()}
        bad = [] if any(each.workers for each in alive) else ["No worker is running."]
        poor = [f"Queue {name} is paused." for name in sorted(paused)]
        poor += [f"A cluster on {each.host} was lost {each.age:.0f} s ago." for each in seen if not each.alive]
        for name in self.get_all_queues():
            try:
                waits = sum(_sizes(name))
            except ClusterError as error:
                bad.append(f"Queue {name}: {error}")
                continue
            if waits and alive and not any(name in each.queues for each in alive):
                poor.append(f"{waits} tasks wait in queue {name}, on which no cluster works.")
        latency = _throughput(alive)["latency"]
        if max_latency is not None and latency is not None and latency > max_latency:
            poor.append(f"Tasks wait for {latency:.1f} s.")
        late = Schedule.objects.using(_database()).filter(
            enabled=True, next_run__lt=timezone.now() - LATE, last_error=""
        )
        if count := late.exclude(repeats=0).count():
            poor.append(f"{count} schedules are late.")
        return bad, poor

    # ── failed tasks ─────────────────────────────────────────────────────────────────────────────

    def retry_task(self, task_id: str, *, by: str = "") -> bool:
        """Run a failed task again under its id; its attempts are counted anew, and its row keeps the earlier runs.

        Returns False if there is no such task, it has succeeded, or was retried before and has not run since. Raises
        what ``control.retry`` raises.
        """
        row = _read(saved_tasks(_database()).filter(pk=task_id).first)
        return row is not None and retry_in_place(row) and _noted("retry_task", task_id, by)

    def retry_failed(
        self, queue: str | None = None, *, hours: float | None = None, limit: int | None = None, by: str = ""
    ) -> RetryReport:
        """``retry_task`` for all tasks that ``count_failed_tasks`` counts, the oldest first.

        One that cannot be retried is an error in the report, and stops no other. ``limit``: at most as many.
        """
        report = RetryReport()
        rows = _since(self._failed(queue), hours).order_by("stopped_at").values_list("pk", flat=True)
        keys = _read(lambda: list(rows[:limit]))
        for start in range(0, len(keys), BATCH_SIZE):
            for row in saved_tasks(_database()).filter(pk__in=keys[start : start + BATCH_SIZE]).order_by("stopped_at"):
                try:
                    sent = retry_in_place(row)
                except Exception as error:  # noqa: BLE001  in sync mode the task itself runs here
                    report.errors.append(f"{row}: {error}")
                else:
                    report.sent += sent
                    report.retried_before += not sent
        _noted("retry_failed", queue or "all queues", by)
        return report

    def clear_failed_tasks(
        self, queue: str | None = None, *, older_than: timedelta | float | None = None, by: str = ""
    ) -> int:
        """Delete the rows of tasks that have failed for good; returns how many there were.

        ``older_than``: only those that ended so long ago: a timedelta, or seconds. Tasks that will be retried stay, and
        so do those of a group that is still at work.
        """
        rows = self._failed(queue, retried=True)
        if older_than is not None:
            age = older_than if isinstance(older_than, timedelta) else timedelta(seconds=older_than)
            rows = rows.filter(stopped_at__lt=timezone.now() - age)
        count = sum(delete_in_batches(results_session(_database()), rows.exclude(at_work(_database()))))
        _noted("clear_failed_tasks", queue or "all queues", by)
        return count

    def delete_task(self, task_id: str, *, by: str = "") -> bool:
        """Delete the row of a finished task; returns whether there was one. A retry that waits is cancelled first."""
        row = _read(saved_tasks(_database()).filter(pk=task_id).first)
        if row is not None and not row.final:
            cancel_waiting_retries([row])
        return get_client().results.delete(task_id) and _noted("delete_task", task_id, by)

    def cancel_task(self, task_id: str, queue: str | None = None, *, by: str = "") -> control.CancelResult:
        """Cancel a task, or a group by its id or label, whether it waits or runs; see ``control.cancel``.

        The result is false in a condition if it had ended.
        """
        result = control.cancel(task_id, queue, by=by)
        if result:
            _noted("cancel_task", task_id, by)
        return result

    @staticmethod
    def _failed(queue: str | None, *, retried: bool = False) -> TaskQuerySet:
        rows = _of(
            saved_tasks(_database()).filter(success=False, final=True).exclude(status=CANCELLED).order_by(), queue
        )
        return rows if retried else rows.filter(retried_as=None).exclude(attempt_count=0)

    # ── pauses ───────────────────────────────────────────────────────────────────────────────────

    def pause_queue(self, queue: str | None = None, until: End = None, *, by: str = "") -> bool:
        """Let no cluster take anything from a queue (None: the one of the settings); False if it was paused already.

        ``until``: when the pause ends by itself, by the clock of the database; see ``control.pause``.
        """
        new = control.pause(queue, by=by, until=until)
        return _noted("pause_queue", queue or load_settings().queue, by) and new

    def resume_queue(self, queue: str | None = None, *, by: str = "") -> bool:
        """End the pause of a queue (None: the one of the settings); returns whether it was paused."""
        return control.resume(queue) and _noted("resume_queue", queue or load_settings().queue, by)

    def pause_task(self, func: TaskLike, until: End = None, *, by: str = "") -> bool:
        """Let no cluster run a function; False if it was paused already. See ``control.pause_task``."""
        new = control.pause_task(func, by=by, until=until)
        return _noted("pause_task", task_path(func), by) and new

    def resume_task(self, func: TaskLike, *, by: str = "") -> bool:
        """End the pause of a function; returns whether it was paused."""
        return control.resume_task(func) and _noted("resume_task", task_path(func), by)

    # ── schedules ────────────────────────────────────────────────────────────────────────────────

    def schedule_periodic_task(
        self,
        task_name: str,
        task_function: Callable[..., Any] | str,
        interval_seconds: float,
        *args: Any,
        **kwargs: Any,
    ) -> Schedule:
        """Have a function called again and again; returns the row of the schedule.

        ``task_name``: the name of the schedule. One of this name gets the function, the interval and the arguments, so
        that the call may stand where a program starts; its next run stays unless the interval has changed.
        ``interval_seconds``: a multiple of 60. ``args``, ``kwargs``: as for ``django_cluster.schedule``. Raises
        ``ValueError`` for another interval, and what ``schedule`` raises.
        """
        minutes, rest = divmod(interval_seconds, 60)
        if rest or minutes < 1:
            raise ValueError(f"The interval of a schedule is a multiple of 60 seconds, not {interval_seconds!r}.")
        with transaction.atomic(using=_database()):
            row = Schedule.objects.using(_database()).select_for_update().filter(name=task_name).first()
            if row is None:
                rule = {"schedule_type": Schedule.MINUTES, "minutes": int(minutes)}
                return schedule(task_function, *args, name=task_name, **rule, **kwargs)
            own, texts = arguments_as_text(args, kwargs)
            rule = {"schedule_type": Schedule.MINUTES, "minutes": int(minutes), "cron": None}
            wanted = {"func": dotted_path(task_function), **rule, **own, **texts}
            changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
            for name, value in changed.items():
                setattr(row, name, value)
            if changed:
                row.save(using=_database())
            return row


DjangoTasks = TaskService
"""django-cfg's name."""

_SERVICE = TaskService()


def get_task_service() -> TaskService:
    """The service of this project; always the same object."""
    return _SERVICE


def _database() -> str:
    return str(get_client().results.database)


def _read(query: Callable[[], T]) -> T:
    """The answer of the database of the results. Raises ``StoreUnavailable``."""
    return results_session(_database()).read(query)


def _sizes(queue: str) -> tuple[int, int]:
    """How many messages of a queue are ready, and how many are not due yet."""
    broker = get_client(queue).broker
    size = broker.size()
    apart = delay_queue(broker.settings).size().total if needs_delay_queue(broker.settings) else 0
    return size.ready, size.delayed + apart


def _workers(queue: str | None) -> Iterator[tuple[ClusterStatus, ProcessStatus]]:
    for cluster in control.clusters():
        if queue is None or queue in cluster.queues:
            for worker in cluster.workers:
                yield cluster, worker


def _throughput(clusters: Sequence[ClusterStatus]) -> dict[str, float | None]:
    """Means over the last minutes, weighted by the number of tasks."""
    parts = [(each.throughput.step, part) for each in clusters for part in each.throughput.slices]
    done = sum(part.done + part.failed for _, part in parts)
    numbers = [part.number for _, part in parts]
    minutes = (max(numbers) - min(numbers) + 1) * parts[0][0] / 60 if parts else 1
    if not done:
        return {"throughput_per_minute": 0.0, "latency": None, "avg_duration_ms": None}
    waits = sum(part.wait_median * (part.done + part.failed) for _, part in parts) / done
    runs = sum(part.run_median * (part.done + part.failed) for _, part in parts) / done
    return {
        "throughput_per_minute": round(done / minutes, 2),
        "latency": round(waits, 3),
        "avg_duration_ms": round(runs * 1000, 1),
    }


def _of(rows: TaskQuerySet, queue: str | None) -> TaskQuerySet:
    return rows if queue is None else rows.filter(queue=queue)


def _since(rows: TaskQuerySet, hours: float | None) -> TaskQuerySet:
    return rows if hours is None else rows.filter(stopped_at__gte=timezone.now() - timedelta(hours=hours))


def _noted(act: str, target: str, by: str) -> bool:
    OPERATOR_ACTED.log(act=act, target=target, by=by or UNNAMED)
    return True
