"""Operate clusters, queues, tasks and schedules: the functions behind ``qmonitor`` and the admin.

No function checks a permission; ``PERMISSIONS`` names the one that a view has to check before it offers a function.
``by`` is shown as the person who gave a command. All raise ``StoreUnavailable`` or ``BrokerError`` if a server is
unavailable.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from django_cluster.brokers import needs_delay_queue
from django_cluster.brokers.base import Broker
from django_cluster.brokers.publisher import delay_queue
from django_cluster.client.cancels import cancellation_in, request_cancel
from django_cluster.client.client import get_client
from django_cluster.client.retries import retry
from django_cluster.composition import Chain, Group
from django_cluster.conf import load_settings
from django_cluster.core.cancel_requests import CancelRequest, CancelResult
from django_cluster.core.import_paths import TaskLike, task_path
from django_cluster.core.renamed_names import refuse
from django_cluster.core.safe_text import require_storable
from django_cluster.core.task_ids import new_task_id
from django_cluster.core.task_progress import TaskProgress
from django_cluster.core.time import LAST_MOMENT, aware
from django_cluster.errors import ClusterError
from django_cluster.models import Schedule
from django_cluster.models.schedule_seal import ensure_sealed
from django_cluster.schedules.planning import is_busy, package_for_run
from django_cluster.stores.operator_commands import MAX_PAUSED_TASKS, OperatorCommandStore, QueuePause, TaskPause
from django_cluster.stores.status import ClusterStatus, StatusStore

__all__ = [
    "PERMISSIONS",
    "CancelResult",
    "cancel",
    "cancel_messages",
    "clusters",
    "pause",
    "pause_task",
    "paused",
    "paused_tasks",
    "progress_of",
    "purge",
    "restart_worker",
    "resume",
    "resume_task",
    "retry",
    "run_now",
    "set_enabled",
]

__getattr__ = refuse(
    __name__,
    {
        "recycle": "restart_worker(cluster_id, incarnation)",
        "switch": "set_enabled(schedules, enabled)",
        "withdraw": "cancel_messages(keys, queue)",
        "cancel_task": "cancel(task_id, queue)",
    },
)

MAX_NAME = 100
MAX_PATH = 256
"""Characters of the dotted path of a function."""
LONGEST_PAUSE = timedelta(days=36525)

PERMISSIONS = {
    "clusters": "django_cluster.view_heartbeat",
    "progress_of": "django_cluster.view_heartbeat",
    "paused": "django_cluster.view_heartbeat",
    "pause": "django_cluster.pause_queue",
    "resume": "django_cluster.pause_queue",
    "paused_tasks": "django_cluster.view_heartbeat",
    "pause_task": "django_cluster.pause_queue",
    "resume_task": "django_cluster.pause_queue",
    "restart_worker": "django_cluster.restart_worker",
    "cancel": "django_cluster.cancel_task",
    "cancel_messages": "django_cluster.cancel_task",
    "purge": "django_cluster.cancel_task",
    "retry": "django_cluster.retry_task",
    "run_now": "django_cluster.run_schedule",
    "set_enabled": "django_cluster.enable_schedule",
}
"""Act → the permission of Django that it needs."""


def clusters(*, dead: bool = False) -> list[ClusterStatus]:
    """Return the running clusters; with ``dead=True`` also those that were lost within the last hour."""
    return StatusStore(load_settings().results.database).all(dead=dead)


def progress_of(task_id: str) -> TaskProgress | None:
    """Return how far a running task was at the last heartbeat of its cluster, as it has said with ``progress``.

    None if it does not run, has just begun, or has said nothing.
    """
    found = next((runner for cluster in clusters() if (runner := cluster.runner_of(task_id))), None)
    return None if found is None else found[1].progress


def pause(queue: str | None = None, *, by: str = "", until: datetime | timedelta | float | None = None) -> bool:
    """Stop all clusters from leasing tasks of a queue; returns False if it was paused already.

    ``queue``: None = the one of the settings. ``until``: when the pause ends by itself, by the clock of the database: a
    datetime, a Unix time, or a timedelta from now; None = when ``resume`` is called. It replaces the end of a pause
    that lasts. Running clusters follow with their next heartbeat, clusters that start later immediately. Leased tasks
    are run, and tasks can still be sent. Raises ``ValueError`` for an end in the past, and for
    what is no name, ``TypeError`` for what is no end.
    """
    name = load_settings().queue if queue is None else require_storable(queue, "The name of a queue")
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"The name of a queue has 1 to {MAX_NAME} characters; this one has {len(name)}.")
    return _commands().pause(name, by, end_of_pause(until))


def resume(queue: str | None = None) -> bool:
    """End the pause of a queue (None: the one of the settings); returns whether it was paused."""
    return _commands().resume(queue or load_settings().queue)


def paused() -> list[QueuePause]:
    """Return the paused queues, with the time since when and the name of who paused them."""
    return _commands().paused()


def pause_task(func: TaskLike, *, by: str = "", until: datetime | timedelta | float | None = None) -> bool:
    """Stop all clusters from running a function; returns False if it was paused already.

    ``func``: a function, a task object, a task of Django's framework, or the dotted path. Its tasks stay in their
    queues, and cost no attempt: a worker that is given one returns it, to come again after 5 seconds (up to 11 minutes,
    where there are thousands of them). Runs that have begun go on. ``until``: as for ``pause``. Raises ``ClusterError``
    if 500 functions are paused already.
    """
    commands, path = _commands(), task_path(func)
    if len(path) > MAX_PATH:
        raise ValueError(f"The path of a function has at most {MAX_PATH} characters; this one has {len(path)}.")
    found = commands.paused_tasks()
    if len(found) >= MAX_PAUSED_TASKS and path not in {each.func for each in found}:
        raise ClusterError(f"{MAX_PAUSED_TASKS} functions are paused; more cannot be.")
    return commands.pause_task(path, by, end_of_pause(until))


def resume_task(func: TaskLike) -> bool:
    """End the pause of a function; returns whether it was paused. Its tasks run when they come again."""
    return _commands().resume_task(task_path(func))


def paused_tasks() -> list[TaskPause]:
    """Return the paused functions, with the time since when, until when, and the name of who paused them."""
    return _commands().paused_tasks()


def end_of_pause(until: datetime | timedelta | float | None) -> timedelta | float | None:
    """Check the end of a pause; a datetime becomes a Unix time."""
    if isinstance(until, datetime):
        until = (aware(until) if until.tzinfo is None else until).timestamp()
    if isinstance(until, bool) or not isinstance(until, int | float | timedelta | None):
        raise TypeError(f"A pause ends at a datetime, a Unix time, or after a timedelta, not {until!r}.")
    if isinstance(until, timedelta) and not timedelta() < until <= LONGEST_PAUSE:
        raise ValueError(f"A pause lasts up to 100 years, and not {until!r}.")
    if isinstance(until, int | float) and not time.time() < until <= LAST_MOMENT:
        raise ValueError(f"A pause ends in the future, before the year 10000, and not at {until!r}.")
    return until


def restart_worker(cluster_id: str, incarnation: int, *, by: str = "") -> bool:
    """Restart a worker after its current task; returns False if that was requested already.

    ``incarnation``: that of one of ``ClusterStatus.workers``. Raises ``ClusterError`` if there is no such
    worker.
    """
    status = StatusStore(load_settings().results.database).get(cluster_id)
    if status is None or incarnation not in {worker.incarnation for worker in status.workers}:
        raise ClusterError("This worker no longer exists.")
    return _commands().restart(cluster_id, incarnation, by)


def cancel(
    target: str | Chain | Group, queue: str | None = None, broker: str | None = None, *, by: str = ""
) -> CancelResult:
    """Cancel a task, or all tasks of a chain or group: waiting ones never run, running ones are stopped.

    ``target``: a task id, a ``Chain`` or ``Group`` that was sent, the id of a group or iter, or a group label. A label
    may be used again: of such, only tasks that were sent before are meant. ``queue``: where the task waits; None = the
    queue of the settings. ``broker``: the option with which it was sent. ``by``: stands in the rows.

    Returns ``CancelResult.CANCELLED`` if it waited and was taken out of its queue, ``TOO_LATE`` (which is false in a
    condition) if it had ended, else ``REQUESTED``: the clusters are told. In a running task ``TaskCancelled`` is raised
    within a second; if it has not ended ``kill_grace`` seconds later, its worker is killed. A task that waits where it
    cannot be found is refused when it is leased, for 14 days. Either has the status ``cancelled`` then, and is not
    retried; its hook is called, and its group counts a failure. A task that ends before keeps its result.

    Inside a transaction, clusters see the request after the commit. Raises ``ClusterError`` if 8,000 requests are
    waiting, ``ValueError`` for a chain that was not sent, and for what is no id.
    """
    return request_cancel(_names_of(target), queue, broker, by)


def _names_of(target: str | Chain | Group) -> tuple[str, ...]:
    """The names by which the tasks are found; the first is the id of the task or composition."""
    if isinstance(target, Chain):
        if not target.ids:
            raise ValueError("The chain was not sent: there is nothing to cancel.")
        return (target.ids[0], target.group)
    name = target.id if isinstance(target, Group) else str(require_storable(target, "A task id or group label"))
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"A task id or group label has 1 to {MAX_NAME} characters; this one has {len(name)}.")
    return (name,)


def cancel_messages(keys: Sequence[str], queue: str | None = None, *, by: str = "") -> int:
    """Delete waiting messages from a queue, so that their tasks never run; returns how many were deleted.

    ``keys``: the keys under which the broker lists them (``Broker.peek``). ``queue``: None = the one of the settings.
    Leased messages are not touched. Their tasks have rows with the status ``cancelled``, and count as failed in chains,
    groups and iters; their hooks are called here. A schedule that must not overlap no longer waits for them. Raises
    ``BrokerRefused`` if the broker cannot delete single messages.
    """
    return cancel_in(get_client(queue).broker, keys, by=by)


def cancel_in(broker: Broker, keys: Sequence[str], *, by: str = "") -> int:
    """Delete waiting messages from the queue of this broker; see ``cancel_messages``."""
    return cancellation_in(broker).cancel(keys, CancelRequest("", by=by))


def purge(queue: str | None = None) -> int:
    """Delete all messages of a queue and of its delay queue; returns how many there were.

    Running tasks continue, and are not run again if their worker dies. ``queue``: None = the one of the settings.
    """
    broker = get_client(queue).broker
    held = needs_delay_queue(broker.settings)
    room = cancellation_in(delay_queue(broker.settings), broker.queue) if held else None
    return cancellation_in(broker).purge() + (room.purge() if room is not None else 0)


def run_now(schedule: Schedule) -> str:
    """Send the task of a schedule immediately, in addition to its planned runs; returns the task id.

    ``next_run`` does not change. Raises ``ClusterError`` if the schedule must not overlap and its last run is
    unfinished, ``BadSignature`` if its row was changed by SQL, and what ``async_task`` raises.
    """
    now = timezone.now()
    ensure_sealed(schedule)
    if is_busy(schedule, now):
        raise ClusterError("Its last run is unfinished, and its runs must not overlap.")
    package = package_for_run(schedule, new_task_id(), now, now).with_options(schedule=None)
    get_client(package.header.options.queue).submit([package], broker=package.header.options.broker, on_commit=False)
    same = Schedule.objects.using(schedule._state.db).filter(pk=schedule.pk, task=schedule.task)
    if not schedule.no_overlap:  # there it names the run that the next one waits for
        same.update(task=package.id)
    return package.id


def set_enabled(schedules: Iterable[Schedule], enabled: bool) -> int:
    """Enable or disable schedules, declared ones included; returns how many rows were updated.

    Runs that a disabled schedule has missed are made up for as its ``catch_up`` says.
    """
    rows = list(schedules)
    if not rows:
        return 0
    keys = [row.pk for row in rows]
    return Schedule.objects.using(rows[0]._state.db).filter(pk__in=keys).update(enabled=enabled)


def _commands() -> OperatorCommandStore:
    return OperatorCommandStore(load_settings().results.database)
