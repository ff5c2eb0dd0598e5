"""What is peculiar to the reference adapter: its clock, and who shares a queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_cluster.brokers import memory
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.messages import Message
from django_cluster.core.settings import BrokerSettings
from tests.conftest import Clock


@pytest.fixture(autouse=True)
def forget_queues() -> Iterator[None]:
    yield
    memory.reset()


def open_memory(clock: Clock, **changes: Any) -> MemoryBroker:
    return MemoryBroker(BrokerSettings(kind="memory", lease=60, **changes), clock)


def test_a_lease_ends_when_the_clock_says_so(clock: Clock) -> None:
    broker = open_memory(clock)
    broker.enqueue([Message("one")])
    broker.lease(1)

    clock.advance(59)
    assert not broker.lease(1)

    clock.advance(1)
    assert [delivery.attempt for delivery in broker.lease(1)] == [2]


def test_a_delayed_message_comes_when_the_clock_says_so(clock: Clock) -> None:
    broker = open_memory(clock)
    broker.enqueue([Message("later", not_before=clock.now + 3600)])

    clock.advance(3599)
    assert not broker.lease(1)

    clock.advance(1)
    assert [delivery.payload for delivery in broker.lease(1)] == ["later"]


def test_brokers_of_one_queue_share_it_and_others_do_not(clock: Clock) -> None:
    open_memory(clock, queue="letters").enqueue([Message("one")])

    assert open_memory(clock, queue="letters").size().ready == 1
    assert open_memory(clock, queue="parcels").size().ready == 0
    assert open_memory(clock, queue="letters", name="another site").size().ready == 0


def test_a_reset_forgets_every_queue(clock: Clock) -> None:
    broker = open_memory(clock)
    broker.enqueue([Message("one")])

    memory.reset()

    assert broker.size().total == 0
