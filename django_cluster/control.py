"""What operators do: the same acts for ``qmonitor``, the admin, and programs of your own.

Each act has a permission, which whoever offers it to people has to ask for: ``PERMISSIONS`` names them. ``by`` says
who gave the order; it is shown beside it. All raise ``StoreUnavailable`` or ``BrokerError`` when a server is away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import router
from django.utils import timezone

from django_cluster.brokers import needs_waiting_room
from django_cluster.brokers.base import Broker
from django_cluster.brokers.limits import waiting_room
from django_cluster.client import get_client
from django_cluster.conf import load_settings
from django_cluster.core.naming import new_task_id
from django_cluster.core.places import WAITING_ROOM, queue_in
from django_cluster.errors import ClusterError
from django_cluster.lifecycle.firing import is_busy, package_of
from django_cluster.lifecycle.withdrawing import Withdrawer
from django_cluster.models import Schedule
from django_cluster.models.schedule_seal import ensure_sealed
from django_cluster.retries import retry
from django_cluster.stores.instructions import InstructionStore, Pause
from django_cluster.stores.status import ClusterStatus, StatusStore

__all__ = [
    "PERMISSIONS",
    "clusters",
    "pause",
    "paused",
    "purge",
    "recycle",
    "resume",
    "retry",
    "run_now",
    "switch",
    "withdraw",
]

PERMISSIONS = {
    "clusters": "django_cluster.view_heartbeat",
    "paused": "django_cluster.view_heartbeat",
    "pause": "django_cluster.pause_queue",
    "resume": "django_cluster.pause_queue",
    "recycle": "django_cluster.recycle_worker",
    "withdraw": "django_cluster.withdraw_task",
    "purge": "django_cluster.withdraw_task",
    "retry": "django_cluster.resubmit_task",
    "run_now": "django_cluster.run_schedule",
    "switch": "django_cluster.enable_schedule",
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
    return _instructions().pause(queue or load_settings().queue, by)


def resume(queue: str | None = None) -> bool:
    """Ends a pause; whether there was one."""
    return _instructions().resume(queue or load_settings().queue)


def paused() -> list[Pause]:
    """The queues that are paused, by whom, and for how long."""
    return _instructions().paused()


def recycle(cluster_id: str, seat: int, *, by: str = "") -> bool:
    """Have a worker replaced when its present task has ended; whether this was not wanted before.

    ``seat`` as ``ClusterStatus.workers`` names it. Raises ``ClusterError`` if nobody is there.
    """
    status = StatusStore(load_settings().results.database).get(cluster_id)
    if status is None or seat not in {worker.seat for worker in status.workers}:
        raise ClusterError("This worker is gone.")
    return _instructions().recycle(cluster_id, seat, by)


def withdraw(keys: Sequence[str], queue: str | None = None) -> int:
    """Take waiting messages out of a queue, named by the keys under which its broker shows them.

    Returns how many there were: what has been begun in the meantime stays. A schedule whose run was taken out need
    not wait for it any longer, and a failed task whose retry was taken out is final. Raises ``BrokerRefused`` where
    the broker cannot do it.
    """
    return withdraw_from(get_client(queue).broker, keys)


def withdraw_from(broker: Broker, keys: Sequence[str]) -> int:
    """The same, where the broker is at hand."""
    return _withdrawer(broker).withdraw(keys)


def purge(queue: str | None = None) -> int:
    """Empty a queue, and what is held for it until it is due; returns how many messages there were.

    What runs, runs on, and is not repeated should its worker die. Where the broker can show its queue, schedules whose
    runs are gone need not wait for them any longer.
    """
    broker = get_client(queue).broker
    held = needs_waiting_room(broker.settings)
    room = _withdrawer(waiting_room(broker.settings), broker.queue) if held else None
    return _withdrawer(broker).purge() + (room.purge() if room is not None else 0)


def _withdrawer(broker: Broker, queue: str | None = None) -> Withdrawer:
    """``queue``: whose tasks they are, where the broker is its waiting room."""
    settings = load_settings()
    database = settings.results.database or router.db_for_write(Schedule)
    client = get_client(queue or (queue_in(broker.queue) if broker.queue.startswith(WAITING_ROOM) else broker.queue))
    return Withdrawer(broker, client.codec, database, client.record_cancelled)


def run_now(schedule: Schedule) -> str:
    """Send the task of a schedule at once, as one run more; returns its id. When it is due stays as it is.

    Raises ``ClusterError`` where runs must not overlap and the last one is unfinished, and whatever is wrong with
    the row.
    """
    now = timezone.now()
    ensure_sealed(schedule)
    if is_busy(schedule, now):
        raise ClusterError("Its last run is unfinished, and its runs must not overlap.")
    package = package_of(schedule, new_task_id(), now, now).with_options(schedule=None)
    get_client(package.header.options.cluster).submit([package], broker=package.header.options.broker, on_commit=False)
    same = Schedule.objects.using(schedule._state.db).filter(pk=schedule.pk, task=schedule.task)
    if not schedule.no_overlap:  # there it names the run that the next one waits for
        same.update(task=package.id)
    return package.id


def switch(schedules: Iterable[Schedule], *, on: bool) -> int:
    """Enable or disable schedules, declared ones too; returns how many there were.

    What a schedule missed while it was off is made up for as its ``catch_up`` says.
    """
    rows = list(schedules)
    if not rows:
        return 0
    keys = [row.pk for row in rows]
    return Schedule.objects.using(rows[0]._state.db).filter(pk__in=keys).update(enabled=on)


def _instructions() -> InstructionStore:
    return InstructionStore(load_settings().results.database)
