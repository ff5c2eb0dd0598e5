"""Delayed messages, and a broker that waits for messages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Delivery
from django_cluster.testing.broker_contract.base import (
    WAIT_SECONDS,
    ContractBase,
    Opener,
    eventually,
    lease_all,
    messages,
    payloads,
)


class DelayContract(ContractBase):
    def test_a_delayed_message_waits_for_its_time(self, broker: Broker) -> None:
        self.require(broker, "delay")
        due = time.time() + 0.6
        broker.enqueue(messages("later", not_before=due))
        broker.enqueue(messages("now"))

        assert payloads(lease_all(broker, 1)) == ["now"]
        self.check_size(broker, delayed=1, leased=1)
        assert payloads(broker.lease(10, wait=WAIT_SECONDS)) == ["later"]
        assert time.time() >= due - 0.05

    def test_a_moment_in_the_past_is_no_delay(self, broker: Broker) -> None:
        broker.enqueue(messages("old", not_before=time.time() - 3600))

        assert payloads(broker.lease(10)) == ["old"]

    def test_delayed_messages_keep_their_priority(self, broker: Broker) -> None:
        self.require(broker, "delay")
        self.require(broker, "priority")
        due = time.time() + 0.3
        broker.enqueue(messages("low", priority=-1, not_before=due) + messages("high", priority=1, not_before=due))

        eventually(lambda: broker.size().ready == 2)

        assert payloads(lease_all(broker, 2)) == ["high", "low"]

    def test_a_wait_ends_when_nothing_comes(self, broker: Broker) -> None:
        started = time.monotonic()

        assert list(broker.lease(1, wait=0.3)) == []

        assert 0.25 <= time.monotonic() - started < WAIT_SECONDS

    def test_a_waiting_broker_hears_of_a_message_from_another(self, broker: Broker, open_another: Opener) -> None:
        came: list[Delivery] = []

        def wait_for_one() -> None:
            waiting = open_another()
            came.extend(waiting.lease(1, wait=WAIT_SECONDS))
            waiting.close()

        waiter = Thread(target=wait_for_one)
        waiter.start()
        broker.lease(1, wait=0.3)  # so that the other one waits when the message comes, most of the time
        broker.enqueue(messages("one"))
        waiter.join(3)

        assert payloads(came) == ["one"]

    def test_every_waiting_broker_is_served(self, broker: Broker, open_another: Opener) -> None:
        def wait_for_one(_: int) -> Sequence[Delivery]:
            waiting = open_another()
            deliveries = waiting.lease(1, wait=WAIT_SECONDS)
            waiting.close()
            return deliveries

        with ThreadPoolExecutor(3) as pool:
            waiters = [pool.submit(wait_for_one, number) for number in range(3)]
            broker.enqueue(messages("1", "2", "3"))
            came = [delivery for waiter in waiters for delivery in waiter.result(WAIT_SECONDS * 2)]

        assert sorted(payloads(came)) == ["1", "2", "3"]
