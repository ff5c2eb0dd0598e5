"""The first verb: package → announced → signed → given to the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from django_cluster.brokers import named_section, open_broker
from django_cluster.brokers.base import Broker, Message
from django_cluster.brokers.limits import Postbox
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import BrokerSettings
from django_cluster.lifecycle.announce import announce
from django_cluster.signals import pre_enqueue


class Sender:
    """Sends packages to one queue."""

    def __init__(self, codec: Codec, broker: Broker) -> None:
        self._codec = codec
        self._postbox = Postbox(broker)
        self.broker = broker

    def send(self, packages: Sequence[TaskPackage]) -> None:
        """In as few round trips as the broker allows; up to ``capabilities.bulk`` messages all or none.

        Raises ``NotSerializable``, ``NotSupported`` and ``PayloadTooLarge`` before anything is sent,
        ``BrokerUnavailable`` and ``BrokerRefused``.
        """
        self.put(self.pack(packages))

    def pack(self, packages: Sequence[TaskPackage]) -> Sequence[Message]:
        """Announced and signed: what cannot be sent is refused here, before a server hears of it."""
        if pre_enqueue.receivers:
            for package in packages:
                announce(pre_enqueue, task=package)
        messages = [self._message(package) for package in packages]
        self._postbox.check(messages)
        return messages

    def put(self, messages: Sequence[Message]) -> None:
        self._postbox.put(messages)

    def _message(self, package: TaskPackage) -> Message:
        options = package.header.options
        return Message(self._codec.dumps(package), options.priority, options.not_before)


class Router:
    """Sends each package to the queue and the broker that it names, by default to those of the cluster."""

    def __init__(self, codec: Codec, broker: Broker, brokers: Mapping[str, BrokerSettings] | None = None) -> None:
        """``brokers``: ``Settings.brokers``, for tasks that ask for one by its name."""
        self._codec = codec
        self._broker = broker
        self._brokers = brokers or {}
        self._senders = {("", broker.queue): Sender(codec, broker)}

    def send(self, packages: Sequence[TaskPackage]) -> None:
        """As ``Sender.send``; the packages of one queue stay together and in their order."""
        by_place: dict[tuple[str, str], list[TaskPackage]] = {}
        for package in packages:
            options = package.header.options
            by_place.setdefault((options.broker or "", options.cluster or self._broker.queue), []).append(package)
        for (alias, queue), group in by_place.items():
            self._sender_of(alias, queue).send(group)

    def _sender_of(self, alias: str, queue: str) -> Sender:
        place = alias, queue
        if place not in self._senders:
            self._senders[place] = Sender(self._codec, self._open(alias, queue))
        return self._senders[place]

    def _open(self, alias: str, queue: str) -> Broker:
        if alias:
            return open_broker(named_section(self._brokers, alias, queue))
        return type(self._broker)(replace(self._broker.settings, queue=queue))
