"""The end of a lease: acknowledged, discarded or released."""

from __future__ import annotations

import time

import pytest

from django_cluster.brokers.base import Broker
from django_cluster.testing.broker_contract.base import (
    SHORT_LEASE_SECONDS,
    ContractBase,
    Opener,
    deliveries_of,
    lease_all,
    messages,
    payloads,
    receipts,
)


class ReleaseContract(ContractBase):
    def test_an_acknowledged_message_never_comes_back(self, open_another: Opener) -> None:
        broker = open_another(lease=SHORT_LEASE_SECONDS)
        broker.enqueue(messages("1", "2"))
        broker.acknowledge(receipts(broker.lease(2)))

        assert list(broker.lease(1, wait=SHORT_LEASE_SECONDS * 2)) == []
        assert broker.size().total == 0

    def test_a_discarded_message_never_comes_back(self, broker: Broker) -> None:
        broker.enqueue(messages("garbage"))

        broker.discard(receipts(broker.lease(1)))

        assert broker.size().total == 0

    def test_a_released_message_goes_to_the_front(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3", "4"))
        held = receipts(broker.lease(2))

        broker.release(deliveries_of(held))

        came = payloads(lease_all(broker, 4))
        assert (
            came == ["1", "2", "3", "4"] if broker.capabilities.requeues_first else sorted(came) == ["1", "2", "3", "4"]
        )

    def test_a_run_counts(self, broker: Broker) -> None:
        self.require(broker, "counts_attempts")
        broker.enqueue(messages("one"))

        broker.release(lease_all(broker, 1))

        assert lease_all(broker, 1)[0].attempt == 2

    def test_a_run_counts_and_a_refunded_one_does_not(self, broker: Broker) -> None:
        self.require(broker, "counts_attempts", "refunds_attempts")
        broker.enqueue(messages("one"))

        broker.release(broker.lease(1), refund_attempt=True)
        (unbegun,) = broker.lease(1)
        broker.release([unbegun])
        (begun,) = broker.lease(1)

        assert (unbegun.attempt, begun.attempt) == (1, 2)

    def test_what_is_released_costs_no_attempt(self, broker: Broker) -> None:
        self.require(broker, "counts_attempts")
        names = [str(number) for number in range(25)]
        broker.enqueue(messages(*names))

        broker.release(lease_all(broker, 25), refund_attempt=True)
        self.check_size(broker, ready=25)
        again = lease_all(broker, 25)
        assert (sorted(payloads(again), key=int), {each.attempt for each in again}) == (names, {1})

        broker.release(again)
        broker.release(lease_all(broker, 25), refund_attempt=True)
        assert {each.attempt for each in lease_all(broker, 25)} == {2}
        self.check_size(broker, leased=25)

    def test_what_is_released_with_a_delay_comes_back_later(self, broker: Broker) -> None:
        self.require(broker, "delay")
        broker.enqueue(messages("one"))
        held = broker.lease(1)

        started = time.monotonic()
        broker.release(held, delay=0.5, refund_attempt=True)
        broker.release(held, delay=0.5, refund_attempt=True)

        assert payloads(lease_all(broker, 1)) == ["one"]
        assert time.monotonic() - started >= 0.45
        self.check_size(broker, leased=1)

    def test_what_others_have_been_leased_since_is_not_released(self, open_another: Opener) -> None:
        broker, patient = open_another(lease=SHORT_LEASE_SECONDS), open_another(lease=60)
        self.require(broker, "portable_receipts")
        broker.enqueue(messages("one"))
        stale = broker.lease(1)
        held = receipts(lease_all(patient, 1))

        broker.release(stale, refund_attempt=True)

        self.check_size(patient, leased=1)
        assert list(patient.renew(held)) == []
        broker.close()
        patient.close()

    def test_a_message_released_with_a_delay_comes_back_later(self, broker: Broker) -> None:
        broker.enqueue(messages("one", "two"))
        held = receipts(broker.lease(1))

        started = time.monotonic()
        broker.release(deliveries_of(held), delay=0.5)
        self.check_size(broker, ready=1, delayed=1)
        deliveries = lease_all(broker, 2)

        assert {delivery.payload: delivery.attempt for delivery in deliveries} == {"two": 1, "one": 2}
        assert payloads(deliveries) == ["two", "one"]
        assert time.monotonic() - started >= 0.45

    def test_a_released_message_keeps_its_priority(self, broker: Broker) -> None:
        self.require(broker, "priority")
        broker.enqueue(messages("high", priority=9) + messages("1", "2"))
        held = receipts(broker.lease(2))

        broker.release(deliveries_of(held))

        assert payloads(broker.lease(10)) == ["high", "1", "2"]

    @pytest.mark.parametrize("end", ["acknowledge", "discard", "release"])
    def test_a_receipt_of_an_earlier_lease_changes_nothing(self, open_another: Opener, end: str) -> None:
        broker, patient = open_another(lease=SHORT_LEASE_SECONDS), open_another(lease=60)
        self.require(broker, "portable_receipts")
        broker.enqueue(messages("one"))
        stale = receipts(broker.lease(1))
        held = receipts(lease_all(patient, 1))

        getattr(broker, end)(deliveries_of(stale) if end == "release" else stale)

        assert list(broker.renew(stale)) == stale
        self.check_size(broker, leased=1)
        assert list(patient.renew(held)) == []
        patient.close()

    def test_a_receipt_of_a_released_message_changes_nothing(self, broker: Broker) -> None:
        broker.enqueue(messages("one"))
        held = receipts(broker.lease(1))
        broker.release(deliveries_of(held))

        if broker.capabilities.fenced_receipts:
            broker.acknowledge(held)
        broker.release(deliveries_of(held), refund_attempt=True)

        assert list(broker.renew(held)) == held
        assert payloads(lease_all(broker, 1)) == ["one"]

    def test_nonsense_for_a_receipt_is_ignored(self, broker: Broker) -> None:
        broker.enqueue(messages("one"))
        held = receipts(broker.lease(1))

        broker.acknowledge(["", "nonsense", "1:2:3", "-1:0", "0:0", "é"])
        broker.release([])
        broker.acknowledge([])

        assert list(broker.renew(held)) == []

    def test_another_broker_can_end_what_this_one_leased(self, broker: Broker, open_another: Opener) -> None:
        self.require(broker, "portable_receipts")
        monitor = open_another()
        broker.enqueue(messages("one"))

        monitor.acknowledge(receipts(broker.lease(1)))

        assert broker.size().total == 0
        monitor.close()
