"""Brokers that can do less than others."""

from __future__ import annotations

from django_cluster.brokers.base import Capabilities
from django_cluster.brokers.orm import OrmBroker
from django_cluster.core.settings import BrokerSettings


class ShortDelays(OrmBroker):
    """Its server delays nothing for longer than a tenth of a second, and takes no priorities."""

    capabilities = Capabilities(priority=False, max_delay=0.1, max_payload=10_000)

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self.capabilities = type(self).capabilities  # those of the class, not of the database
