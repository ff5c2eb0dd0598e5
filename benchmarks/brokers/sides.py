"""What is timed at each broker: the same payloads through our adapter, and through the server's bare client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message

BATCH = 256
"""Messages in one call, where they are sent or taken many at once."""

PATIENCE = 5.0
"""Seconds after which messages that have not come are missing."""


class Side(ABC):
    """One way to the queue. Nobody else uses the queue meanwhile."""

    @abstractmethod
    def send(self, payload: str) -> None:
        """Return when the server keeps it."""

    @abstractmethod
    def send_many(self, payloads: Sequence[str]) -> None:
        """Return when the server keeps all of them; at most ``BATCH``."""

    @abstractmethod
    def drain(self, count: int) -> list[Any]:
        """Take so many payloads out (text or bytes), ``BATCH`` at a time, so that the server forgets them."""

    def close(self) -> None:  # noqa: B027  not everybody has something to close
        """Give the connection back."""


class Missing(Exception):
    """What was sent did not come out again."""


class Taker(Side):
    """A side that asks for each batch."""

    def drain(self, count: int) -> list[Any]:
        taken: list[Any] = []
        while len(taken) < count:
            came = self.take(min(BATCH, count - len(taken)))
            if not came:
                raise Missing(f"{len(taken)} of {count} messages came out again")
            taken += came
        return taken

    @abstractmethod
    def take(self, limit: int) -> Sequence[Any]:
        """Up to so many payloads; none only if there are none."""


class Ours(Taker):
    """A broker of ours, used as sender, pusher and monitor use it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        broker.prepare()
        broker.purge()

    def send(self, payload: str) -> None:
        self._broker.enqueue([Message(payload)])

    def send_many(self, payloads: Sequence[str]) -> None:
        self._broker.enqueue([Message(payload) for payload in payloads])

    def take(self, limit: int) -> Sequence[Any]:
        deliveries = self._broker.lease(limit, PATIENCE)
        self._broker.acknowledge([delivery.receipt for delivery in deliveries])
        return [delivery.payload for delivery in deliveries]

    def close(self) -> None:
        self._broker.close()


def in_batches(payloads: Sequence[str], size: int = BATCH) -> Iterator[Sequence[str]]:
    for start in range(0, len(payloads), size):
        yield payloads[start : start + size]
