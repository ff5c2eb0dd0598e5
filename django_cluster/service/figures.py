"""What the service tells of queues, tasks and clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django_cluster import control
from django_cluster.brokers import needs_delay_queue
from django_cluster.brokers.publisher import delay_queue
from django_cluster.client.client import get_client
from django_cluster.client.results import fetch
from django_cluster.conf import known_queues
from django_cluster.core.messages import OutcomeStatus
from django_cluster.models import Task
from django_cluster.models.task import saved_tasks
from django_cluster.service.rows import database, failed_rows, of_queue, read, since
from django_cluster.stores.status import ClusterStatus, ProcessStatus

DEAD = (OutcomeStatus.DEAD.value, OutcomeStatus.REJECTED.value)


class TaskFigures:
    """The methods of ``TaskService`` that look, and change nothing."""

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
        ready, scheduled = (sum(each) for each in zip(*map(queue_sizes, names), strict=True))
        return {
            "pending": ready,
            "scheduled": scheduled,
            "running": sum(len(worker.tasks) + worker.unlisted for each in serving for worker in each.workers),
            "workers": sum(len(each.workers) for each in serving),
            "failed": self.count_failed_tasks(queue=queue),
            "dead": read(failed_rows(queue).filter(status__in=DEAD).count),
            "paused": set(names) <= paused,
            **throughput_of(serving),
        }

    def count_pending_tasks(self, queue: str | None = None) -> int:
        """How many tasks wait in a queue, or in all: those that are ready, and those that are not due yet."""
        return sum(sum(queue_sizes(name)) for name in ([queue] if queue is not None else self.get_all_queues()))

    def count_completed_tasks(self, hours: float | None = 24, queue: str | None = None) -> int:
        """How many tasks have succeeded in the last hours (None: ever), as far as their rows are kept."""
        rows = since(of_queue(saved_tasks(database()).filter(success=True).order_by(), queue), hours)
        return read(rows.count)

    def count_failed_tasks(self, hours: float | None = None, queue: str | None = None) -> int:
        """How many tasks have failed for good in the last hours (None: ever), and were not retried since."""
        return read(since(failed_rows(queue), hours).count)

    def get_failed_tasks(
        self, queue: str | None = None, hours: float | None = None, limit: int | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """The tasks that ``count_failed_tasks`` counts, newest first, as dicts.

        They have ``message_id`` (the task id), ``name``, ``func``, ``queue``, ``status``, ``error``, ``attempts``,
        ``failed_at``, ``correlation_id``. For a queryset take ``Failure.objects``.
        """
        rows = since(failed_rows(queue), hours).order_by("-stopped_at", "pk")
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
            for row in read(lambda: list(rows.only("id", "correlation_id", *columns)[offset:end]))
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
            for cluster, worker in workers_of(queue)
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
            for cluster, worker in workers_of(None)
            for task in worker.tasks
        ]
        running.sort(key=lambda task: task["started"])
        return running[offset:][:limit]


def queue_sizes(queue: str) -> tuple[int, int]:
    """How many messages of a queue are ready, and how many are not due yet."""
    broker = get_client(queue).broker
    size = broker.size()
    apart = delay_queue(broker.settings).size().total if needs_delay_queue(broker.settings) else 0
    return size.ready, size.delayed + apart


def workers_of(queue: str | None) -> Iterator[tuple[ClusterStatus, ProcessStatus]]:
    for cluster in control.clusters():
        if queue is None or queue in cluster.queues:
            for worker in cluster.workers:
                yield cluster, worker


def throughput_of(clusters: Sequence[ClusterStatus]) -> dict[str, float | None]:
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
