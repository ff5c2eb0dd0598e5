"""Redis of several servers: a master that dies under its Sentinels, a slot that moves under load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest
from redis import Redis

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.core.settings.redis_topology import normalized
from django_cluster.errors import BrokerUnavailable
from django_cluster.testing.contracts import eventually, lease_all, messages, payloads, receipts
from tests.brokers import opener
from tests.conftest import running, wait_until
from tests.servers import RedisCluster, Sentinels
from tests.servers.base import free_port

Opener = Callable[..., Broker]


class Sender(Thread):
    """Sends numbered messages one after the other; what was refused for the moment is sent again."""

    def __init__(self, broker: Broker, count: int) -> None:
        super().__init__()
        self.broker = broker
        self.names = [str(number) for number in range(count)]
        self.refused = 0
        self.some = Event()
        """Set when a good part is sent."""

    def run(self) -> None:
        for place, name in enumerate(self.names):
            while not self._sends(name):
                self.refused += 1
            if place == len(self.names) // 4:
                self.some.set()
        self.broker.close()

    def _sends(self, name: str) -> bool:
        try:
            self.broker.enqueue([Message(name)])
        except BrokerUnavailable:
            return False
        return True


def take_until_all(broker: Broker, names: set[str]) -> list[str]:
    """Lend and acknowledge until each name has come once; the server may be away for a moment."""
    taken: list[str] = []

    def all_came() -> bool:
        try:
            deliveries = broker.lease(50, wait=0.1)
            broker.acknowledge(receipts(deliveries))
            taken.extend(payloads(deliveries))
        except BrokerUnavailable:
            return False
        return names <= set(taken)

    wait_until(all_came, within=90, because="everything that was sent should come")
    return taken


# -- Sentinels ------------------------------------------------------------------------------------


@pytest.fixture
def family() -> Iterator[Sentinels]:
    """Sentinels of our own, whose master may die."""
    yield from running(Sentinels())


def replicated(family: Sentinels) -> bool:
    """Whether the replica has all that the master has."""
    offsets = [
        next(line.partition(":")[2] for line in each.says("info", "replication").splitlines() if "repl_offset" in line)
        for each in (family.master, family.replica)
    ]
    return offsets[0] == offsets[1]


def test_nothing_that_was_replicated_is_lost_when_the_master_dies(family: Sentinels) -> None:
    open_another = opener("redis", **normalized({"url": family.url}))
    broker = open_another(lease=60)
    broker.enqueue(messages(*(f"before {number}" for number in range(200))))
    held = broker.lease(50)
    broker.acknowledge(receipts(held[:20]))
    master = Redis(port=family.master.port)
    assert master.wait(1, 5000) == 1
    master.close()

    family.master.kill()
    sender = Sender(open_another(), 100)
    sender.start()

    expected = {f"before {number}" for number in range(50, 200)} | set(sender.names)
    taken = take_until_all(broker, expected)
    sender.join()
    assert sorted(taken) == sorted(expected)
    assert list(broker.renew(receipts(held[20:]))) == []  # leases were replicated, too
    assert len(list(broker.renew(receipts(held[:20])))) == 20
    broker.close()


def test_a_failover_is_a_server_that_is_away_and_comes_back(family: Sentinels) -> None:
    broker = opener("redis", **normalized({"url": family.url}))()
    broker.enqueue(messages("one"))
    eventually(lambda: replicated(family))

    family.master.kill()
    with pytest.raises(BrokerUnavailable, match="orders of the Sentinels"):
        broker.size()

    eventually(lambda: answers(broker))
    assert payloads(lease_all(broker, 1)) == ["one"]
    assert broker.info().startswith("Redis 7")
    broker.close()


def answers(broker: Broker) -> bool:
    try:
        broker.ping()
        broker.size()
    except BrokerUnavailable:
        return False
    return True


# -- Cluster --------------------------------------------------------------------------------------


def slot_of(broker: Broker, cluster: RedisCluster) -> int:
    key = f"{{django_cluster:{broker.settings.name}:{broker.queue}}}"
    return int(cluster.nodes[0].says("cluster", "keyslot", key))


def test_a_slot_that_moves_under_load_loses_nothing_and_doubles_nothing(redis_cluster: RedisCluster) -> None:
    open_another = opener("redis", **normalized({"url": redis_cluster.url}))
    broker = open_another()
    slot = slot_of(broker, redis_cluster)
    sender = Sender(open_another(), 2000)
    taken: list[str] = []
    taker = Thread(target=lambda: taken.extend(take_until_all(broker, set(sender.names))))
    sender.start()
    taker.start()

    assert sender.some.wait(30)
    for _ in range(2):
        target = next(node for node in redis_cluster.nodes if node is not redis_cluster.owner(slot))
        redis_cluster.move(slot, target)
    sender.join()
    taker.join()

    assert sorted(taken, key=int) == sender.names
    assert broker.size().total == 0
    broker.close()


def test_a_script_that_meets_half_a_queue_does_not_run(redis_cluster: RedisCluster) -> None:
    """The band has moved, and the rest has not: the call is refused for the moment, and nothing is torn."""
    broker = opener("redis", **normalized({"url": redis_cluster.url}))()
    broker.enqueue(messages("1", "2", "3", priority=5))
    held = receipts(broker.lease(1))
    slot = slot_of(broker, redis_cluster)
    source = redis_cluster.owner(slot)
    target = next(node for node in redis_cluster.nodes if node is not source)
    ids = {node.port: node.says("cluster", "myid") for node in (source, target)}
    target.says("cluster", "setslot", str(slot), "importing", ids[source.port])
    source.says("cluster", "setslot", str(slot), "migrating", ids[target.port])
    keys = source.says("cluster", "getkeysinslot", str(slot), "10").split()
    (band,) = [key for key in keys if ":ready:" in key]
    source.says("migrate", "127.0.0.1", str(target.port), band, "0", "5000")

    verbs: list[Callable[[], Any]] = [
        lambda: broker.lease(1),
        lambda: broker.enqueue(messages("4", priority=5)),
        lambda: broker.acknowledge(held),
    ]
    for verb in verbs:
        with pytest.raises(BrokerUnavailable):
            verb()

    redis_cluster.move(slot, target)
    broker.acknowledge(held)
    assert payloads(lease_all(broker, 2)) == ["2", "3"]
    assert broker.size().total == 2
    broker.purge()
    broker.close()


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    """A Cluster whose nodes may hang."""
    yield from running(RedisCluster())


@pytest.mark.parametrize("count", [1, 50])
def test_a_node_that_hangs_is_said_within_ten_seconds_and_is_not_sent_the_same_again(
    own_cluster: RedisCluster, count: int
) -> None:
    broker = opener("redis", **normalized({"url": own_cluster.url}))()
    batch = [Message(f"{each}", priority=each) for each in range(count)]
    broker.enqueue(batch)
    slot = int(own_cluster.nodes[0].says("cluster", "keyslot", f"{{django_cluster:tests:{broker.queue}}}"))

    node = own_cluster.owner(slot)
    with node.paused():
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            broker.enqueue(batch)
        assert time.monotonic() - started < 12

    def answers() -> bool:
        try:
            return broker.size().total >= 0
        except BrokerUnavailable:
            return False

    wait_until(answers, because="the Cluster should be whole again")
    assert broker.size().total <= 2 * count
    broker.close()


def test_sentinels_that_cannot_be_asked_are_named_with_the_reason_in_few_words() -> None:
    places = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    broker = opener("redis", **normalized({"url": f"redis+sentinel://{','.join(places)}/orders"}))()

    with pytest.raises(BrokerUnavailable, match="No master found for 'orders'") as caught:
        broker.ping()
    assert all(place in str(caught.value) for place in places)
    assert len(str(caught.value)) < 300
