"""Fixtures and helpers of the contract's tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import pytest

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Delivery, Message, QueueSize

Opener = Callable[..., Broker]

SHORT_LEASE_SECONDS = 0.4
"""Length of a lease whose end a test waits for."""

WAIT_SECONDS = 10.0
"""Seconds within which an expected change has to happen; generous, because the machine may be busy."""


def messages(*payloads: str, priority: int = 0, not_before: float | None = None) -> list[Message]:
    return [Message(payload, priority, not_before) for payload in payloads]


def payloads(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.payload for delivery in deliveries]


def receipts(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.receipt for delivery in deliveries]


def deliveries_of(receipts: Sequence[str]) -> list[Delivery]:
    """Deliveries for ``release`` where only the receipts are known."""
    return [Delivery(receipt, "", 1) for receipt in receipts]


def lease_all(broker: Broker, count: int) -> list[Delivery]:
    """Lease until there are ``count`` deliveries; fails if no more come in time."""
    deliveries: list[Delivery] = []
    deadline = time.monotonic() + WAIT_SECONDS
    while len(deliveries) < count:
        more = broker.lease(count - len(deliveries), wait=0.2)
        deliveries += more
        if more:
            deadline = time.monotonic() + WAIT_SECONDS
        assert time.monotonic() < deadline, f"only {len(deliveries)} of {count} messages came"
    return deliveries


def eventually(condition: Callable[[], object]) -> None:
    """Return when the condition holds; fail if it does not."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


class ContractBase:
    """The fixtures, and what a test may ask of its broker."""

    many: ClassVar[int] = 5000
    """Messages in the test of many; fewer for a server that takes them one by one."""

    @pytest.fixture
    def open_another(self) -> Opener:
        raise NotImplementedError("the test class of an adapter has to define the fixture open_another")

    @pytest.fixture
    def broker(self, open_another: Opener) -> Iterator[Broker]:
        broker = open_another()
        broker.prepare()
        yield broker
        broker.purge()
        broker.close()

    @staticmethod
    def require(broker: Broker, *capabilities: str) -> None:
        for capability in capabilities:
            if not getattr(broker.capabilities, capability):
                pytest.skip(f"{type(broker).__name__} has no {capability}")

    @staticmethod
    def long_delay(broker: Broker) -> float:
        """A delay in seconds that is longer than any test."""
        return min(3600.0, broker.capabilities.max_delay or 3600.0)

    @staticmethod
    def check_order(broker: Broker, came: list[str], expected: list[str]) -> None:
        """Assert that exactly these messages were leased, in this order if the broker is FIFO."""
        assert came == expected if broker.capabilities.fifo else sorted(came) == sorted(expected)

    @staticmethod
    def check_size(broker: Broker, *, ready: int = 0, delayed: int = 0, leased: int = 0) -> None:
        """Check the size of the queue; only the total if the broker estimates."""
        size, expected = broker.size(), QueueSize(ready=ready, delayed=delayed, leased=leased)
        if broker.capabilities.exact_size:
            assert size == expected
        assert size.total == expected.total
