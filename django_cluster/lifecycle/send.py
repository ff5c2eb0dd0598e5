"""The first verb: package → announced → signed → given to the broker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
        """All of them in as few round trips as the broker allows, or none and an error.

        Raises ``NotSerializable`` before anything is sent, ``BrokerUnavailable`` and ``BrokerRefused``.
        """
        if pre_enqueue.receivers:
            for package in packages:
                announce(pre_enqueue, task=package)
        messages = [self._message(package) for package in packages]
        for chunk in chunks(messages, self._broker.capabilities.bulk):
            self._broker.enqueue(chunk)

    def _message(self, package: TaskPackage) -> Message:
        options = package.header.options
        return Message(self._codec.dumps(package), options.priority, options.not_before)


def chunks(messages: Sequence[Message], size: int) -> Iterable[Sequence[Message]]:
    """``messages`` in pieces of at most ``size``."""
    return (messages[start : start + size] for start in range(0, len(messages), size))
