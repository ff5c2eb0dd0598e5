"""``Cluster()`` without arguments."""

from __future__ import annotations

from django_cluster.cluster.cluster import Cluster as OurCluster
from django_cluster.compat.brokers import Broker
from django_cluster.conf import load_settings


class Cluster(OurCluster):
    """The cluster that the settings describe. ``broker`` may name another queue, by ``get_broker("name")``."""

    def __init__(self, broker: Broker | None = None) -> None:
        super().__init__(load_settings(broker.queue if broker is not None else None))

    @property
    def sentinel(self) -> int | None:
        """The process id of the sentinel."""
        return self.pid

    @property
    def has_stopped(self) -> bool:
        return not self.is_running
