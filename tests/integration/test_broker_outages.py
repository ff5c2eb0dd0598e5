"""Brokers other than Redis when the network or the server fails without a word: every wait has an end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import pytest

from django_cluster.brokers.base import Broker
from django_cluster.errors import BrokerError, BrokerUnavailable
from django_cluster.testing.chaos.plan import FaultKind
from django_cluster.testing.chaos.proxy import Proxy, UpstreamAddress
from django_cluster.testing.contracts import Opener, deliveries_of, eventually, lease_all, messages, payloads, receipts
from tests.brokers import opener
from tests.servers import DisqueServer, IronServer, NxServer, RabbitServer, SqsServer, require

LONGEST_WAIT = 15.0
"""Seconds within which each verb has to end, whatever the network does."""

OPENERS: dict[str, Callable[[int, dict[str, Any]], Opener]] = {
    "disque": lambda port, options: opener("disque", **{**options, "nodes": (f"127.0.0.1:{port}",)}),
    "iron_mq": lambda port, options: opener("iron_mq", **{**options, "port": port}),
    "mongo": lambda port, _: opener("mongo", kwargs={"host": f"mongodb://127.0.0.1:{port}"}, database="tests"),
    "rabbitmq": lambda port, _: opener("rabbitmq", url=f"amqp://guest:guest@127.0.0.1:{port}/"),
    "sqs": lambda port, options: opener("sqs", **{**options, "endpoint_url": f"http://127.0.0.1:{port}"}),
}
FIXTURES = {
    "disque": "disque_server",
    "iron_mq": "ironmq_server",
    "mongo": "nx_server",
    "rabbitmq": "rabbitmq_server",
    "sqs": "sqs_server",
}


@pytest.fixture(params=sorted(OPENERS))
def way(request: pytest.FixtureRequest) -> Iterator[tuple[Proxy, Opener]]:
    """A network that can be hurt, and brokers behind it."""
    server = request.getfixturevalue(FIXTURES[request.param])
    proxy = Proxy([UpstreamAddress("127.0.0.1", server.port)], seed=1)
    proxy.start()
    yield proxy, OPENERS[request.param](proxy.ports[0], getattr(server, "options", {}))
    proxy.stop()


def until_it_works(act: Callable[[], object]) -> float:
    """Seconds until it succeeds, as often as it has to be tried."""
    started = time.monotonic()
    while time.monotonic() - started < 60:
        try:
            act()
        except BrokerError:
            time.sleep(0.05)
        else:
            break
    return time.monotonic() - started


@pytest.mark.parametrize("verb", ["enqueue", "lease", "renew", "acknowledge", "ping"])
def test_forgotten_connections_are_replaced_in_time(way: tuple[Proxy, Opener], verb: str) -> None:
    proxy, open_another = way
    broker = open_another(lease=60)
    broker.enqueue(messages("one", "two", "three"))
    held = receipts(broker.lease(1))
    verbs: dict[str, Callable[[], object]] = {
        "enqueue": lambda: broker.enqueue(messages("four")),
        "lease": lambda: broker.lease(1),
        "renew": lambda: broker.renew(held),
        "acknowledge": lambda: broker.acknowledge(held),
        "ping": broker.ping,
    }

    proxy.disturb(FaultKind.FORGET, 0)
    took = until_it_works(verbs[verb])

    assert took < LONGEST_WAIT
    until_it_works(broker.purge)
    broker.close()


@contextmanager
def own(kind: str) -> Iterator[tuple[Any, Opener]]:
    """A server that may be hurt, and how to open brokers on it."""
    classes: dict[str, Any] = {"disque": DisqueServer, "iron_mq": IronServer, "mongo": NxServer, "sqs": SqsServer}
    require(classes[kind].name)
    server = classes[kind]().start()
    try:
        yield server, OPENERS[kind](server.port, getattr(server, "options", {}))
    finally:
        server.stop()


@pytest.mark.parametrize("kind", ["disque", "iron_mq", "mongo", "sqs"])
def test_what_a_claim_has_leased_too_late_is_released_at_no_cost(kind: str) -> None:
    with own(kind) as (server, open_another):
        broker = open_another(lease=60)
        broker.enqueue(messages("one"))
        broker.size()
        server.pause()
        Timer(2.0, server.resume).start()

        assert list(broker.lease(1, not_after=time.monotonic() + 0.5)) == []

        (again,) = lease_all(broker, 1)
        assert (again.payload, again.attempt) == ("one", 1)
        broker.close()


# -- a lease that has ended, and that nobody else was given ------------------------------------------


@pytest.mark.parametrize("verb", ["renew", "acknowledge"])
def test_mongodb_an_ended_lease_that_no_other_has_taken_is_still_ours(nx_server: NxServer, verb: str) -> None:
    open_another = OPENERS["mongo"](nx_server.port, {})
    broker, other = open_another(lease=0.4), open_another(lease=60)
    broker.enqueue(messages("one"))
    held = receipts(broker.lease(1))
    eventually(lambda: other.size().ready == 1)
    other._promote(other._connection.now())  # type: ignore[attr-defined]  # another cluster has made it ready

    if verb == "renew":
        long = open_another(lease=60)
        assert list(long.renew(held)) == []
        assert list(other.lease(1)) == []
        long.close()
    broker.acknowledge(held)

    assert other.size().total == 0
    broker.close()
    other.close()


def test_ironmq_an_ended_reservation_comes_back_to_who_had_it(ironmq_server: IronServer) -> None:
    broker = opener("iron_mq", **ironmq_server.options)(lease=1)
    broker.enqueue(messages("one"))
    held = receipts(broker.lease(1))
    eventually(lambda: is_ready(broker))

    assert list(broker.renew(held)) == []
    assert list(broker.lease(1)) == []
    broker.acknowledge(held)

    assert broker.size().total == 0
    broker.close()


def test_ironmq_a_reservation_that_others_have_taken_is_lost(ironmq_server: IronServer) -> None:
    open_another = opener("iron_mq", **ironmq_server.options)
    broker, other = open_another(lease=1), open_another(lease=60)
    broker.enqueue(messages("one"))
    held = receipts(broker.lease(1))
    theirs = receipts(lease_all(other, 1))

    assert list(broker.renew(held)) == held
    assert list(other.renew(theirs)) == []
    other.purge()
    broker.close()
    other.close()


def test_ironmq_what_was_done_after_its_reservation_had_ended_is_not_run_again(ironmq_server: IronServer) -> None:
    broker = opener("iron_mq", **ironmq_server.options)(lease=1)
    broker.enqueue(messages("one", "two"))
    held = receipts(broker.lease(1))
    eventually(lambda: is_ready(broker))

    broker.acknowledge(held)

    assert payloads(lease_all(broker, 1)) == ["two"]
    assert list(broker.lease(1)) == []
    broker.purge()
    broker.close()


def is_ready(broker: Broker) -> bool:
    """Whether no reservation of this broker's lasts."""
    return broker.size().leased == 0


