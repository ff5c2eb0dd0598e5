"""An enqueued message is leased once, unchanged and in order."""

from __future__ import annotations

import time

import pytest

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message, QueueSize
from django_cluster.errors import PayloadTooLarge
from django_cluster.testing.broker_contract.base import (
    ContractBase,
    Opener,
    lease_all,
    messages,
    payloads,
    receipts,
)


class EnqueueContract(ContractBase):
    def test_what_is_enqueued_is_leased_with_its_payload_and_first_attempt(self, broker: Broker) -> None:
        broker.enqueue(messages("one"))

        (delivery,) = broker.lease(10)

        assert delivery.payload == "one"
        assert delivery.attempt == 1
        assert delivery.receipt

    def test_an_empty_queue_leases_nothing(self, broker: Broker) -> None:
        assert list(broker.lease(10)) == []

    def test_enqueueing_nothing_changes_nothing(self, broker: Broker) -> None:
        broker.enqueue([])

        assert broker.size() == QueueSize(0, 0, 0)

    def test_messages_are_leased_in_the_order_of_enqueueing(self, broker: Broker) -> None:
        names = [f"message {number}" for number in range(30)]
        broker.enqueue(messages(*names[:10]))
        for name in names[10:]:
            broker.enqueue(messages(name))

        first, rest = lease_all(broker, 7), lease_all(broker, 23)

        self.check_order(broker, payloads(first) + payloads(rest), names)

    def test_a_lease_is_limited_and_the_rest_stays(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3"))

        first, second = broker.lease(2), broker.lease(2)

        self.check_order(broker, payloads(first) + payloads(second), ["1", "2", "3"])
        assert (len(first), len(second)) == (2, 1)

    def test_higher_priorities_go_first_and_equals_in_their_order(self, broker: Broker) -> None:
        self.require(broker, "priority")
        broker.enqueue(messages("low", priority=-100))
        broker.enqueue([Message("a", 0), Message("urgent a", 100), Message("b", 0), Message("urgent b", 100)])
        broker.enqueue(messages("high", priority=5))

        assert payloads(broker.lease(10)) == ["urgent a", "urgent b", "high", "a", "b", "low"]

    def test_attempts_at_an_earlier_broker_are_counted_on(self, broker: Broker) -> None:
        self.require(broker, "counts_attempts")
        broker.enqueue([Message("moved", attempts=3)])
        broker.enqueue([Message("moved too", attempts=1), Message("new")])

        numbers = {each.payload: each.attempt for each in lease_all(broker, 3)}

        assert numbers == {"moved": 4, "moved too": 2, "new": 1}

    def test_equal_payloads_are_different_messages(self, broker: Broker) -> None:
        broker.enqueue(messages("same", "same"))
        if broker.capabilities.delay:
            broker.enqueue(messages("same", "same", not_before=time.time() + 0.05))

        assert len(set(receipts(lease_all(broker, broker.size().total)))) in (2, 4)

    def test_a_payload_of_a_megabyte_arrives_whole(self, broker: Broker) -> None:
        payload = "0123456789abcdef" * 65536
        payload = payload[: broker.capabilities.max_payload]
        broker.enqueue(messages(payload, "small", payload))

        self.check_order(broker, payloads(lease_all(broker, 3)), [payload, "small", payload])

    def test_a_payload_that_is_too_large_is_refused_with_its_size(self, broker: Broker) -> None:
        if broker.capabilities.max_payload is None:
            pytest.skip(f"{type(broker).__name__} has no limit")
        size = broker.capabilities.max_payload + 1

        with pytest.raises(PayloadTooLarge, match=str(size)):
            broker.enqueue(messages("small", "x" * size))

        assert broker.size().total == 0

    def test_payloads_keep_their_punctuation(self, broker: Broker) -> None:
        odd = ["0:0:x", "::", "%s %d %%", "'\"\\;--", "-1:", "a\nb", " "]
        broker.enqueue(messages(*odd))

        self.check_order(broker, payloads(lease_all(broker, len(odd))), odd)

    def test_many_messages_in_one_call(self, broker: Broker) -> None:
        names = [str(number) for number in range(self.many)]

        broker.enqueue(messages(*names))

        assert broker.size().total == self.many
        self.check_order(broker, payloads(lease_all(broker, self.many)), names)

    def test_queues_do_not_mix(self, broker: Broker, open_another: Opener) -> None:
        other = open_another(queue=f"{broker.queue}-other")
        broker.enqueue(messages("here"))
        other.enqueue(messages("there"))

        assert payloads(other.lease(10)) == ["there"]
        assert other.purge() == 1
        assert payloads(broker.lease(10)) == ["here"]
        other.close()
