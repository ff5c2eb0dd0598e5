"""The first verb: package → announced → signed → given to the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from django_cluster.brokers import named_section, open_broker
from django_cluster.brokers.base import Broker, Message
from django_cluster.brokers.limits import Postbox
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import BrokerSettings
from django_cluster.lifecycle.admission import check_functions
from django_cluster.lifecycle.announce import announce
from django_cluster.signals import pre_enqueue


class Parcel(NamedTuple):
    """A signed package, and the broker and the queue that it names."""

    alias: str | None
    queue: str | None
    message: Message


def pack(codec: Codec, packages: Sequence[TaskPackage]) -> list[Message]:
    """Announced, and signed for the queue of the codec. Raises ``FunctionNotAllowed``."""
    check_functions(codec.signing.functions, packages)
    if pre_enqueue.receivers:
        for package in packages:
            announce(pre_enqueue, task=package)
    return [_message(codec, package) for package in packages]


def _message(codec: Codec, package: TaskPackage) -> Message:
    options = package.header.options
    return Message(codec.dumps(package), options.priority, options.not_before)


class Sender:
    """Sends packages to one queue."""

    def __init__(self, codec: Codec, broker: Broker) -> None:
        self._codec = codec.of(broker.queue)
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
        messages = pack(self._codec, packages)
        self.check(messages)
        return messages

    def check(self, messages: Sequence[Message]) -> None:
        """Raises ``NotSupported`` or ``PayloadTooLarge`` for what the broker can never take."""
        self._postbox.check(messages)

    def put(self, messages: Sequence[Message]) -> None:
        self._postbox.put(messages)

    def put_once(self, messages: Sequence[Message], packages: Sequence[TaskPackage]) -> None:
        """Those that were packed from these packages; a package that was taken before is not taken again."""
        self._postbox.put_once(messages, [package.id for package in packages])

    def forget(self, packages: Sequence[TaskPackage]) -> None:
        """They will never be sent again."""
        self.broker.forget_once([package.id for package in packages])


class Router:
    """Sends each package to the queue and the broker that it names, by default to those of the cluster."""

    def __init__(
        self,
        codec: Codec,
        broker: Broker,
        brokers: Mapping[str, BrokerSettings] | None = None,
        beside: Sequence[Broker] = (),
        homes: Mapping[str, BrokerSettings] | None = None,
    ) -> None:
        """``brokers``: ``Settings.brokers``, for tasks that ask for one by its name. ``beside``: other queues of this
        cluster, each where it is. ``homes``: ``Settings.homes``. Of what queue nothing is known, it is on the server
        of ``broker``."""
        self._codec = codec
        self._broker = broker
        self._brokers = brokers or {}
        self._homes = homes or {}
        self._senders = {("", each.queue): Sender(codec, each) for each in (*beside, broker)}

    def send(self, packages: Sequence[TaskPackage]) -> None:
        """As ``Sender.send``; the packages of one queue stay together and in their order."""
        for sender, messages, _ in self._packed(packages):
            sender.put(messages)

    def send_once(self, packages: Sequence[TaskPackage]) -> None:
        """As ``send``; what was sent before, and not forgotten, is not sent again, if the broker can remember."""
        for sender, messages, group in self._packed(packages):
            sender.put_once(messages, group)

    def forget(self, packages: Sequence[TaskPackage]) -> None:
        """What was sent will never be sent again."""
        for sender, group in self._by_place(packages):
            sender.forget(group)

    def _packed(self, packages: Sequence[TaskPackage]) -> list[tuple[Sender, Sequence[Message], list[TaskPackage]]]:
        """All of them, before anything is sent: one that cannot be packed keeps the others back."""
        return [(sender, sender.pack(group), group) for sender, group in self._by_place(packages)]

    def _by_place(self, packages: Sequence[TaskPackage]) -> list[tuple[Sender, list[TaskPackage]]]:
        found: dict[tuple[str, str], list[TaskPackage]] = {}
        for package in packages:
            options = package.header.options
            found.setdefault((options.broker or "", options.cluster or self._broker.queue), []).append(package)
        return [(self._sender_of(alias, queue), group) for (alias, queue), group in found.items()]

    def forward(self, parcels: Sequence[Parcel]) -> None:
        """The same for what has been signed already."""
        by_place: dict[tuple[str, str], list[Message]] = {}
        for alias, queue, message in parcels:
            by_place.setdefault((alias or "", queue or self._broker.queue), []).append(message)
        for place, messages in by_place.items():
            self._sender_of(*place).check(messages)
        for place, messages in by_place.items():
            self._sender_of(*place).put(messages)

    def _sender_of(self, alias: str, queue: str) -> Sender:
        place = alias, queue
        if place not in self._senders:
            self._senders[place] = Sender(self._codec, self._open(alias, queue))
        return self._senders[place]

    def _open(self, alias: str, queue: str) -> Broker:
        if alias:
            return open_broker(named_section(self._brokers, alias, queue))
        if queue in self._homes:
            return open_broker(self._homes[queue])
        return type(self._broker)(replace(self._broker.settings, queue=queue))
