"""A RabbitMQ node that lets everybody in and keeps nothing, or says nothing: it is left for the next one in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import pytest

from django_cluster.brokers.base import Broker
from django_cluster.errors import BrokerUnavailable
from django_cluster.testing.contracts import deliveries_of, messages, payloads, receipts
from tests.brokers import opener
from tests.servers import RabbitServer, require
from tests.servers.tunnel import Tunnel

SECONDS = 10.0
"""More than twice what the client waits for an answer: a busy machine is slow, and a hang would last for ever."""


@pytest.fixture
def tunnel(rabbitmq_server: RabbitServer) -> Iterator[Tunnel]:
    """The first address. The second one leads straight to the server."""
    with Tunnel(rabbitmq_server.port, b"-") as tunnel:
        yield tunnel


@pytest.fixture
def broker(rabbitmq_server: RabbitServer, tunnel: Tunnel) -> Iterator[Broker]:
    broker = opener("rabbitmq", url=[f"amqp://127.0.0.1:{tunnel.port}", rabbitmq_server.url])()
    yield broker
    broker.purge()
    broker.close()


@pytest.fixture(scope="module")
def full_server() -> Iterator[RabbitServer]:
    """One whose memory is used up: it lets senders in, takes what they send from nobody, and says no word."""
    require("rabbitmq")
    server = RabbitServer()
    server.lines = ("vm_memory_high_watermark.absolute = 1MB",)
    yield server.start()
    server.stop()


def say_in_time(call: Callable[[], Any], match: str) -> None:
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=match):
        call()
    assert time.monotonic() - started < SECONDS


def test_a_sender_whose_confirmation_does_not_come_is_at_the_next_address_within_seconds(
    broker: Broker, tunnel: Tunnel
) -> None:
    broker.enqueue(messages("before"))

    tunnel.hold_answers()

    say_in_time(lambda: broker.enqueue(messages("in doubt")), "may have been kept")
    started = time.monotonic()
    broker.enqueue(messages("after"))
    broker.ping()
    assert time.monotonic() - started < SECONDS
    assert broker.size().ready == 3


@pytest.mark.parametrize("verb", ["lease", "acknowledge", "release"])
def test_a_cluster_that_hears_nothing_is_at_the_next_address_within_seconds(
    broker: Broker, tunnel: Tunnel, verb: str
) -> None:
    broker.enqueue(messages("one", "two"))
    held = receipts(broker.lease(1))
    calls: dict[str, Callable[[], Any]] = {
        "lease": lambda: broker.lease(1),
        "acknowledge": lambda: broker.acknowledge(held),
        "release": lambda: broker.release(deliveries_of(held)),
    }

    tunnel.hold_answers()

    say_in_time(calls[verb], "did not answer in time")
    started = time.monotonic()
    calls[verb]()
    assert time.monotonic() - started < SECONDS
    assert list(broker.renew(held)) == ([] if verb == "lease" else held)


def test_a_queue_that_was_deleted_meanwhile_is_made_anew_at_the_next_address(
    broker: Broker, tunnel: Tunnel, rabbitmq_server: RabbitServer
) -> None:
    broker.enqueue(messages("before"))

    tunnel.hold()
    say_in_time(lambda: broker.enqueue(messages("in doubt")), "may have been kept")
    with amqp.Connection(f"127.0.0.1:{rabbitmq_server.port}") as console:
        channel: Any = console.channel()
        channel.queue_delete(f"django_cluster.{broker.settings.name}.{broker.queue}")
    broker.enqueue(messages("after"))

    assert payloads(broker.lease(9, 5.0)) == ["after"]


def test_a_node_whose_memory_is_used_up_is_left_for_the_next_one(
    full_server: RabbitServer, rabbitmq_server: RabbitServer
) -> None:
    broker = opener("rabbitmq", url=[full_server.url, rabbitmq_server.url])()

    say_in_time(lambda: broker.enqueue(messages("to the full one")), "may have been kept")
    broker.enqueue(messages("to the next one"))

    there = opener("rabbitmq", url=rabbitmq_server.url)(queue=broker.queue)
    assert payloads(there.lease(9, 5.0)) == ["to the next one"]
    there.purge()
    there.close()
    broker.close()
