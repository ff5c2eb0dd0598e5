"""The first verb: package → announced → signed → given to the broker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from django_cluster.brokers.base import Broker, Message
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskPackage
from django_cluster.lifecycle.announce import announce
from django_cluster.signals import pre_enqueue


class Sender:
    """Sends packages to one queue."""

    def __init__(self, codec: Codec, broker: Broker) -> None:
        self._codec = codec
        self._broker = broker

    def send(self, packages: Sequence[TaskPackage]) -> None:
        """In as few round trips as the broker allows; up to ``capabilities.bulk`` messages all or none.

        Raises ``NotSerializable`` before anything is sent, ``BrokerUnavailable`` and ``BrokerRefused``.
        """
        self.put(self.pack(packages))

    def pack(self, packages: Sequence[TaskPackage]) -> Sequence[Message]:
        """Announced and signed: what cannot be sent is refused here, before a server hears of it."""
        if pre_enqueue.receivers:
            for package in packages:
                announce(pre_enqueue, task=package)
        return [self._message(package) for package in packages]

    def put(self, messages: Sequence[Message]) -> None:
        for chunk in chunks(messages, self._broker.capabilities.bulk):
            self._broker.enqueue(chunk)

    def _message(self, package: TaskPackage) -> Message:
        options = package.header.options
        return Message(self._codec.dumps(package), options.priority, options.not_before)


class Router:
    """Sends each package to the queue that it names, on one and the same server."""

    def __init__(self, codec: Codec, broker: Broker) -> None:
        self._codec = codec
        self._broker = broker
        self._senders = {broker.queue: Sender(codec, broker)}

    def send(self, packages: Sequence[TaskPackage]) -> None:
        """As ``Sender.send``; the packages of one queue stay together and in their order."""
        by_queue: dict[str, list[TaskPackage]] = {}
        for package in packages:
            by_queue.setdefault(package.header.options.cluster or self._broker.queue, []).append(package)
        for queue, group in by_queue.items():
            self._sender_of(queue).send(group)

    def _sender_of(self, queue: str) -> Sender:
        if queue not in self._senders:
            section = replace(self._broker.settings, queue=queue)
            self._senders[queue] = Sender(self._codec, type(self._broker)(section))
        return self._senders[queue]


def chunks(messages: Sequence[Message], size: int) -> Iterable[Sequence[Message]]:
    """``messages`` in pieces of at most ``size``."""
    return (messages[start : start + size] for start in range(0, len(messages), size))
