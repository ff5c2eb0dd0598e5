"""Django-Q's ``Cluster``, which takes no settings."""

from __future__ import annotations

import socket

from django_cluster.cluster.supervisor.embedded_cluster import Cluster as BaseCluster
from django_cluster.conf import load_settings
from django_cluster.core.task_ids import humanize
from django_cluster.django_q.shim.brokers import Broker
from django_cluster.django_q.status import STARTING, STOPPING, Stat, Status


class Cluster(BaseCluster):
    """The cluster that the settings describe. ``broker`` may name another queue, by ``get_broker("name")``."""

    def __init__(self, broker: Broker | None = None) -> None:
        super().__init__(load_settings(broker.queue if broker is not None else None))

    @property
    def sentinel(self) -> int | None:
        """The process id of the sentinel."""
        return self.pid

    @property
    def host(self) -> str:
        return socket.gethostname()

    @property
    def stat(self) -> Status:
        """What the cluster says of itself; a stopped ``Status`` without an id before it has said anything."""
        mine = (each for each in Stat.get_all() if (each.pid, each.host) == (self.pid, self.host))
        return next(mine, Status(self.pid or 0, ""))

    @property
    def cluster_id(self) -> str:
        """Is given when it is started; empty before."""
        return self.stat.cluster_id

    @property
    def name(self) -> str:
        """Four words for the id."""
        known = self.cluster_id
        return humanize(known) if known else ""

    @property
    def is_starting(self) -> bool:
        return self.stat.status == STARTING

    @property
    def is_stopping(self) -> bool:
        return self.stat.status == STOPPING

    @property
    def has_stopped(self) -> bool:
        return not self.is_running
