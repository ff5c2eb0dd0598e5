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
from django_cluster.cluster.channel import LineDown
from django_cluster.cluster.wire import Address, Line
from django_cluster.errors import BrokerUnavailable

PATIENCE = 10.0
"""Seconds for the pusher to answer: longer than a broker takes to say that it is away."""
SUCCESSION = 2.0
"""Seconds for a dead pusher to be replaced, before it counts as an outage."""
RECONNECT = 0.02


class Settler:
    """The monitor's side: stands for the broker where outcomes are recorded."""

    database: str | None = None

    def __init__(self, pusher: Address) -> None:
        self._line = Line(pusher)
        self._numbers = count(1)

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """As ``Broker.acknowledge``."""
        self._ask("acknowledge", list(receipts))

    def release(self, receipts: Sequence[str], delay: float = 0.0, *, begun: bool = True) -> None:
        """As ``Broker.release``."""
        self._ask("release", list(receipts), delay, begun)

    def give_back(self, deliveries: Sequence[Delivery], delay: float = 0.0) -> None:
        """As ``Broker.give_back``."""
        self._ask("give_back", [tuple(delivery) for delivery in deliveries], delay)

    def close(self) -> None:
        self._line.close()

    def _ask(self, verb: str, *values: Any) -> None:
        """Returns when it is done; raises ``BrokerUnavailable`` when nobody knows. A successor is asked again."""
        deadline = time.monotonic() + SUCCESSION
        while True:
            number = next(self._numbers)
            try:
                self._connect()
                self._line.send(("settle", number, verb, *values))
                return self._hear(number)
            except LineDown as error:
                if time.monotonic() >= deadline:
                    raise BrokerUnavailable("There is no pusher that could settle with the broker.") from error
                time.sleep(RECONNECT)

    def _connect(self) -> None:
        if not self._line.connected and not self._line.connect():
            raise LineDown("nobody listens")

    def _hear(self, number: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            wait([self._line.fileno()], left)  # raises LineDown when the pusher has gone
            for word, answered, *reason in self._line.receive():
                if answered == number and word == "settled":
                    return
                if answered == number:
                    raise BrokerUnavailable(reason[0])
        self.close()  # a late answer is an answer to nothing
        raise BrokerUnavailable("The pusher did not settle in time.")


def carry_out(broker: Broker, verb: str, values: Sequence[Any]) -> None:
    """The pusher's side of one request. Raises as the verbs of the broker do."""
    if verb == "acknowledge":
        broker.acknowledge(values[0])
    elif verb == "release":
        broker.release(values[0], values[1], begun=values[2])
    elif verb == "give_back":
        broker.give_back([Delivery(*each) for each in values[0]], values[1])
