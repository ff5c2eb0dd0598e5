"""A Redis fail-over in which the old server keeps its connections open: clients leave it within seconds.

One server behind an address is in ``test_redis_late_and_repeated.py`` (each verb) and
``tests/e2e/test_servers_that_go_away.py`` (every process of a cluster).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from redis import Redis

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.core.settings.redis_topology import normalized
from django_cluster.errors import BrokerUnavailable
from django_cluster.testing.contracts import payloads
from tests.brokers import opener
from tests.conftest import running, wait_until
from tests.servers import RedisCluster, RedisServer, Sentinels, require
from tests.servers.base import free_port
from tests.servers.tunnel import Tunnel

SECONDS = 20.0
"""A fail-over takes about two seconds, and what follows less; a busy machine takes several times that."""


@pytest.fixture
def family() -> Iterator[Sentinels]:
    yield from running(Sentinels())


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    require("redis")
    server = RedisServer().start()
    yield server
    server.stop()


def send_until_taken(broker: Broker, payload: str) -> None:
    """Send a message; what is refused for the moment is sent again."""

    def sent() -> bool:
        with suppress(BrokerUnavailable):
            broker.enqueue([Message(payload)])
            return True
        return False

    wait_until(sent, SECONDS)


def lease_in_time(broker: Broker) -> list[str]:
    """What a pusher leases that waits for messages, whatever it is refused for the moment."""
    taken: list[str] = []

    def came() -> bool:
        with suppress(BrokerUnavailable):
            taken.extend(payloads(broker.lease(10, wait=1.0)))
        return bool(taken)

    wait_until(came, 2 * SECONDS)
    broker.close()
    return taken


def check_that_sender_and_pusher_follow(open_another: Callable[..., Broker], fail_over: Callable[[], None]) -> None:
    """Both have connections to the old server, and the pusher sleeps in one of them."""
    sender = open_another()
    pusher = open_another(queue=sender.queue)
    sender.ping()
    pusher.ping()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lease_in_time, pusher)
        fail_over()
        began = time.monotonic()
        send_until_taken(sender, "one")
        assert "one" in waiting.result(3 * SECONDS)
        assert time.monotonic() - began < SECONDS
    sender.close()


def test_a_planned_fail_over_of_sentinels_is_followed(family: Sentinels) -> None:
    def fail_over() -> None:
        family.sentinels[0].says("sentinel", "failover", family.master_name)
        wait_until(lambda: "role:master" in family.replica.says("info", "replication"), SECONDS)

    check_that_sender_and_pusher_follow(opener("redis", **normalized({"url": family.url})), fail_over)
    assert family.master.answers()


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    """A Cluster that may get another node."""
    yield from running(RedisCluster())


def test_a_node_of_a_cluster_that_hands_its_slots_to_its_replica_is_left(own_cluster: RedisCluster) -> None:
    """The old primary becomes a replica, and keeps its connections open."""
    open_another = opener("redis", **normalized({"url": own_cluster.url}))
    probe = open_another()
    key = f"{{django_cluster:{probe.settings.name}:{probe.queue}}}"
    old = own_cluster.owner(int(own_cluster.nodes[0].says("cluster", "keyslot", key)))
    new = own_cluster.with_replica(old)

    def fail_over() -> None:
        new.says("cluster", "failover")
        wait_until(lambda: "role:master" in new.says("info", "replication"), SECONDS)

    check_that_sender_and_pusher_follow(lambda **changes: open_another(**{"queue": probe.queue, **changes}), fail_over)
    assert "role:slave" in old.says("info", "replication")
    probe.close()


@contextmanager
def led_to(old: RedisServer) -> Iterator[tuple[Tunnel, Broker]]:
    with Tunnel(old.port, b"-") as tunnel:
        broker = opener("redis", url=f"redis://127.0.0.1:{tunnel.port}/0")()
        yield tunnel, broker
        broker.close()


def test_a_replica_that_has_lost_its_primary_is_left(own_server: RedisServer, redis_server: RedisServer) -> None:
    """It refuses to answer (MASTERDOWN): the address leads to another one by then, and the connection is still open."""
    with led_to(own_server) as (tunnel, broker):
        broker.ping()
        own_server.says("config", "set", "replica-serve-stale-data", "no")
        own_server.says("replicaof", "127.0.0.1", str(free_port()))

        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=r"MASTERDOWN|MASTER is down"):
            broker.enqueue([Message("to the replica")])
        tunnel.retarget(redis_server.port)
        broker.enqueue([Message("one")])
        assert payloads(broker.lease(2)) == ["one"]
        assert time.monotonic() - began < SECONDS


def test_a_server_without_room_for_another_client_is_left(own_server: RedisServer, redis_server: RedisServer) -> None:
    with led_to(own_server) as (tunnel, broker), Redis.from_url(own_server.url) as console:
        broker.ping()
        console.config_set("maxclients", 1)
        broker.close()

        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="max number of clients"):
            broker.enqueue([Message("to the full one")])
        tunnel.retarget(redis_server.port)
        broker.enqueue([Message("one")])
        assert payloads(broker.lease(2)) == ["one"]
        assert time.monotonic() - began < SECONDS
        console.config_set("maxclients", 100)
