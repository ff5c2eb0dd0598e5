"""Several queues as one: whose turn it is, and that everything reaches the broker that lent it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from django_cluster.brokers.base import Broker
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.messages import Delivery, Message
from django_cluster.brokers.multi_queue import MultiQueueBroker, queue_index
from django_cluster.brokers.queue_servers import server_numbers
from django_cluster.errors import BrokerUnavailable
from django_cluster.testing.contracts import deliveries_of
from tests.conftest import make_settings, wait_until


def queues(*weights: int, kind: type[MemoryBroker] = MemoryBroker) -> MultiQueueBroker:
    members = [kind(make_settings(broker={"queue": f"queue {place}"}).broker) for place in range(len(weights))]
    return MultiQueueBroker(members, weights)


def fill(several: MultiQueueBroker, *counts: int) -> None:
    for place, count in enumerate(counts):
        several.members[place].enqueue([Message(f"{place}:{number}") for number in range(count)])


def places(deliveries: Sequence[Delivery]) -> list[int]:
    return [int(each.payload.partition(":")[0]) for each in deliveries]


def test_full_queues_are_served_by_their_weights_one_at_a_time() -> None:
    several = queues(5, 1)
    fill(several, 100, 100)

    served = [places(several.lease(1))[0] for _ in range(60)]

    assert Counter(served) == {0: 50, 1: 10}
    assert all(1 in served[start : start + 12] for start in range(48))


@pytest.mark.parametrize("room", [2, 7, 60, 600])
def test_and_many_at_a_time(room: int) -> None:
    several = queues(3, 1)
    fill(several, 3000, 3000)

    served: Counter[int] = Counter()
    while sum(served.values()) < 1200:
        served.update(places(several.lease(room)))

    assert served[0] == pytest.approx(3 * served[1], rel=0.05, abs=4)


def test_what_one_queue_does_not_need_goes_to_the_others() -> None:
    several = queues(5, 1, 1)
    fill(several, 3, 0, 500)

    assert Counter(places(several.lease(100))) == {0: 3, 2: 97}


def test_a_queue_that_was_empty_has_saved_nothing_up() -> None:
    several = queues(1, 1)
    fill(several, 1000, 0)
    for _ in range(50):
        several.lease(10)

    several.members[1].enqueue([Message(f"1:{number}") for number in range(100)])
    several._empty_until = [0.0, 0.0]

    assert Counter(places(several.lease(20))) == {0: 10, 1: 10}


def test_each_queue_keeps_its_order() -> None:
    several = queues(2, 1)
    fill(several, 20, 10)

    payloads = [each.payload for _ in range(10) for each in several.lease(3)]

    for place, count in ((0, 20), (1, 10)):
        own = [payload for payload in payloads if payload.startswith(f"{place}:")]
        assert own == [f"{place}:{number}" for number in range(count)]


def test_a_delivery_names_its_queue() -> None:
    several = queues(1, 1)
    fill(several, 1, 1)

    assert {each.payload: each.queue for each in several.lease(2)} == {
        "0:0": several.members[0].queue,
        "1:0": several.members[1].queue,
    }


def test_what_is_done_with_a_receipt_reaches_the_broker_that_leased_it() -> None:
    several = queues(1, 1)
    fill(several, 3, 3)
    by_payload = {each.payload: each.receipt for each in several.lease(6)}

    several.acknowledge([by_payload["0:0"], by_payload["1:0"]])
    several.release(deliveries_of([by_payload["0:1"]]), refund_attempt=True)
    several.release([Delivery(by_payload["1:1"], "1:1", 1), Delivery("nonsense", "x", 1)], refund_attempt=True)

    assert set(several.renew(list(by_payload.values()))) == {by_payload[name] for name in ("0:0", "0:1", "1:0", "1:1")}
    assert [(member.size().ready, member.size().leased) for member in several.members] == [(1, 1), (1, 1)]


def test_a_receipt_that_is_none_is_lost_and_changes_nothing() -> None:
    several = queues(1, 1)
    nonsense = ["", "7|1", "x|1", "1", "²|1", "0|nobody"]

    assert sorted(several.renew(nonsense)) == sorted(nonsense)
    several.acknowledge(nonsense)
    several.release(deliveries_of(nonsense))


def test_a_paused_queue_is_left_alone() -> None:
    several = queues(1, 1)
    fill(several, 5, 5)

    several.paused = 0b01
    assert set(places(several.lease(10))) == {1}
    several.paused = 0b11
    assert several.lease(10, wait=0.01) == []
    several.paused = 0
    assert set(places(several.lease(10))) == {0}


def test_a_wait_ends_as_soon_as_any_queue_has_something() -> None:
    several = queues(1, 1)
    several.members[1].enqueue([Message("1:later", not_before=time.time() + 0.2)])

    assert places(several.lease(5, wait=30)) == [1]


class Away(MemoryBroker):
    def acknowledge(self, receipts: Sequence[str]) -> None:
        raise BrokerUnavailable("away")


def test_an_outage_of_one_is_told() -> None:
    several = queues(1, 1, kind=Away)
    fill(several, 1, 1)

    with pytest.raises(BrokerUnavailable):
        several.acknowledge([each.receipt for each in several.lease(2)])


class Fading(MemoryBroker):
    """The first queue is lent from, and then the server goes away."""

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        if self.queue == "queue 1":
            raise BrokerUnavailable("away")
        return super().lease(limit, wait, not_after=not_after)


def test_what_was_leased_before_an_outage_reaches_the_caller() -> None:
    several = queues(1, 1, kind=Fading)
    fill(several, 1)

    assert places(several.lease(4)) == [0]
    with pytest.raises(BrokerUnavailable):
        several.lease(4)


class Elsewhere(MemoryBroker):
    """On a server of its own, which may be away."""

    is_away = False
    asked = 0

    def _answer(self) -> None:
        self.asked += 1
        if self.is_away:
            raise BrokerUnavailable("away")

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        self._answer()
        return super().lease(limit, wait, not_after=not_after)

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        self._answer()
        return super().renew(receipts)

    def acknowledge(self, receipts: Sequence[str]) -> None:
        self._answer()
        super().acknowledge(receipts)

    def ping(self) -> None:
        self._answer()


def scattered(*servers: int) -> MultiQueueBroker:
    members = [
        Elsewhere(make_settings(broker={"queue": f"queue {place}", "options": {"server": server}}).broker)
        for place, server in enumerate(servers)
    ]
    return MultiQueueBroker(members, [1] * len(members))


def away(several: MultiQueueBroker, server: int, *, is_away: bool = True) -> None:
    for member in several.members:
        if member.settings.options["server"] == server:
            assert isinstance(member, Elsewhere)
            member.is_away = is_away


def until_it_calls(several: MultiQueueBroker) -> None:
    wait_until(lambda: several.has_due_retry, because="a server that was away should be tried again")


def test_while_one_server_is_unavailable_the_queues_of_the_others_are_served() -> None:
    several = scattered(0, 1, 1)
    fill(several, 5, 5, 5)
    away(several, 1)

    assert places(several.lease(9)) == [0] * 5


def test_a_server_that_is_unavailable_is_not_asked_again_and_again() -> None:
    several = scattered(0, 1, 1)
    fill(several, 50, 5, 5)
    away(several, 1)

    for _ in range(10):
        several.lease(1)

    first, *others = several.members
    assert isinstance(first, Elsewhere)
    assert first.asked == 10
    assert sum(member.asked for member in others if isinstance(member, Elsewhere)) == 1


def test_what_it_had_leased_is_renewed_before_it_leases_again() -> None:
    several = scattered(0, 1)
    fill(several, 1, 5)
    held = [each.receipt for each in several.lease(4)]
    away(several, 1)
    assert several.renew(held) == []  # nobody knows

    away(several, 1, is_away=False)
    assert several.lease(4) == []
    until_it_calls(several)
    assert several.renew(held) == []

    assert places(several.lease(9)) == [1, 1]


def test_a_server_that_is_back_is_found_although_nothing_is_held() -> None:
    several = scattered(0, 1)
    fill(several, 0, 3)
    away(several, 1)
    assert several.lease(4) == []

    until_it_calls(several)
    several.renew([])
    assert several.lease(4) == []
    away(several, 1, is_away=False)
    until_it_calls(several)
    several.renew([])

    assert places(several.lease(4)) == [1, 1, 1]
    assert not several.has_due_retry


def test_what_can_be_settled_is_settled_and_the_rest_is_told() -> None:
    several = scattered(1, 0)
    fill(several, 1, 1)
    receipts = [each.receipt for each in several.lease(2)]
    away(several, 1)

    with pytest.raises(BrokerUnavailable):
        several.acknowledge(receipts)

    assert [member.size().total for member in several.members] == [1, 0]


def test_queues_with_the_same_address_are_on_one_server() -> None:
    sections = [make_settings(broker={"queue": name, "options": {"url": url}}).broker for name, url in (
        ("a", "redis://one"), ("b", "redis://two"), ("c", "redis://one"),
    )]  # fmt: skip

    assert server_numbers(sections) == [0, 1, 0]


def test_queues_of_one_database_can_be_settled_with_its_rows_and_others_cannot() -> None:
    def database(*aliases: str | None) -> str | None:
        members: list[Broker] = list(queues(*[1] * len(aliases)).members)
        for member, alias in zip(members, aliases, strict=True):
            member.database = alias
        return MultiQueueBroker(members, [1] * len(aliases)).database

    assert database("default", "default") == "default"
    assert database("default", "other") is None
    assert database("default", None) is None


def test_the_place_of_a_receipt_is_read_from_its_beginning() -> None:
    assert [queue_index(receipt, 2) for receipt in ("0|a:1", "1|b|c", "2|x", "a", "|", "-1|x")] == [
        0, 1, None, None, None, None,
    ]  # fmt: skip
