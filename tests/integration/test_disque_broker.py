"""What is peculiar to the Disque broker: nodes and their passwords, whose clock a lease has, counters, copies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from redis import Redis

from django_cluster.brokers.base import Broker
from django_cluster.brokers.disque import DisqueBroker
from django_cluster.brokers.disque_connection import parse_node
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, BrokerUnavailable
from django_cluster.testing.contracts import eventually, lease_all, messages, payloads, receipts
from tests.brokers import opener
from tests.servers import DisqueServer, require
from tests.servers.base import free_port


@pytest.fixture
def broker(disque_server: DisqueServer) -> Iterator[Broker]:
    broker = opener("disque", **disque_server.options)()
    yield broker
    broker.purge()
    broker.close()


class Console:
    """Another client of the same node."""

    def __init__(self, server: DisqueServer) -> None:
        self.client: Any = Redis(port=server.port, password=server.password, protocol=2, decode_responses=True)

    def __call__(self, *words: Any) -> Any:
        return self.client.execute_command(*words)

    def job(self, receipt: str) -> dict[str, Any]:
        shown = self("SHOW", receipt.partition(":")[0])
        return dict(zip(shown[::2], shown[1::2], strict=True))


@pytest.fixture
def console(disque_server: DisqueServer) -> Iterator[Console]:
    console = Console(disque_server)
    yield console
    console.client.close()


@pytest.fixture
def nodes() -> Iterator[list[DisqueServer]]:
    """Two nodes that a test may hurt. They know nothing of each other."""
    require("disque")
    servers = [DisqueServer().start(), DisqueServer().start()]
    yield servers
    for server in servers:
        server.stop()


def of_both(nodes: list[DisqueServer]) -> Broker:
    return opener("disque", nodes=tuple(each.node for each in nodes), password=nodes[0].password)()


def in_use(broker: Broker, nodes: list[DisqueServer]) -> DisqueServer:
    """The node that the broker asks now."""
    broker.enqueue(messages("probe"))
    ((used, _),) = [(each, size) for each in nodes if (size := size_at(each, broker))]
    assert payloads(broker.lease(1)) == ["probe"]
    broker.purge()
    return used


def size_at(server: DisqueServer, broker: Broker) -> int:
    return opener("disque", **server.options)(queue=broker.queue).size().total


# -- nodes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "place"),
    [
        ("10.0.0.1:7712", ("10.0.0.1", 7712)),
        ("disque", ("disque", 7711)),
        ("[::1]:7712", ("::1", 7712)),
        ("[::1]", ("::1", 7711)),
    ],
)
def test_a_node_is_a_host_and_perhaps_a_port(node: str, place: tuple[str, int]) -> None:
    assert parse_node(node) == place


@pytest.mark.parametrize("nodes", [(), ("host:port",), (":7711",)])
def test_nodes_without_a_valid_address_are_refused(nodes: tuple[str, ...]) -> None:
    with pytest.raises(ImproperlyConfigured, match="disque_nodes"):
        opener("disque", nodes=nodes)()


def test_a_node_that_is_unavailable_is_passed_over(disque_server: DisqueServer) -> None:
    away = [f"127.0.0.1:{free_port()}" for _ in range(5)]
    broker = opener("disque", nodes=(*away, disque_server.node), password=disque_server.password)()

    broker.enqueue(messages("one"))

    assert payloads(broker.lease(1)) == ["one"]


def test_when_a_node_dies_the_next_one_is_used(nodes: list[DisqueServer]) -> None:
    broker = of_both(nodes)
    used = in_use(broker, nodes)

    used.kill()

    assert list(broker.lease(1)) == []
    broker.enqueue(messages("one"))
    assert payloads(broker.lease(1)) == ["one"]


def test_what_a_node_may_have_kept_is_not_sent_to_another(nodes: list[DisqueServer]) -> None:
    broker = of_both(nodes)
    used = in_use(broker, nodes)

    with used.paused(), pytest.raises(BrokerUnavailable):
        broker.enqueue(messages("one"))

    eventually(lambda: size_at(used, broker) == 1)
    assert sum(size_at(node, broker) for node in nodes) == 1


def test_a_node_that_hangs_is_noticed_in_time(nodes: list[DisqueServer]) -> None:
    broker = opener("disque", **nodes[0].options)()
    broker.ping()
    started = time.monotonic()

    with nodes[0].paused(), pytest.raises(BrokerUnavailable):
        broker.size()

    assert time.monotonic() - started < 10


@pytest.mark.parametrize("password", ["wrong hush", None])
def test_a_wrong_password_is_refused_and_not_shown(disque_server: DisqueServer, password: str | None) -> None:
    broker = opener("disque", **{**disque_server.options, "password": password})()

    with pytest.raises(BrokerRefused, match="does not let us in") as caught:
        broker.enqueue(messages("one"))

    assert "hush" not in str(caught.value)


def test_the_password_is_not_shown(disque_server: DisqueServer) -> None:
    section = BrokerSettings(kind="disque", options=disque_server.options)
    broker = DisqueBroker(section)

    assert disque_server.password not in repr(section) + repr(broker) + broker.info()
    assert broker.info() == f"Disque 1.0-rc1 at {disque_server.node}"


# -- leases ---------------------------------------------------------------------------------------


def test_a_lease_begins_when_it_is_leased_and_not_when_the_job_was_queued(
    disque_server: DisqueServer, console: Console
) -> None:
    broker = opener("disque", **disque_server.options)(lease=2.5)  # which is three seconds, give or take a half
    broker.enqueue(messages("one"))
    ((_, id, _),) = console("QPEEK", f"django_cluster:tests:{broker.queue}", 1)
    eventually(lambda: console.job(id)["next-requeue-within"] < 1500)

    (held,) = receipts(broker.lease(1))

    assert console.job(held)["next-requeue-within"] > 2000
    broker.close()


def test_what_is_refunded_counts_as_a_nack_and_what_ran_as_a_delivery(broker: Broker, console: Console) -> None:
    broker.enqueue(messages("one"))

    broker.release(broker.lease(1), refund_attempt=True)
    broker.release(broker.lease(1))

    (delivery,) = broker.lease(1)
    job = console.job(delivery.receipt)
    assert (job["nacks"], job["additional-deliveries"], delivery.attempt) == (1, 1, 2)


def test_the_copy_of_a_job_that_waits_keeps_its_attempts(broker: Broker) -> None:
    broker.enqueue(messages("one"))
    broker.release(broker.lease(1))

    broker.release(broker.lease(1), delay=0.2)

    assert [(each.payload, each.attempts, each.leased) for each in broker.peek()] == [("one", 2, False)]
    (delivery,) = lease_all(broker, 1)
    assert (delivery.payload, delivery.attempt) == ("one", 3)
    assert broker.size().total == 1


def test_in_the_second_half_of_its_life_a_job_is_held_no_longer(broker: Broker, console: Console) -> None:
    console("ADDJOB", f"django_cluster:tests:{broker.queue}", "0:short", 0, "RETRY", 60, "TTL", 2)
    held = receipts(broker.lease(1))

    assert list(broker.renew(held)) == []
    eventually(lambda: list(broker.renew(held)) == held)


def test_a_job_that_others_have_added_is_leased_as_it_is(broker: Broker, console: Console) -> None:
    console("ADDJOB", f"django_cluster:tests:{broker.queue}", "no count: before it", 0, "RETRY", 60)

    (delivery,) = broker.lease(1)

    assert (delivery.payload, delivery.attempt) == ("no count: before it", 1)


def test_what_a_node_refuses_is_said_with_how_many_were_sent(broker: Broker, console: Console) -> None:
    assert isinstance(broker, DisqueBroker)
    addition = broker._addition
    refused = [*addition("two", 0, 0.0), "REPLICATE", 3]
    setattr(broker, "_addition", lambda payload, *rest: refused if payload == "two" else addition(payload, *rest))  # noqa: B010

    with pytest.raises(BrokerUnavailable, match="NOREPL") as caught:
        broker.enqueue(messages("one", "two"))

    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__notes__ == ["1 of 2 messages have been sent."]
