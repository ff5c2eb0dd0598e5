"""What is peculiar to the Redis broker: its connections, its sleep, and servers that misbehave."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.test import override_settings
from redis import Redis

from django_cluster.brokers import redis_connection
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Delivery, Message, QueueSize
from django_cluster.brokers.redis import SENDER_MEMORY_SECONDS, RedisBroker
from django_cluster.brokers.redis_clients import build_client
from django_cluster.brokers.redis_scripts import LEASE
from django_cluster.core.masking import MaskedMapping
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, BrokerUnavailable
from django_cluster.testing.contracts import eventually, lease_all, payloads, receipts
from tests.brokers import certificate_for, opener
from tests.servers import RedisServer, require
from tests.servers.base import free_port
from tests.servers.tunnel import Tunnel


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[Broker]:
    broker = opener("redis", url=redis_server.url)()
    yield broker
    broker.purge()
    broker.close()


@pytest.fixture
def console(redis_server: RedisServer) -> Iterator[Any]:
    """Another client of the same server."""
    client = Redis.from_url(redis_server.url)
    yield client
    client.close()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that a test may hurt; what it was told it remembers."""
    require("redis")
    server = RedisServer(aof=True).start()
    yield server
    server.stop()


def keys_of(broker: Broker) -> str:
    return f"{{django_cluster:{broker.settings.name}:{broker.queue}}}"


# -- connections ----------------------------------------------------------------------------------


def test_opening_a_broker_opens_no_connection() -> None:
    opener("redis", url="redis://nobody.invalid:1/0")()


def test_a_unix_socket_is_an_address(redis_server: RedisServer) -> None:
    for options in (
        {"url": f"unix://{redis_server.socket}"},
        {"kwargs": {"unix_socket_path": str(redis_server.socket)}},
    ):
        broker = opener("redis", **options)()
        broker.ping()
        assert str(redis_server.socket) in broker.info()
        broker.close()


def test_keywords_are_an_address(redis_server: RedisServer) -> None:
    broker = opener("redis", kwargs={"host": "127.0.0.1", "port": redis_server.port, "db": 3})()

    broker.enqueue([Message("one")])

    assert payloads(broker.lease(1)) == ["one"]
    assert broker.info().endswith(f"127.0.0.1:{redis_server.port}/3")
    broker.purge()
    broker.close()


def test_a_redis_cache_of_django_is_an_address_with_time_outs_of_our_own(redis_server: RedisServer) -> None:
    backend = "django.core.cache.backends.redis.RedisCache"
    caches = {"default": {"BACKEND": backend, "LOCATION": redis_server.url, "OPTIONS": {"socket_timeout": 2}}}

    with override_settings(CACHES=caches):
        broker = opener("redis", cache="default")()
        broker.enqueue([Message("one")])
        assert payloads(broker.lease(1, wait=5)) == ["one"]
        broker.purge()
        broker.close()


def test_a_cache_of_django_redis_provides_its_connection(redis_server: RedisServer) -> None:
    pytest.importorskip("django_redis")
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_server.url}}

    with override_settings(CACHES=caches):
        broker = opener("redis", cache="default")()
        broker.enqueue([Message("a message")])
        (delivery,) = broker.lease(1, wait=1.0)

    assert delivery.payload == "a message"


def test_a_cache_of_another_kind_is_refused() -> None:
    caches = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

    with override_settings(CACHES=caches), pytest.raises(BrokerRefused, match="not a Redis cache"):
        opener("redis", cache="default")().ping()


def test_a_forked_child_does_not_use_the_connection_of_its_parent(broker: Broker, console: Any) -> None:
    broker.enqueue([Message("parent")])
    before = console.info("stats")["total_connections_received"]

    child = os.fork()
    if child == 0:
        try:
            broker.enqueue([Message("child")])
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert console.info("stats")["total_connections_received"] == before + 1
    assert payloads(lease_all(broker, 2)) == ["parent", "child"]


