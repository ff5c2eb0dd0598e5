"""The queues into which an import sends tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django_cluster.brokers import open_broker
from django_cluster.brokers.base import Broker
from django_cluster.client.client import Client
from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import BrokerSettings
from django_cluster.lifecycle.send import QueueSender


class TargetQueue:
    """Sends packages to queues by their names. ``dry_run``: sends nothing."""

    def __init__(self, client: Client, *, dry_run: bool) -> None:
        self._client = client
        self.dry_run = dry_run
        self._brokers: dict[str, Broker] = {}

    @property
    def home(self) -> str:
        """The queue of the settings."""
        return self._client.settings.queue

    def send(self, queue: str, packages: Sequence[TaskPackage]) -> None:
        """Raises ``NotSerializable``, ``NotSupported``, ``PayloadTooLarge``, ``BrokerUnavailable``."""
        if packages and not self.dry_run:
            QueueSender(self._client.codec, self.broker(queue)).send(packages)

    def broker(self, queue: str) -> Broker:
        if queue not in self._brokers:
            section: BrokerSettings = replace(self._client.settings.broker, queue=queue)
            self._brokers[queue] = open_broker(section)
        return self._brokers[queue]
