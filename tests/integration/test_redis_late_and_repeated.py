"""Failures of Redis: late claims, repeated calls, a full server, an old server, a silent network."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from redis import Redis

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message, QueueSize
from django_cluster.brokers.redis import RedisBroker
from django_cluster.brokers.redis_errors import is_not_primary
from django_cluster.brokers.redis_scripts import LEASE
from django_cluster.errors import BrokerUnavailable
from django_cluster.testing.contracts import deliveries_of, eventually, lease_all, payloads, receipts
from tests.brokers import opener
from tests.conftest import wait_until
from tests.servers import RedisCluster, RedisServer, require
from tests.servers.tunnel import Tunnel


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[Broker]:
    broker = opener("redis", url=redis_server.url)()
    yield broker
    broker.purge()
    broker.close()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    require("redis")
    server = RedisServer().start()
    yield server
    server.stop()


def far_from(tunnel: Tunnel, broker: Broker, **changes: Any) -> RedisBroker:
    """Another broker for the same queue, at the other end of a tunnel."""
    options = {"url": f"redis://127.0.0.1:{tunnel.port}/0?socket_timeout=1"}
    return RedisBroker(replace(broker.settings, options=options, **changes))


def wait_until_as_late_as(moment: float) -> None:
    """For what time alone brings about: the end of a lease."""
    wait_until(lambda: time.monotonic() >= moment, 30)


# -- late -------------------------------------------------------------------------------------------


def test_the_server_refuses_a_claim_that_it_carries_out_too_late(redis_server: RedisServer, broker: Broker) -> None:
    with Tunnel(redis_server.port, LEASE.sha.encode()) as tunnel:
        far = far_from(tunnel, broker, lease=1.0)
        broker.enqueue([Message("one"), Message("two")])
        started = time.monotonic()
        held = receipts(far.lease(1, not_after=started + 60))

        tunnel.to_delay = 1
        far._connection.client.connection_pool.reset()
        claim = LEASE, "late:1", 10, 1000, far._clock.to_server_ms(started + 0.9)
        with pytest.raises(BrokerUnavailable):
            far._run(*claim, again=False)
        while time.monotonic() < started + 1.2:  # somebody is there: this is no pause of the server
            broker.renew(["of nobody"])
        tunnel.deliver()

        assert broker.size() == QueueSize(ready=2, delayed=0, leased=0)
        assert list(far.renew(held)) == []
        assert broker.size() == QueueSize(ready=1, delayed=0, leased=1)
        far.close()


def test_after_a_refused_claim_nothing_is_claimed_before_a_later_moment_is_named(broker: Broker) -> None:
    assert isinstance(broker, RedisBroker)
    broker.enqueue([Message("one")])
    soon = time.monotonic() + 30
    broker.lease(0, not_after=soon)
    broker._clock._ahead -= 60_000  # as if the clock of the server had been set forward by a minute

    assert list(broker.lease(1, not_after=soon)) == []
    assert list(broker.lease(1, wait=10, not_after=soon)) == []
    assert time.monotonic() < soon - 10
    assert payloads(broker.lease(1, not_after=soon + 1)) == ["one"]


def test_after_a_pause_of_the_server_leases_are_spared_until_their_holders_can_renew_them(
    own_server: RedisServer,
) -> None:
    open_another = opener("redis", url=own_server.url)
    one, other = open_another(lease=2.0), open_another(lease=2.0)
    one.enqueue([Message("held"), Message("left")])
    held, left = receipts(one.lease(1)), receipts(one.lease(1))

    with own_server.paused():
        wait_until_as_late_as(time.monotonic() + 2.5)

    assert list(other.lease(2)) == []  # other clusters come first, and claim
    assert list(one.renew(held)) == []
    (again,) = lease_all(other, 1)
    assert (again.payload, again.attempt) == ("left", 2)
    assert list(one.renew(held + left)) == left
    for broker in (one, other):
        broker.close()


def test_an_acknowledgement_after_the_end_of_a_lease_deletes_a_message_without_another_lease(
    redis_server: RedisServer,
) -> None:
    broker = opener("redis", url=redis_server.url)(lease=0.2)
    broker.enqueue([Message("one")])
    held = receipts(broker.lease(1))
    eventually(lambda: broker.size().leased == 0)

    broker.acknowledge(held)

    assert broker.size().total == 0
    broker.close()


# -- twice ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "messages",
    [
        [Message("one")],
        [Message(str(n)) for n in range(20)],
        [Message("low", -1), Message("high", 1), Message("later", not_before=time.time() + 3600)],
        [Message("later", not_before=time.time() + 3600)],
    ],
    ids=["one", "many", "mixed", "delayed"],
)
@pytest.mark.parametrize("answers", [1, 2])
def test_a_call_to_send_whose_answer_is_lost_sends_once(
    redis_server: RedisServer, broker: Broker, messages: list[Message], answers: int
) -> None:
    with Tunnel(redis_server.port, b"EVALSHA") as tunnel:
        far = far_from(tunnel, broker)
        far.enqueue([Message("first")])  # now the server knows the script

        tunnel.to_lose = answers
        far.enqueue(messages)
        far.enqueue([Message("last")])

        assert tunnel.lost == answers
        assert broker.size().total == 2 + len(messages)
        far.close()


def test_threads_that_send_at_the_same_time_while_answers_are_lost_send_everything_once(
    redis_server: RedisServer, broker: Broker
) -> None:
    with Tunnel(redis_server.port, b"EVALSHA") as tunnel:
        far = far_from(tunnel, broker)
        far.enqueue([Message("first")])

        def send(name: int) -> None:
            for number in range(30):
                tunnel.to_lose = max(tunnel.to_lose, number % 3 == 0)
                far.enqueue([Message(f"{name}:{number}")])

        threads = [Thread(target=send, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert tunnel.lost
        sent = payloads(lease_all(broker, 121))
        assert sorted(sent) == sorted(["first", *(f"{name}:{number}" for name in range(4) for number in range(30))])
        assert broker.size().ready == 0
        far.close()


def test_a_forked_child_is_another_sender(broker: Broker) -> None:
    broker.enqueue([Message("one"), Message("two")])
    broker.enqueue([Message("three")])

    if (pid := os.fork()) == 0:
        try:
            broker.enqueue([Message("of the child")])
        finally:
            os._exit(0)
    os.waitpid(pid, 0)

    assert broker.size().ready == 4


# -- full -------------------------------------------------------------------------------------------


def check_that_it_drains(broker: Broker, servers: list[RedisServer]) -> None:
    broker.enqueue([Message(str(number)) for number in range(400)])
    consoles = [Redis.from_url(server.url) for server in servers]
    try:
        for console in consoles:
            console.config_set("maxmemory", 1)
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            broker.enqueue([Message("too much")])
        back = receipts(broker.lease(30))
        assert list(broker.renew(back)) == []
        broker.release(deliveries_of(back[:10]))
        broker.release(deliveries_of(back[10:20]), delay=0.01)
        broker.release([], refund_attempt=True)
        broker.acknowledge(back[20:])
        broker.cancel([broker.peek(1)[0].key])
        drained = lease_all(broker, 389)
        broker.acknowledge(receipts(drained))
        assert broker.size().total == 0
    finally:
        for console in consoles:
            console.config_set("maxmemory", 0)
            console.close()


def test_a_full_server_drains_and_refuses_only_what_is_sent(own_server: RedisServer) -> None:
    broker = opener("redis", url=own_server.url)()
    check_that_it_drains(broker, [own_server])
    broker.close()


def test_a_full_cluster_of_redis_drains_and_refuses_only_what_is_sent(redis_cluster: RedisCluster) -> None:
    broker = opener("redis", nodes=[("127.0.0.1", node.port) for node in redis_cluster.nodes])()
    check_that_it_drains(broker, redis_cluster.nodes)
    broker.close()


# -- another server ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "so"),
    [
        ("READONLY You can't write against a read only replica.", True),
        (
            "Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only slave.",
            True,
        ),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", True),
        ("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", True),
        ("LOADING Redis is loading the dataset in memory", True),
        ("CLUSTERDOWN The cluster is down", True),
        ("NOREPLICAS Not enough good replicas to write.", True),
        ("max number of clients reached", True),
        ("OOM command not allowed when used memory > 'maxmemory'.", False),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", False),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", False),
    ],
)
def test_which_answers_mean_another_server(words: str, so: bool) -> None:
    assert is_not_primary(Exception(words)) is so


def test_a_server_that_has_become_a_replica_is_left_immediately_by_every_verb(own_server: RedisServer) -> None:
    new = RedisServer().start()
    with Tunnel(own_server.port, b"-") as tunnel:
        broker = opener("redis", url=f"redis://127.0.0.1:{tunnel.port}/0")()
        verbs = {
            "enqueue": lambda: broker.enqueue([Message("one")]),
            "mixed": lambda: broker.enqueue([Message("one", 1), Message("two", 2)]),
            "lease": lambda: broker.lease(1),
            "wait": lambda: broker.lease(1, wait=0.01),
            "renew": lambda: broker.renew(["x"]),
            "acknowledge": lambda: broker.acknowledge(["x"]),
            "release": lambda: broker.release(deliveries_of(["x"])),
            "cancel": lambda: broker.cancel(["x"]),
            "purge": broker.purge,
        }
        own_server.says("replicaof", "127.0.0.1", str(new.port))
        for name, verb in verbs.items():
            tunnel.retarget(own_server.port)
            broker.close()
            broker.ping()
            tunnel.retarget(new.port)
            try:
                verb()
            except BrokerUnavailable as error:
                pytest.fail(f"{name}: {error}")
        broker.close()
    new.stop()


def test_a_network_that_forgets_connections_costs_one_time_out(redis_server: RedisServer, broker: Broker) -> None:
    with Tunnel(redis_server.port, b"-") as tunnel:
        far = far_from(tunnel, broker)
        threads = [Thread(target=far.size) for _ in range(4)]  # so that the pool has several connections
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        broker.enqueue([Message("one")])

        tunnel.forget()
        with pytest.raises(BrokerUnavailable):
            far.lease(1)

        started = time.monotonic()
        assert payloads(far.lease(1)) == ["one"]
        for _ in range(4):
            far.ping()
        assert time.monotonic() - started < 1.0
        far.close()