def test_receipts_of_a_forked_child_are_not_those_of_its_parent(broker: Broker) -> None:
    broker.enqueue([Message("one"), Message("two")])
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        try:
            os.write(writing, broker.lease(1)[0].receipt.encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    theirs = os.read(reading, 1000).decode()
    os.close(reading)
    os.close(writing)

    assert receipts(broker.lease(1)) != [theirs]
    assert list(broker.renew([theirs])) == []


def test_many_verbs_share_one_connection(broker: Broker, console: Any) -> None:
    broker.ping()
    before = console.info("stats")["total_connections_received"]

    for _ in range(20):
        broker.enqueue([Message("one")])
        broker.acknowledge(receipts(broker.lease(1, wait=1)))

    assert console.info("stats")["total_connections_received"] == before


# -- the sleep ------------------------------------------------------------------------------------


def test_a_waiting_broker_asks_almost_nothing(broker: Broker, console: Any) -> None:
    def asked() -> int:
        return sum(int(each["calls"]) for name, each in console.info("commandstats").items() if "eval" in name)

    broker.ping()
    before = asked()

    broker.lease(1, wait=1.0)

    assert asked() - before <= 3


def test_a_sleeping_broker_is_woken_immediately(broker: Broker, console: Any) -> None:
    came: list[float] = []

    def wait_for_one() -> None:
        sleeper = RedisBroker(broker.settings)
        sleeper.lease(1, wait=10)
        came.append(time.monotonic())
        sleeper.close()

    waiter = Thread(target=wait_for_one)
    waiter.start()
    eventually(lambda: console.info("clients")["blocked_clients"] == 1)
    sent = time.monotonic()
    broker.enqueue([Message("one")])
    waiter.join()

    assert came[0] - sent < 0.5


def test_a_sleeping_broker_hears_of_an_earlier_moment(broker: Broker, console: Any) -> None:
    broker.enqueue([Message("much later", not_before=time.time() + 3600)])
    came: list[str] = []

    def wait_for_one() -> None:
        sleeper = RedisBroker(broker.settings)
        came.extend(payloads(sleeper.lease(1, wait=2.5)))
        sleeper.close()

    waiter = Thread(target=wait_for_one)
    waiter.start()
    eventually(lambda: console.info("clients")["blocked_clients"] == 1)
    broker.enqueue([Message("soon", not_before=time.time() + 0.3)])
    waiter.join()

    assert came == ["soon"]


# -- the server -----------------------------------------------------------------------------------


def test_all_keys_of_a_queue_stand_in_one_slot(broker: Broker, console: Any) -> None:
    broker.enqueue([Message("a"), Message("b", 5), Message("later", not_before=time.time() + 60)])
    broker.lease(1)

    keys = console.keys(f"*{broker.queue}*")

    assert len(keys) >= 6
    assert all(key.decode().startswith(keys_of(broker)) for key in keys)


def test_a_purged_queue_leaves_nothing_but_a_counter(broker: Broker, console: Any) -> None:
    broker.enqueue([Message("a"), Message("b", 5), Message("later", not_before=time.time() + 60)])
    broker.lease(1)

    broker.purge()

    left = {key.decode().removeprefix(keys_of(broker)): console.ttl(key) for key in console.keys(f"*{broker.queue}*")}
    passing = [
        key for key, seconds in left.items() if key.startswith(":sender:") and 0 < seconds <= SENDER_MEMORY_SECONDS
    ]
    assert left.keys() - set(passing) == {":number"}


@pytest.mark.parametrize("count", [1, 2500], ids=["one", "several calls"])
def test_a_server_that_forgot_the_scripts_learns_them_again(broker: Broker, console: Any, count: int) -> None:
    broker.ping()
    console.script_flush()

    broker.enqueue([Message(str(number)) for number in range(count)])

    assert len(lease_all(broker, count)) == count


def test_garbage_on_the_queue_is_leased_as_it_is(broker: Broker, console: Any) -> None:
    broker.enqueue([Message("good")])
    band = f"{keys_of(broker)}:ready:0"
    console.rpush(band, b"\xff\x00\xfe", b"no entry", b"0:x:y", b"9" * 400 + b":" + b"9" * 400 + b":z", b"")

    deliveries = lease_all(broker, 6)
    broker.release(deliveries)
    again = lease_all(broker, 6)

    assert "good" in payloads(deliveries)
    assert sorted(payloads(deliveries))[0] == ""
    assert "\\xff\x00\\xfe" in payloads(again)
    broker.discard(receipts(again))
    assert broker.size().total == 0


def test_a_key_of_another_kind_is_refused_and_loses_nothing(broker: Broker, console: Any) -> None:
    broker.enqueue([Message("one")])
    console.set(f"{keys_of(broker)}:leased", "somebody's")

    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        broker.lease(1)

    console.delete(f"{keys_of(broker)}:leased")
    assert payloads(broker.lease(1)) == ["one"]


def test_a_full_server_is_unavailable_and_loses_nothing(own_server: RedisServer) -> None:
    broker = opener("redis", url=own_server.url)(lease=0.1)
    console = Redis.from_url(own_server.url)
    broker.enqueue([Message("one"), Message("two")])
    held = receipts(broker.lease(1))

    console.config_set("maxmemory", 1)
    with pytest.raises(BrokerUnavailable, match="maxmemory"):
        broker.enqueue([Message("three")])
    broker.acknowledge(held)
    console.config_set("maxmemory", 0)

    assert payloads(lease_all(broker, 1)) == ["two"]
    broker.close()
    console.close()


def test_a_wrong_password_is_refused_and_not_shown(own_server: RedisServer) -> None:
    console = Redis.from_url(own_server.url)
    console.config_set("requirepass", "right")
    broker = opener("redis", kwargs={"port": own_server.port, "password": "wr0ng"})()

    with pytest.raises(BrokerRefused) as caught:
        broker.ping()

    assert "wr0ng" not in str(caught.value)
    console.close()


def test_a_restarted_server_is_used_again_without_a_word(own_server: RedisServer) -> None:
    broker = opener("redis", url=own_server.url)()
    broker.enqueue([Message("one"), Message("two")])
    held = receipts(broker.lease(1))

    own_server.restart()

    assert payloads(broker.lease(1)) == ["two"]
    assert list(broker.renew(held)) == []
    broker.close()


@pytest.mark.slow
def test_a_frozen_server_is_reported_within_ten_seconds(own_server: RedisServer) -> None:
    connected, fresh = opener("redis", url=own_server.url)(), opener("redis", url=own_server.url)()
    connected.ping()

    with own_server.paused():
        for broker in (connected, fresh):
            started = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                broker.enqueue([Message("one")])
            assert time.monotonic() - started < 10

    connected.ping()
    connected.close()
    fresh.close()


def test_a_server_that_dies_during_the_sleep_is_reported(own_server: RedisServer) -> None:
    broker = opener("redis", url=own_server.url)()
    caught: list[BaseException] = []

    def wait_in_vain() -> None:
        try:
            broker.lease(1, wait=30)
        except BrokerUnavailable as error:
            caught.append(error)

    waiter = Thread(target=wait_in_vain)
    waiter.start()
    console = Redis.from_url(own_server.url)
    eventually(lambda: console.info("clients")["blocked_clients"] == 1)
    console.close()
    own_server.kill()
    waiter.join(10)

    assert caught
    broker.close()


@pytest.mark.parametrize("answers", [1, 2, 3])
def test_what_an_unheard_claim_has_leased_is_leased_immediately_and_costs_nothing(
    redis_server: RedisServer, broker: Broker, answers: int
) -> None:
    with Tunnel(redis_server.port, b"EVAL") as tunnel:
        far = far_from(tunnel, broker)
        assert not far.lease(1)  # now the server knows the script
        broker.enqueue([Message("one"), Message("two"), Message("three")])

        tunnel.to_lose = answers
        lent = lend_patiently(far, 2)

        assert tunnel.lost == answers
        assert [(each.payload, each.attempt) for each in lent] == [("one", 1), ("two", 1)]
        assert broker.size() == QueueSize(ready=1, delayed=0, leased=2)
        assert list(far.renew(receipts(lent))) == []
        assert payloads(far.lease(2)) == ["three"]
        far.close()


def test_an_unheard_claim_takes_nothing_from_others(redis_server: RedisServer, broker: Broker) -> None:
    with Tunnel(redis_server.port, b"EVAL") as tunnel:
        far = far_from(tunnel, broker, lease=0.3)
        assert not far.lease(1)  # now the server knows the script
        broker.enqueue([Message("one"), Message("two")])
        tunnel.to_lose = 4  # of the claim, and of three attempts to undo it
        with pytest.raises(BrokerUnavailable):
            far.lease(1)
        eventually(lambda: broker.size().leased == 0)

        assert payloads(broker.lease(2)) == ["one", "two"]
        assert payloads(far.lease(1)) == []
        assert broker.size().leased == 2
        far.close()


@pytest.mark.parametrize("limit", [1, 2])
def test_a_claim_that_arrives_late_takes_nothing_from_anybody(
    redis_server: RedisServer, broker: Broker, limit: int
) -> None:
    with Tunnel(redis_server.port, LEASE.sha.encode()) as tunnel:
        far = far_from(tunnel, broker, lease=2.0)
        assert not far.lease(1)  # now the server knows the script
        names = ["one", "two", "three", "four"]
        broker.enqueue([Message(name) for name in names])
        tunnel.to_delay = 1
        lent = list(far.lease(limit))
        tunnel.deliver()

        assert list(far.renew(receipts(lent))) == []
        far.acknowledge(receipts(lent))

        rest = lease_all(broker, len(names) - limit)
        assert sorted(payloads([*lent, *rest])) == sorted(names)
        broker.acknowledge(receipts(rest))
        assert broker.size().total == 0
        far.close()


def test_what_a_dying_server_has_leased_is_leased_again_as_soon_as_it_is_back(own_server: RedisServer) -> None:
    with Tunnel(own_server.port, b"EVAL") as tunnel:
        broker = opener("redis", url=f"redis://127.0.0.1:{tunnel.port}/0")(lease=60)
        broker.lease(1)
        broker.enqueue([Message("first"), Message("second")])
        tunnel.to_lose = 4
        with pytest.raises(BrokerUnavailable):
            broker.lease(1)

        own_server.kill()
        own_server.restart()

        assert payloads(lease_all(broker, 2)) == ["first", "second"]
        assert broker.size().leased == 2
        broker.close()


def test_what_a_frozen_server_has_leased_without_an_answer_is_leased_again_when_it_goes_on(
    own_server: RedisServer,
) -> None:
    broker = opener("redis", url=f"{own_server.url}?socket_timeout=0.3")(lease=60)
    broker.lease(1)
    broker.enqueue([Message("first"), Message("second")])

    with own_server.paused():
        for _ in range(3):
            with pytest.raises(BrokerUnavailable):
                broker.lease(1)

    assert payloads(lease_all(broker, 2)) == ["first", "second"]
    broker.close()


def far_from(tunnel: Tunnel, broker: Broker, **changes: Any) -> Broker:
    """Another broker for the same queue, at the other end of a tunnel."""
    options = {"url": f"redis://127.0.0.1:{tunnel.port}/0"}
    return RedisBroker(replace(broker.settings, options=options, **changes))


def lend_patiently(broker: Broker, limit: int) -> Sequence[Delivery]:
    """As a pusher does: when the server cannot be reached, it asks again."""
    try:
        return broker.lease(limit)
    except BrokerUnavailable:
        return broker.lease(limit)


def test_a_queue_of_a_section_with_odd_names_works(redis_server: RedisServer, tmp_path: Path) -> None:
    section = BrokerSettings(kind="redis", options={"url": redis_server.url}, name="a}b{c:*", queue=f"q{{}}{tmp_path}")
    broker = RedisBroker(section)

    broker.enqueue([Message("one")])

    assert payloads(broker.lease(1)) == ["one"]
    assert broker.purge() == 1
    broker.close()


def test_threads_do_not_share_a_connection(broker: Broker) -> None:
    def send(name: int) -> None:
        for number in range(100):
            broker.enqueue([Message(f"{name}:{number}")])

    threads = [Thread(target=send, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert broker.size().ready == 400
    assert sorted(payloads(lease_all(broker, 400))) == sorted(
        f"{name}:{number}" for name in range(4) for number in range(100)
    )


def test_threads_that_open_a_broker_at_the_same_time_do_not_close_it_for_each_other(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = count(1)

    def build(options: Any) -> Any:
        time.sleep(0.05 * next(turns))  # the others come in the meantime, and each is ready at another moment
        return build_client(options)

    monkeypatch.setattr(redis_connection, "build_client", build)
    broker = opener("redis", url=redis_server.url)()
    failed: list[BaseException] = []

    def send() -> None:
        try:
            for _ in range(300):
                broker.enqueue([Message("one")])
        except Exception as error:  # noqa: BLE001  whatever it is
            failed.append(error)

    threads = [Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failed == []
    assert broker.purge() == 4 * 300
    broker.close()


def test_a_connection_that_the_server_has_closed_is_replaced(broker: Broker, console: Any) -> None:
    broker.enqueue([Message("first")])
    console.client_kill_filter(_type="normal", skipme=True)

    broker.enqueue([Message("second")])

    assert payloads(lease_all(broker, 2)) == ["first", "second"]


def test_an_acl_user_needs_only_the_keys_of_its_queues(own_server: RedisServer) -> None:
    rights = ["on", ">s3cret", "~{django_cluster:*", "+@all", "-@dangerous", "-@admin"]
    own_server.says("acl", "setuser", "clerk", *rights)
    broker = opener("redis", url=f"redis://clerk:s3cret@127.0.0.1:{own_server.port}/0")()

    broker.enqueue([Message("one"), Message("two", priority=3)])
    assert payloads(lease_all(broker, 2)) == ["two", "one"]
    assert list(broker.warnings()) == []  # it may not ask, and says nothing
    assert broker.info() == f"Redis at 127.0.0.1:{own_server.port}/0"
    broker.close()


@pytest.mark.parametrize(
    ("query", "keywords"),
    [("?foo=1", {}), ("?socket_timeout=long", {}), ("", {"foo": 1}), ("", {"socket_connect_timeout": 1, "db": "x"})],
)
def test_unknown_options_are_refused(redis_server: RedisServer, query: str, keywords: dict[str, Any]) -> None:
    broker = opener("redis", url=f"redis://127.0.0.1:{redis_server.port}{query}", kwargs=keywords)()

    with pytest.raises(BrokerRefused):
        broker.enqueue([Message("one")])


def test_options_arrive_as_they_were_written_and_do_not_change_what_is_read(redis_server: RedisServer) -> None:
    keywords = {"socket_keepalive": True, "socket_keepalive_options": {socket.TCP_KEEPCNT: 3}}
    options = MaskedMapping({"url": f"{redis_server.url}?decode_responses=True", "kwargs": keywords})
    broker = opener("redis")(options=options)

    broker.enqueue([Message("one")])
    assert payloads(lease_all(broker, 1)) == ["one"]
    broker.close()


def test_tls_is_an_address(tmp_path: Path) -> None:
    require("redis")
    key, certificate = certificate_for("IP:127.0.0.1", tmp_path)
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    server = RedisServer(*tls, "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no").start()
    try:
        trusting = opener("redis", url=f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}")()
        trusting.enqueue([Message("one")])
        assert payloads(lease_all(trusting, 1)) == ["one"]
        trusting.close()

        doubting = opener("redis", url=f"rediss://127.0.0.1:{port}/0")()
        with pytest.raises(BrokerUnavailable, match="certificate"):
            doubting.ping()
        doubting.close()
    finally:
        server.stop()


def test_a_server_that_deletes_and_forgets_is_a_concern(own_server: RedisServer) -> None:
    broker = opener("redis", url=own_server.url)()
    assert list(broker.warnings()) == []

    own_server.says("config", "set", "maxmemory", "100mb", "maxmemory-policy", "volatile-lru", "appendonly", "no")

    assert [word in " ".join(broker.warnings()) for word in ("volatile-lru", "nothing on disk")] == [True, True]
    broker.close()
