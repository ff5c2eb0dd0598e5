"""Settling where a receipt works in one process only: the monitor asks, and the pusher, who was lent it, does it.

The monitor waits for the answer before it says *filed*, so whatever dies in between, somebody still holds the
outcome: a pusher that dies leaves the monitor to ask its successor, a monitor that dies leaves the workers to send
their outcomes again. Each step may be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from multiprocessing.connection import wait
from typing import Any

from django_cluster.brokers.base import Broker, Delivery
from django_cluster.cluster.ipc.channel import ConnectionLost
from django_cluster.cluster.ipc.wire import IpcClient, SocketAddress
from django_cluster.errors import BrokerUnavailable

REPLY_SECONDS = 10.0
"""Seconds for the pusher to answer: longer than a broker takes to say that it is away."""
PUSHER_RESTART_SECONDS = 2.0
"""Seconds for a dead pusher to be replaced, before it counts as an outage."""
RECONNECT_SECONDS = 0.02


class RemoteAcknowledger:
    """The monitor's side: stands for the broker where outcomes are recorded."""

    database: str | None = None

    def __init__(self, pusher: SocketAddress) -> None:
        self._client = IpcClient(pusher)
        self._numbers = count(1)

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """As ``Broker.acknowledge``."""
        self._ask("acknowledge", list(receipts))

    def release(self, receipts: Sequence[str], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        """As ``Broker.release``."""
        self._ask("release", list(receipts), delay, refund_attempt)

    def give_back(self, deliveries: Sequence[Delivery], delay: float = 0.0) -> None:
        """As ``Broker.give_back``."""
        self._ask("give_back", [tuple(delivery) for delivery in deliveries], delay)

    def close(self) -> None:
        self._client.close()

    def _ask(self, verb: str, *values: Any) -> None:
        """Returns when it is done; raises ``BrokerUnavailable`` when nobody knows. A successor is asked again."""
        deadline = time.monotonic() + PUSHER_RESTART_SECONDS
        while True:
            number = next(self._numbers)
            try:
                self._connect()
                self._client.send(("broker_call", number, verb, *values))
                return self._await_reply(number)
            except ConnectionLost as error:
                if time.monotonic() >= deadline:
                    raise BrokerUnavailable("There is no pusher that could settle with the broker.") from error
                time.sleep(RECONNECT_SECONDS)

    def _connect(self) -> None:
        if not self._client.connected and not self._client.connect():
            raise ConnectionLost("nobody listens")

    def _await_reply(self, number: int) -> None:
        deadline = time.monotonic() + REPLY_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            wait([self._client.fileno()], left)  # raises ConnectionLost when the pusher has gone
            for word, answered, *reason in self._client.receive():
                if answered == number and word == "broker_done":
                    return
                if answered == number:
                    raise BrokerUnavailable(reason[0])
        self.close()  # a late answer is an answer to nothing
        raise BrokerUnavailable("The pusher did not settle in time.")


def apply_broker_call(broker: Broker, verb: str, values: Sequence[Any]) -> None:
    """The pusher's side of one request. Raises as the verbs of the broker do."""
    if verb == "acknowledge":
        broker.acknowledge(values[0])
    elif verb == "release":
        broker.release(values[0], values[1], refund_attempt=values[2])
    elif verb == "give_back":
        broker.give_back([Delivery(*each) for each in values[0]], values[1])
