"""What is peculiar to the RabbitMQ broker: options, connections that break, delays, and messages that come again."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

import amqp
import pytest
from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Delivery, Message
from django_cluster.brokers.rabbitmq import RabbitBroker
from django_cluster.brokers.rabbitmq_options import RabbitOptions
from django_cluster.brokers.rabbitmq_publisher import DELAY_QUEUE_SECONDS, level_of
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, BrokerUnavailable
from django_cluster.testing.contracts import Opener, deliveries_of, eventually, lease_all, messages, payloads, receipts
from tests.brokers import certificate_for, opener
from tests.servers import RabbitServer, require
from tests.servers.base import free_port, listens


@pytest.fixture
def open_another(rabbitmq_server: RabbitServer) -> Opener:
    return opener("rabbitmq", url=rabbitmq_server.url)


@pytest.fixture
def broker(open_another: Opener) -> Iterator[Broker]:
    broker = open_another()
    yield broker
    broker.purge()
    broker.close()


@pytest.fixture
def console(rabbitmq_server: RabbitServer) -> Iterator[Any]:
    """Another client of the same server."""
    with amqp.Connection(f"127.0.0.1:{rabbitmq_server.port}") as connection:
        yield connection.channel()


@pytest.fixture(scope="module")
def own_server() -> Iterator[RabbitServer]:
    """A server that tests may hurt; each leaves it running."""
    require("rabbitmq")
    server = RabbitServer().start()
    yield server
    server.stop()


def queue_of(broker: Broker) -> str:
    return f"django_cluster.{broker.settings.name}.{broker.queue}"


def lends(broker: Broker, came: list[Delivery]) -> bool:
    """Whether it lends something; a quorum queue is without a leader for some seconds after a restart."""
    try:
        came += broker.lease(1)
    except BrokerUnavailable:
        return False
    return bool(came)


def cut(broker: Broker) -> None:
    """The connection that holds what is lent ends without a word, as when a process is killed."""
    assert isinstance(broker, RabbitBroker)
    broker._consumer_connection.drop()


# -- options --------------------------------------------------------------------------------------


def test_opening_a_broker_opens_no_connection() -> None:
    opener("rabbitmq", url="amqp://nobody.invalid")()


def test_a_url_names_the_node_the_user_and_the_virtual_host() -> None:
    options = RabbitOptions.of({"url": "amqps://me:se%2Fcret@rabbit/my%2Fplace?heartbeat=7"})

    assert options.nodes == (
        {
            "host": "rabbit:5671",
            "userid": "me",
            "password": "se/cret",
            "virtual_host": "my/place",
            "ssl": {"server_hostname": "rabbit"},
        },
    )
    assert options.heartbeat == 7


def test_what_stands_beside_the_url_wins() -> None:
    (node,) = RabbitOptions.of({"url": "amqp://me@rabbit:1234", "password": "better", "vhost": "there"}).nodes

    assert (node["host"], node["userid"], node["password"], node["virtual_host"]) == (
        "rabbit:1234", "me", "better", "there",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hots": "x"}, "hots is not known"),
        ({"url": "amqp://h?beat=1"}, "beat in the URL is not known"),
        ({"url": "http://h"}, "begins with amqp"),
        ({"url": "amqp://h:port"}, "cannot be read"),
        ({"heartbeat": -1}, "heartbeat is a whole number of at least 0"),
        ({"prefetch_count": 0}, "prefetch is a whole number of at least 1"),
        ({"port": "x"}, "port is a whole number of at least 1"),
        ({"host": 5}, "host must be text, not int"),
        ({"password": 5}, "password must be text, not int"),
        ({"url": 5}, "url must be text, or a list of texts"),
        ({"url": [5]}, "url must be text, or a list of texts"),
        ({"queue_type": "stream"}, "queue_type is 'quorum' or 'classic'"),
        ({"ssl": {"ca_cert": "x"}}, "ssl: ca_cert is not known .did you mean .ca_certs"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        opener("rabbitmq", **options)()


@pytest.mark.parametrize(("lease", "heartbeat"), [(1, 5), (10, 5), (30, 15), (600, 30)])
def test_the_heartbeat_follows_the_lease_where_that_makes_sense(lease: float, heartbeat: int) -> None:
    assert RabbitOptions.of({}, lease).heartbeat == heartbeat
    assert RabbitOptions.of({"heartbeat": 7}, lease).heartbeat == 7


def test_secrets_are_not_shown(rabbitmq_server: RabbitServer) -> None:
    section = BrokerSettings(kind="rabbitmq", options={"url": "amqp://me:hush@127.0.0.1:1"})
    broker = RabbitBroker(section)

    with pytest.raises(BrokerUnavailable) as caught:
        broker.ping()

    assert "hush" not in repr(section) + repr(RabbitOptions.of(section.options)) + str(caught.value)


def test_a_wrong_password_is_refused_and_not_waited_for(rabbitmq_server: RabbitServer) -> None:
    broker = opener("rabbitmq", url=rabbitmq_server.url, password="wrong")()

    with pytest.raises(BrokerRefused, match=r"ACCESS_REFUSED|403"):
        broker.ping()


@pytest.fixture(scope="module")
def tls_server() -> Iterator[tuple[str, str]]:
    """A server that encrypts and is called rabbit.example.org: its URL, and the file of its certificate."""
    require("rabbitmq")
    server, port = RabbitServer(), free_port()
    try:
        key, certificate = certificate_for("DNS:rabbit.example.org", server.folder)
        for file in (key, certificate):
            file.chmod(0o644)  # for the account that runs the server
        files = {"cacertfile": certificate, "certfile": certificate, "keyfile": key}
        server.lines = (
            f"listeners.ssl.1 = 127.0.0.1:{port}",
            *(f"ssl_options.{option} = {file}" for option, file in files.items()),
        )
        server.start()
        eventually(lambda: listens(port))  # it opens one listener after the other
        yield f"amqps://guest:guest@127.0.0.1:{port}/", str(certificate)
    finally:
        server.stop()


def test_tls_carries_messages_both_ways(tls_server: tuple[str, str]) -> None:
    url, certificate = tls_server
    broker = opener("rabbitmq", url=url, ssl={"ca_certs": certificate, "server_hostname": "rabbit.example.org"})()
    large = ["x" * 300_000, "y" * 300_000, "z"]

    broker.enqueue(messages(*large))
    deliveries = lease_all(broker, 3)
    assert payloads(deliveries) == large
    assert list(broker.renew(receipts(deliveries))) == []
    broker.acknowledge(receipts(deliveries))
    assert broker.size().total == 0
    broker.close()


@pytest.mark.parametrize(
    ("trusted", "words"), [(False, "self-signed certificate"), (True, "certificate is not valid for '127.0.0.1'")]
)
def test_a_certificate_of_an_unknown_signer_or_for_another_name_is_not_taken(
    tls_server: tuple[str, str], trusted: bool, words: str
) -> None:
    """Else whoever has any good certificate could stand between us and the server, and be told the password."""
    url, certificate = tls_server
    broker = opener("rabbitmq", url=url, ssl={"ca_certs": certificate} if trusted else True)()

    with pytest.raises(BrokerUnavailable, match=words):
        broker.ping()


def test_whoever_says_so_is_content_with_any_certificate(tls_server: tuple[str, str]) -> None:
    broker = opener("rabbitmq", url=tls_server[0], ssl={"cert_reqs": ssl.CERT_NONE})()

    broker.ping()
    broker.close()


def test_the_next_node_is_asked_when_one_is_unavailable(rabbitmq_server: RabbitServer) -> None:
    broker = opener("rabbitmq", url=["amqp://127.0.0.1:1", rabbitmq_server.url])()

    broker.enqueue(messages("one"))

    assert payloads(lease_all(broker, 1)) == ["one"]
    broker.purge()
    broker.close()


def test_messages_may_go_through_an_exchange(rabbitmq_server: RabbitServer) -> None:
    broker = opener("rabbitmq", url=rabbitmq_server.url, exchange_name="tests of an exchange")()

    broker.enqueue([*messages("one"), Message("later", not_before=time.time() + 3600)])

    assert payloads(lease_all(broker, 1)) == ["one"]
    assert broker.size().delayed == 1
    broker.purge()
    broker.close()


def test_a_classic_queue_serves_as_well(rabbitmq_server: RabbitServer) -> None:
    broker = opener("rabbitmq", url=rabbitmq_server.url, queue_type="classic")()
    broker.enqueue([*messages("one", "two"), Message("later", not_before=time.time() + 3600)])

    held = receipts(lease_all(broker, 2))
    broker.acknowledge(held[:1])
    broker.release(deliveries_of(held[1:]))

    assert lease_all(broker, 1)[0].attempt == 2
    assert broker.purge() == 2
    broker.close()


def test_a_queue_that_is_there_with_other_arguments_is_taken_as_it_is(open_another: Opener, console: Any) -> None:
    broker = open_another()
    console.queue_declare(queue_of(broker), durable=True, auto_delete=False, arguments={"x-max-length": 10})

    broker.enqueue(messages("one"))

    assert payloads(lease_all(broker, 1)) == ["one"]
    broker.purge()
    broker.close()


# -- messages that come again ---------------------------------------------------------------------


def test_what_runs_when_the_connection_breaks_is_not_leased_again(open_another: Opener) -> None:
    broker = open_another(lease=0.5)
    broker.enqueue(messages("one"))
    held = receipts(broker.lease(1))

    cut(broker)
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        assert list(broker.lease(1, wait=0.1)) == []
        assert list(broker.renew(held)) == []

    broker.acknowledge(held)
    assert broker.size().total == 0
    cut(broker)
    assert list(broker.lease(1, wait=0.1)) == []
    broker.close()


def test_a_successor_takes_over_what_its_predecessor_has_leased(open_another: Opener) -> None:
    predecessor, successor = open_another(), open_another(lease=0.5)
    predecessor.enqueue(messages("running", "settled"))
    running, settled = receipts(lease_all(predecessor, 2))

    cut(predecessor)
    successor.renew([running])
    successor.acknowledge([settled])
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        assert list(successor.lease(2, wait=0.1)) == []
        successor.renew([running])

    successor.acknowledge([running])
    assert successor.size().total == 0
    successor.close()


def test_what_no_process_claims_comes_back_after_a_lease_and_counts(open_another: Opener) -> None:
    predecessor, successor = open_another(), open_another(lease=1.0)
    predecessor.enqueue(messages("lost"))
    lease_all(predecessor, 1)

    cut(predecessor)
    started = time.monotonic()
    (delivery,) = lease_all(successor, 1)

    assert time.monotonic() - started >= 0.9
    assert (delivery.payload, delivery.attempt) == ("lost", 2)
    successor.purge()
    successor.close()


def test_what_is_released_while_its_connection_is_lost_goes_back_when_it_is_redelivered(open_another: Opener) -> None:
    predecessor, successor = open_another(), open_another()
    predecessor.enqueue(messages("one"))
    held = receipts(lease_all(predecessor, 1))

    cut(predecessor)
    successor.release(deliveries_of(held), refund_attempt=True)
    (delivery,) = lease_all(successor, 1)

    assert delivery.attempt == 1
    successor.purge()
    successor.close()


def test_new_messages_flow_while_others_wait_to_be_claimed(open_another: Opener) -> None:
    predecessor, successor = open_another(), open_another(lease=30)
    predecessor.enqueue(messages(*[f"old {number}" for number in range(20)]))
    lease_all(predecessor, 20)

    cut(predecessor)
    predecessor.enqueue(messages("new"))

    assert payloads(lease_all(successor, 1)) == ["new"]
    successor.purge()
    successor.close()
    predecessor.close()


def test_what_had_come_and_was_not_leased_is_immediately_there_for_others_after_a_close(open_another: Opener) -> None:
    broker, other = open_another(lease=30), open_another(lease=30)
    broker.enqueue([Message("soon", not_before=time.time() + 1)])
    assert list(broker.lease(1)) == []  # it has come, and waits for its time

    broker.close()

    assert payloads(other.lease(1, wait=10)) == ["soon"]
    other.purge()
    other.close()


def test_a_listening_broker_says_when_something_comes(broker: Broker, open_another: Opener) -> None:
    import select

    assert list(broker.lease(10)) == []
    descriptor = broker.fileno()
    assert descriptor is not None
    assert list(broker.lease(10)) == []
    sender = open_another()

    sender.enqueue(messages("one"))

    assert select.select([descriptor], [], [], 10)[0]
    assert payloads(broker.lease(10)) == ["one"]
    sender.close()


# -- what comes as a stream -----------------------------------------------------------------------


def test_what_has_come_between_two_calls_does_not_keep_the_rest_away(broker: Broker, open_another: Opener) -> None:
    broker.fileno()
    assert list(broker.lease(1)) == []  # it waits for one message
    sender = open_another()
    sender.enqueue(messages("one", "two"))

    def has_come() -> bool:
        broker.keep_alive()
        return sender.size().ready < 2

    eventually(has_come)

    assert payloads(lease_all(broker, 2)) == ["one", "two"]
    sender.close()


def test_a_burst_that_is_still_coming_does_not_count_as_leased(broker: Broker, open_another: Opener) -> None:
    """A consumer that was cancelled in mid-stream would have its messages returned, as if they had been lent."""
    broker.fileno()
    sender = open_another()
    for _ in range(10):
        assert list(broker.lease(100)) == []
        burst = Thread(target=sender.enqueue, args=[messages(*[str(number) for number in range(200)])])

        burst.start()
        lent = lease_all(broker, 200)

        burst.join()
        assert [delivery.attempt for delivery in lent] == [1] * 200
        broker.acknowledge(receipts(lent))
    sender.close()


def test_of_two_that_want_much_none_takes_what_the_other_has_for_leased(open_another: Opener) -> None:
    sender = open_another()
    sender.enqueue(messages(*[str(number) for number in range(2000)]))
    lent: list[Delivery] = []

    def work() -> None:
        one = open_another(queue=sender.queue)
        one.fileno()
        while len(lent) < 2000 and time.monotonic() < end:
            found = one.lease(70)
            lent.extend(found)
            one.acknowledge(receipts(found))
            one.keep_alive()
        one.stop_prefetch()
        one.close()

    end = time.monotonic() + 30
    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(int, payloads(lent))) == list(range(2000))
    assert {delivery.attempt for delivery in lent} == {1}
    sender.purge()
    sender.close()


def test_a_broker_that_rests_leaves_what_comes_to_others(broker: Broker, open_another: Opener) -> None:
    broker.fileno()
    assert list(broker.lease(10)) == []
    other = open_another(lease=30)
    other.enqueue(messages("one", "two", "three"))

    def rests() -> bool:
        broker.keep_alive()
        broker.stop_prefetch()
        return other.size().ready == 3

    eventually(rests)

    lent = lease_all(other, 3)
    assert {(delivery.payload, delivery.attempt) for delivery in lent} == {("one", 1), ("two", 1), ("three", 1)}
    other.acknowledge(receipts(lent))
    broker.keep_alive()
    assert list(broker.lease(10)) == []
    other.close()


# -- delays ---------------------------------------------------------------------------------------


def test_a_delay_begins_in_the_longest_queue_that_is_not_too_long() -> None:
    assert [level_of(seconds) for seconds in (-5, 0, 2, 2.1, 4, 7.9, 3600)] == [0, 0, 0, 2, 4, 4, 2048]
    assert level_of(10**9) == DELAY_QUEUE_SECONDS[-1]


def test_a_longer_delay_passes_through_a_queue_of_delays(broker: Broker) -> None:
    due = time.time() + 3.0
    broker.enqueue([Message("later", not_before=due)])
    assert broker.size().delayed == 1

    (delivery,) = lease_all(broker, 1)

    assert time.time() >= due
    assert delivery.attempt == 1


def test_a_message_that_comes_out_of_one_queue_of_delays_too_early_goes_into_the_next(broker: Broker) -> None:
    broker.enqueue([Message("later", not_before=time.time() + 3600)])
    assert isinstance(broker, RabbitBroker)
    channel = broker._publisher_connection.channel
    letter = channel.basic_get(f"{queue_of(broker)}.delay.2048")
    channel.basic_publish(letter, routing_key=queue_of(broker))  # as if its time there were over
    channel.basic_ack(letter.delivery_tag)

    assert list(broker.lease(1, wait=0.5)) == []

    assert broker.size().delayed == 1


def test_delays_that_another_process_has_made_are_seen_soon(broker: Broker, open_another: Opener) -> None:
    other = open_another()
    assert other.size().delayed == 0

    broker.enqueue([Message("later", not_before=time.time() + 3600)])

    eventually(lambda: other.size().delayed == 1)
    broker.purge()
    assert other.size().delayed == 0
    other.close()


def test_what_was_done_while_its_connection_was_lost_is_fetched_and_acknowledged_by_who_rests(
    broker: Broker, open_another: Opener
) -> None:
    broker.enqueue(messages("done", "waiting"))
    held = receipts(broker.lease(1))
    cut(broker)
    broker.acknowledge(held)
    assert broker.unconfirmed_acks == 1

    def settles() -> bool:
        broker.stop_prefetch()
        return not broker.unconfirmed_acks

    eventually(settles)
    broker.close()

    assert payloads(lease_all(open_another(queue=broker.queue), 1)) == ["waiting"]


# -- a server that goes away ----------------------------------------------------------------------


def test_what_was_confirmed_survives_a_kill_and_what_is_leased_is_taken_over(own_server: RabbitServer) -> None:
    broker = opener("rabbitmq", url=own_server.url)()
    broker.enqueue(messages("held", "waiting"))
    held = receipts(broker.lease(1))
    eventually(own_server.remembers_its_queues)

    own_server.kill()
    with pytest.raises(BrokerUnavailable):
        broker.lease(1)
    own_server.restart()
    came: list[Delivery] = []
    eventually(lambda: came or lends(broker, came))

    assert list(broker.renew(held)) == []
    assert payloads(came) == ["waiting"]
    broker.acknowledge(held)
    eventually(lambda: not broker.lease(1) and broker.size().total == 1)
    broker.purge()
    broker.close()


def test_a_sender_connects_anew_after_a_restart_and_nothing_is_doubled(own_server: RabbitServer) -> None:
    broker = opener("rabbitmq", url=own_server.url)()
    broker.enqueue(messages("before"))

    own_server.restart()
    came: list[Delivery] = []
    eventually(lambda: came or lends(opener("rabbitmq", url=own_server.url, prefetch=1)(queue=broker.queue), came))
    broker.enqueue(messages("after"))

    assert payloads(came) + payloads(lease_all(broker, 1)) == ["before", "after"]
    assert list(broker.lease(1)) == []
    broker.purge()
    broker.close()


@pytest.mark.parametrize("verb", ["enqueue", "lease", "acknowledge", "ping"])
def test_a_server_that_hangs_is_said_in_time(own_server: RabbitServer, verb: str) -> None:
    broker = opener("rabbitmq", url=own_server.url)()
    broker.enqueue(messages("one", "two"))
    held = receipts(broker.lease(1))
    calls = {
        "enqueue": lambda: broker.enqueue(messages("x")),
        "lease": lambda: broker.lease(1),
        "acknowledge": lambda: broker.acknowledge(held),
        "ping": broker.ping,
    }
    started = time.monotonic()

    with own_server.paused(), pytest.raises(BrokerUnavailable):
        calls[verb]()

    assert time.monotonic() - started < 10
    broker.purge()
    broker.close()


def test_a_silent_server_is_given_up_by_the_heart(own_server: RabbitServer) -> None:
    broker = opener("rabbitmq", url=own_server.url, heartbeat=1)()
    broker.enqueue(messages("one"))
    broker.lease(1)

    def is_given_up() -> bool:
        try:
            broker.keep_alive()
        except BrokerUnavailable:
            return True
        return False

    with own_server.paused():
        eventually(is_given_up)
    broker.purge()
    broker.close()
