"""The first verb: package → announced → signed → given to the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from django_cluster.brokers import broker_section, open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.brokers.publisher import Publisher
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskPackage
from django_cluster.core.row_insert import RowInsert
from django_cluster.core.settings import BrokerSettings
from django_cluster.lifecycle.admission import check_functions
from django_cluster.lifecycle.middleware_stack import middleware_stack
from django_cluster.lifecycle.signal_dispatch import changed_by_receivers
from django_cluster.signals import pre_enqueue


class AddressedMessage(NamedTuple):
    """A signed package, and the broker and the queue that it names."""

    alias: str | None
    queue: str | None
    message: Message


def pack(codec: Codec, packages: Sequence[TaskPackage]) -> list[Message]:
    """Announced, and signed for the queue of the codec. Raises ``FunctionNotAllowed`` and
    ``SendRefused``."""
    packages = announced(packages, codec.signing.middleware)
    check_functions(codec.signing.functions, packages)
    return [_message(codec, package) for package in packages]


def announced(packages: Sequence[TaskPackage], middleware: tuple[str, ...] = ()) -> Sequence[TaskPackage]:
    """Send ``pre_enqueue`` for each package; returns the packages as middleware and receivers want them to be sent.

    ``middleware``: dotted paths; raises ``SendRefused`` where one refuses. The packages keep their id, which the caller
    knows, and their queue and broker, for which they are being packed.
    """
    if middleware:
        stack = middleware_stack(middleware)
        packages = [_as_packed(package, stack.before_send(package)) for package in packages]
    if not pre_enqueue.receivers:
        return packages
    return [_as_packed(package, changed_by_receivers(pre_enqueue, package)) for package in packages]


def _as_packed(package: TaskPackage, found: TaskPackage) -> TaskPackage:
    """What code of the project has made of a package, with the id, queue and broker for which it is packed."""
    if found is package:
        return package
    options = package.header.options
    return found.with_id(package.id, found.header.name).with_options(queue=options.queue, broker=options.broker)


def _message(codec: Codec, package: TaskPackage) -> Message:
    options = package.header.options
    return Message(codec.dumps(package), options.priority, options.not_before)


class QueueSender:
    """Sends packages to one queue."""

    def __init__(self, codec: Codec, broker: Broker) -> None:
        self.codec = codec.for_queue(broker.queue)
        self._publisher = Publisher(broker)
        self.broker = broker

    def send(self, packages: Sequence[TaskPackage]) -> None:
        """In as few round trips as the broker allows; up to ``capabilities.bulk`` messages all or none.

        Raises ``NotSerializable``, ``NotSupported`` and ``PayloadTooLarge`` before anything is sent,
        ``BrokerUnavailable`` and ``BrokerRefused``.
        """
        self.put(self.pack(packages))

    def pack(self, packages: Sequence[TaskPackage]) -> Sequence[Message]:
        """Announced and signed: what cannot be sent is refused here, before a server hears of it."""
        messages = pack(self.codec, packages)
        self.check(messages)
        return messages

    def check(self, messages: Sequence[Message]) -> None:
        """Raises ``NotSupported`` or ``PayloadTooLarge`` for what the broker can never take."""
        self._publisher.check(messages)

    def put(self, messages: Sequence[Message]) -> None:
        self._publisher.publish(messages)

    def put_with(self, messages: Sequence[Message], insert: RowInsert) -> bool:
        """Publish the messages together with rows, in one statement; False if the broker cannot, and did nothing."""
        return self._publisher.publish_with(messages, insert)

    def put_once(self, messages: Sequence[Message], packages: Sequence[TaskPackage]) -> None:
        """Enqueue messages packed from these packages; a package that was enqueued before is not enqueued again."""
        self._publisher.publish_unique(messages, [package.id for package in packages])

    def forget(self, packages: Sequence[TaskPackage]) -> None:
        """Forget the unique names of tasks that will never be sent again."""
        self.broker.release_unique([package.id for package in packages])


class TaskRouter:
    """Sends each package to the queue and the broker that it names, by default to those of the cluster."""

    def __init__(
        self,
        codec: Codec,
        broker: Broker,
        brokers: Mapping[str, BrokerSettings] | None = None,
        beside: Sequence[Broker] = (),
        queue_brokers: Mapping[str, BrokerSettings] | None = None,
    ) -> None:
        """``brokers``: ``Settings.brokers``, for tasks that ask for one by its name. ``beside``: other queues of this
        cluster, each where it is. ``queue_brokers``: ``Settings.queue_brokers``. Of what queue nothing is known, it is
        on the server of ``broker``."""
        self._codec = codec
        self._broker = broker
        self._brokers = brokers or {}
        self._queue_brokers = queue_brokers or {}
        self._senders = {("", each.queue): QueueSender(codec, each) for each in (*beside, broker)}

    def send(self, packages: Sequence[TaskPackage]) -> None:
        """Send each package to its queue; packages of one queue keep their order. Raises as ``QueueSender.send``."""
        for sender, messages, _ in self._packed(packages):
            sender.put(messages)

    def send_once(self, packages: Sequence[TaskPackage]) -> None:
        """Send packages; a package that was sent before is not sent again, where the broker can remember its id."""
        for sender, messages, group in self._packed(packages):
            sender.put_once(messages, group)

    def forget(self, packages: Sequence[TaskPackage]) -> None:
        """What was sent will never be sent again."""
        for sender, group in self._by_place(packages):
            sender.forget(group)

    def _packed(
        self, packages: Sequence[TaskPackage]
    ) -> list[tuple[QueueSender, Sequence[Message], list[TaskPackage]]]:
        """All of them, before anything is sent: one that cannot be packed keeps the others back."""
        return [(sender, sender.pack(group), group) for sender, group in self._by_place(packages)]

    def _by_place(self, packages: Sequence[TaskPackage]) -> list[tuple[QueueSender, list[TaskPackage]]]:
        found: dict[tuple[str, str], list[TaskPackage]] = {}
        for package in packages:
            options = package.header.options
            found.setdefault((options.broker or "", options.queue or self._broker.queue), []).append(package)
        return [(self._sender_of(alias, queue), group) for (alias, queue), group in found.items()]

    def forward(self, addressed: Sequence[AddressedMessage]) -> None:
        """Send messages that are signed already to the queues that they name."""
        by_place: dict[tuple[str, str], list[Message]] = {}
        for alias, queue, message in addressed:
            by_place.setdefault((alias or "", queue or self._broker.queue), []).append(message)
        for place, messages in by_place.items():
            self._sender_of(*place).check(messages)
        for place, messages in by_place.items():
            self._sender_of(*place).put(messages)

    def _sender_of(self, alias: str, queue: str) -> QueueSender:
        place = alias, queue
        if place not in self._senders:
            self._senders[place] = QueueSender(self._codec, self._open(alias, queue))
        return self._senders[place]

    def _open(self, alias: str, queue: str) -> Broker:
        if alias:
            return open_broker(broker_section(self._brokers, alias, queue))
        if queue in self._queue_brokers:
            return open_broker(self._queue_brokers[queue])
        return type(self._broker)(replace(self._broker.settings, queue=queue))
