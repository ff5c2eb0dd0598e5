"""``get_task_service()``: queues, tasks and clusters as one object, for code of a project.

Every act goes through the functions behind ``qmonitor`` and the admin (``django_cluster.control``), on every broker.
The service checks no permission: ``control.PERMISSIONS`` names that of each act.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from django_cluster import control
from django_cluster.client.client import get_client
from django_cluster.client.retries import RetryReport, cancel_waiting_retries
from django_cluster.client.retries_in_place import retry_in_place
from django_cluster.conf import load_settings
from django_cluster.core.events.cluster import OPERATOR_ACTED, UNNAMED
from django_cluster.core.import_paths import TaskLike, dotted_path, task_path
from django_cluster.models import Schedule
from django_cluster.models.task import saved_tasks
from django_cluster.schedules.creation import arguments_as_text
from django_cluster.service.figures import TaskFigures
from django_cluster.service.health import health_report
from django_cluster.service.rows import database, failed_rows, read, since
from django_cluster.stores.group_retention import at_work
from django_cluster.stores.pruning import delete_in_batches
from django_cluster.stores.session import results_session
from django_cluster.tasks import schedule

End = datetime | timedelta | float | None
BATCH_SIZE = 500


class TaskService(TaskFigures):
    """Looks at queues, tasks and clusters, and acts on them. Has no state: one object serves all threads.

    ``queue=None`` means all queues, where nothing else is said. ``by`` names the person or program that acts: pauses
    show it, and the log event ``operator_acted`` carries it. All raise ``StoreUnavailable`` or ``BrokerError`` if a
    server is unavailable, but for ``health``.
    """

    def health(self, max_latency: float | None = None) -> dict[str, Any]:
        """Whether the tasks of this project are run: ``{"status": ..., "reasons": [...]}``. Raises nothing.

        ``status``: ``unhealthy`` if tasks cannot run (no workers, a server that does not answer), ``degraded`` if some
        are late or wait for a person (a paused or unserved queue, late schedules, a lost cluster, a median waiting time
        above ``max_latency`` seconds), else ``healthy``. ``reasons``: a sentence each, the worst first.
        """
        return health_report(self.get_all_queues, max_latency)

    # ── failed tasks ─────────────────────────────────────────────────────────────────────────────

    def retry_task(self, task_id: str, *, by: str = "") -> bool:
        """Run a failed task again under its id; its attempts are counted anew, and its row keeps the earlier runs.

        Returns False if there is no such task, it has succeeded, or was retried before and has not run since. Raises
        what ``control.retry`` raises.
        """
        row = read(saved_tasks(database()).filter(pk=task_id).first)
        return row is not None and retry_in_place(row) and _noted("retry_task", task_id, by)

    def retry_failed(
        self, queue: str | None = None, *, hours: float | None = None, limit: int | None = None, by: str = ""
    ) -> RetryReport:
        """``retry_task`` for all tasks that ``count_failed_tasks`` counts, the oldest first.

        One that cannot be retried is an error in the report, and stops no other. ``limit``: at most as many.
        """
        report = RetryReport()
        rows = since(failed_rows(queue), hours).order_by("stopped_at").values_list("pk", flat=True)
        keys = read(lambda: list(rows[:limit]))
        for start in range(0, len(keys), BATCH_SIZE):
            for row in saved_tasks(database()).filter(pk__in=keys[start : start + BATCH_SIZE]).order_by("stopped_at"):
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
        rows = failed_rows(queue, retried=True)
        if older_than is not None:
            age = older_than if isinstance(older_than, timedelta) else timedelta(seconds=older_than)
            rows = rows.filter(stopped_at__lt=timezone.now() - age)
        count = sum(delete_in_batches(results_session(database()), rows.exclude(at_work(database()))))
        _noted("clear_failed_tasks", queue or "all queues", by)
        return count

    def delete_task(self, task_id: str, *, by: str = "") -> bool:
        """Delete the row of a finished task; returns whether there was one. A retry that waits is cancelled first."""
        row = read(saved_tasks(database()).filter(pk=task_id).first)
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
        with transaction.atomic(using=database()):
            row = Schedule.objects.using(database()).select_for_update().filter(name=task_name).first()
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
                row.save(using=database())
            return row


DjangoTasks = TaskService
"""django-cfg's name."""

_SERVICE = TaskService()


def get_task_service() -> TaskService:
    """The service of this project; always the same object."""
    return _SERVICE


def _noted(act: str, target: str, by: str) -> bool:
    OPERATOR_ACTED.log(act=act, target=target, by=by or UNNAMED)
    return True
