"""Brokers that can do less than others."""

from __future__ import annotations

from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.orm import OrmBroker


class ShortDelays(OrmBroker):
    """Its server delays nothing for longer than a tenth of a second, and takes no priorities."""

    capabilities = Capabilities(priority=False, max_delay=0.1, max_payload=10_000)