def test_disque_what_has_come_back_and_no_process_has_taken_is_acknowledged(disque_server: DisqueServer) -> None:
    broker = opener("disque", **disque_server.options)(lease=1)
    broker.enqueue(messages("one"))
    held = receipts(broker.lease(1))
    eventually(lambda: broker.size().ready == 1)

    broker.acknowledge(held)

    assert broker.size().total == 0
    broker.close()


# -- RabbitMQ: what is sent again ----------------------------------------------------------


def test_rabbitmq_a_name_that_is_sent_again_is_leased_once(rabbitmq_server: RabbitServer) -> None:
    broker = opener("rabbitmq", url=rabbitmq_server.url)(lease=60)
    broker.enqueue_unique(messages("one"), ["n"])
    broker.enqueue_unique(messages("one"), ["n"])
    broker.enqueue(messages("end"))

    came = lease_all(broker, 2)
    broker.acknowledge(receipts(came))
    broker.enqueue_unique(messages("one"), ["n"])
    broker.enqueue(messages("last"))

    assert payloads(came) == ["one", "end"]
    assert payloads(lease_all(broker, 1)) == ["last"]
    broker.purge()
    broker.close()


def test_rabbitmq_a_copy_whose_confirmation_was_lost_is_run_once(rabbitmq_server: RabbitServer) -> None:
    """The copy is kept, nobody hears of it, and the message is given back again."""
    broker = opener("rabbitmq", url=rabbitmq_server.url)(lease=60)
    broker.enqueue(messages("one"))
    held = receipts(broker.lease(1))
    link = broker._consumer_connection  # type: ignore[attr-defined]
    publish = link.publish

    def publish_unheard(copies: Any) -> None:
        publish(copies)
        raise ConnectionResetError("the answer was lost")

    link.publish = publish_unheard
    with pytest.raises(BrokerUnavailable):
        broker.release(deliveries_of(held))
    link.publish = publish
    broker.release(deliveries_of(held))
    broker.enqueue(messages("end"))

    assert sorted(payloads(lease_all(broker, 2))) == ["end", "one"]
    assert list(broker.lease(5, wait=0.5)) == []
    broker.purge()
    broker.close()
