"""Django-Q's status API: ``Stat`` and ``Status``, over what the clusters publish of themselves.

New code reads ``control.clusters()``, which says more.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django_cluster.conf import load_settings
from django_cluster.stores.status import ClusterStatus, StatusStore

STARTING, WORKING, IDLE, STOPPED, STOPPING = "Starting", "Working", "Idle", "Stopped", "Stopping"


class Status:
    """A cluster of which only pid and id are known."""

    def __init__(self, pid: int, cluster_id: str) -> None:
        self.pid = pid
        self.cluster_id = cluster_id
        self.status = STOPPED
        self.host = ""
        self.tob: datetime | None = None
        """When it was started."""
        self.reincarnations = 0
        self.sentinel = 0
        self.monitor = 0
        self.pusher = 0
        self.workers: list[int] = []
        """Process ids."""
        self.task_q_size = 0
        """Leased jobs that are not acknowledged; in Django-Q, the size of its internal queue."""
        self.done_q_size = 0
        """Outcomes that are not recorded yet."""
        self.timestamp = datetime.now(UTC)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.cluster_id} {self.status}>"


class Stat(Status):
    """A live cluster."""

    def __init__(self, status: ClusterStatus) -> None:
        super().__init__(status.pid, status.id)
        self.status = _word(status)
        self.host = status.host
        self.tob = datetime.fromtimestamp(status.started_at, UTC)
        self.reincarnations = status.restarts
        pids = {process.role: process.pid for process in status.processes}
        self.sentinel, self.monitor, self.pusher = (pids.get(role, 0) for role in ("sentinel", "monitor", "pusher"))
        self.workers = [worker.pid for worker in status.workers]
        self.task_q_size, self.done_q_size = status.in_flight, status.unrecorded
        self.timestamp = datetime.fromtimestamp(status.published_at, UTC)
        self.cluster = status
        """The complete status of the cluster."""

    def uptime(self) -> float:
        """Seconds since it was started."""
        return self.cluster.uptime

    def empty_queues(self) -> bool:
        """Whether nothing is under way inside."""
        return self.done_q_size + self.task_q_size == 0

    @staticmethod
    def get(pid: int, cluster_id: str, broker: Any = None) -> Stat | Status:
        """The living cluster of this id, or a stopped ``Status``. ``broker`` is accepted for Django-Q's sake."""
        found = _store().get(str(cluster_id))
        return Stat(found) if found is not None and found.alive else Status(pid, str(cluster_id))

    @staticmethod
    def get_all(broker: Any = None) -> list[Stat]:
        """All living clusters."""
        return [Stat(status) for status in _store().all()]


def _store() -> StatusStore:
    return StatusStore(load_settings().results.database)


def _word(status: ClusterStatus) -> str:
    if status.state == "running":
        return WORKING if any(worker.task for worker in status.workers) or status.in_flight else IDLE
    return STARTING if status.state == "starting" else STOPPING
