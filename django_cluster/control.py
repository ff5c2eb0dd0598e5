"""What operators do: the same acts for ``qmonitor``, the admin, and programs of your own.

Each act has a permission, which whoever offers it to people has to ask for: ``PERMISSIONS`` names them. ``by`` says
who gave the order; it is shown beside it. All raise ``StoreUnavailable`` or ``BrokerError`` when a server is away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import router
from django.utils import timezone

from django_cluster.brokers import needs_delay_queue
from django_cluster.brokers.base import Broker
from django_cluster.brokers.publisher import delay_queue
from django_cluster.client.client import get_client
from django_cluster.client.retries import retry
from django_cluster.conf import load_settings
from django_cluster.core.queue_names import DELAY_QUEUE_PREFIX, parse_queue_name
from django_cluster.core.renamed_names import refuse
from django_cluster.core.task_ids import new_task_id
from django_cluster.errors import ClusterError
from django_cluster.lifecycle.cancellation import SEARCH_DEPTH, Cancellation, verified_headers
from django_cluster.models import Schedule
from django_cluster.models.schedule_seal import ensure_sealed
from django_cluster.schedules.planning import is_busy, package_for_run
from django_cluster.stores.operator_commands import OperatorCommandStore, QueuePause
from django_cluster.stores.status import ClusterStatus, StatusStore

__all__ = [
    "PERMISSIONS",
    "cancel",
    "cancel_task",
    "clusters",
    "pause",
    "paused",
    "purge",
    "restart_worker",
    "resume",
    "retry",
    "run_now",
    "set_enabled",
]

__getattr__ = refuse(
    __name__,
    {
        "recycle": "restart_worker(cluster_id, incarnation)",
        "switch": "set_enabled(schedules, enabled)",
        "withdraw": "cancel(keys, queue)",
    },
)

PERMISSIONS = {
    "clusters": "django_cluster.view_heartbeat",
    "paused": "django_cluster.view_heartbeat",
    "pause": "django_cluster.pause_queue",
    "resume": "django_cluster.pause_queue",
    "restart_worker": "django_cluster.restart_worker",
    "cancel_task": "django_cluster.cancel_task",
    "cancel": "django_cluster.cancel_task",
    "purge": "django_cluster.cancel_task",
    "retry": "django_cluster.retry_task",
    "run_now": "django_cluster.run_schedule",
    "set_enabled": "django_cluster.enable_schedule",
}
"""Act → the permission of Django that it needs."""


def clusters(*, dead: bool = False) -> list[ClusterStatus]:
    """All running clusters; with ``dead`` also those that died within the last hour without a word."""
    return StatusStore(load_settings().results.database).all(dead=dead)


def pause(queue: str | None = None, *, by: str = "") -> bool:
    """From now on no cluster takes anything from the queue (None: the one that the settings name).

    It holds until ``resume``, also for clusters that are started later; each obeys with its next heartbeat. What
    has been taken is run, and sending goes on. Returns whether the queue was not paused before.
    """
    return _commands().pause(queue or load_settings().queue, by)


def resume(queue: str | None = None) -> bool:
    """Ends a pause; whether there was one."""
    return _commands().resume(queue or load_settings().queue)


def paused() -> list[QueuePause]:
    """The queues that are paused, by whom, and for how long."""
    return _commands().paused()


def restart_worker(cluster_id: str, seat: int, *, by: str = "") -> bool:
    """Have a worker replaced when its present task has ended; whether this was not wanted before.

    ``seat`` as ``ClusterStatus.workers`` names it. Raises ``ClusterError`` if nobody is there.
    """
    status = StatusStore(load_settings().results.database).get(cluster_id)
    if status is None or seat not in {worker.incarnation for worker in status.workers}:
        raise ClusterError("This worker no longer exists.")
    return _commands().restart(cluster_id, seat, by)


def cancel(keys: Sequence[str], queue: str | None = None) -> int:
    """Take waiting messages out of a queue, named by the keys under which its broker shows them.

    Returns how many there were: what has been begun in the meantime stays. A schedule whose run was taken out need
    not wait for it any longer, and a failed task whose retry was taken out is final. Raises ``BrokerRefused`` where
    the broker cannot do it.
    """
    return cancel_in(get_client(queue).broker, keys)


def cancel_in(broker: Broker, keys: Sequence[str]) -> int:
    """The same, where the broker is at hand."""
    return _cancellation(broker).cancel(keys)


def cancel_task(task_id: str, queue: str | None = None) -> bool:
    """Take one waiting task out of its queue, wherever in its first 10,000 messages it is; whether it was there.

    False also for a task that a worker has leased, which runs on. ``queue``: into which it was sent; None = the one
    that the settings name. Raises ``BrokerRefused`` where the broker cannot show its queue or cancel a message.
    """
    client = get_client(queue)
    delayed = [delay_queue(client.broker.settings)] if needs_delay_queue(client.broker.settings) else []
    for broker in (client.broker, *delayed):
        headers = verified_headers(broker.peek(SEARCH_DEPTH), client.codec)
        keys = [message.key for message, header in headers if header.id == task_id and not message.leased]
        if keys and cancel_in(broker, keys):
            return True
    return False


def purge(queue: str | None = None) -> int:
    """Empty a queue, and what is held for it until it is due; returns how many messages there were.

    What runs, runs on, and is not repeated should its worker die. Where the broker can show its queue, schedules whose
    runs are gone need not wait for them any longer.
    """
    broker = get_client(queue).broker
    held = needs_delay_queue(broker.settings)
    room = _cancellation(delay_queue(broker.settings), broker.queue) if held else None
    return _cancellation(broker).purge() + (room.purge() if room is not None else 0)


def _cancellation(broker: Broker, queue: str | None = None) -> Cancellation:
    """``queue``: whose tasks they are, where the broker is its delay queue."""
    settings = load_settings()
    database = settings.results.database or router.db_for_write(Schedule)
    client = get_client(
        queue or (parse_queue_name(broker.queue) if broker.queue.startswith(DELAY_QUEUE_PREFIX) else broker.queue)
    )
    return Cancellation(broker, client.codec, database, client.record_cancelled)


def run_now(schedule: Schedule) -> str:
    """Send the task of a schedule at once, as one run more; returns its id. When it is due stays as it is.

    Raises ``ClusterError`` where runs must not overlap and the last one is unfinished, and whatever is wrong with
    the row.
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
    """Enable or disable schedules, declared ones too; returns how many there were.

    What a schedule missed while it was off is made up for as its ``catch_up`` says.
    """
    rows = list(schedules)
    if not rows:
        return 0
    keys = [row.pk for row in rows]
    return Schedule.objects.using(rows[0]._state.db).filter(pk__in=keys).update(enabled=enabled)


def _commands() -> OperatorCommandStore:
    return OperatorCommandStore(load_settings().results.database)
