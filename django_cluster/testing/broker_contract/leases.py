"""A lease lasts as long as it is renewed; then the message comes back."""

from __future__ import annotations

import time

from django_cluster.brokers.base import Broker
from django_cluster.testing.broker_contract.base import (
    SHORT_LEASE_SECONDS,
    WAIT_SECONDS,
    ContractBase,
    Opener,
    eventually,
    lease_all,
    messages,
    payloads,
    receipts,
)

MAX_UNDISTURBED_TRIES = 5
"""How often a test that renews in time is begun anew because the machine was too busy to let it."""


class LeaseContract(ContractBase):
    def test_a_leased_message_is_not_leased_again(self, broker: Broker, open_another: Opener) -> None:
        broker.enqueue(messages("one"))
        broker.lease(1)

        assert list(broker.lease(1)) == []
        another = open_another()
        assert list(another.lease(1)) == []
        another.close()

    def test_an_ended_lease_comes_back_with_another_receipt_and_attempt(self, open_another: Opener) -> None:
        broker = open_another(lease=SHORT_LEASE_SECONDS)
        broker.enqueue(messages("one"))
        (first,) = broker.lease(1)

        (second,) = lease_all(broker, 1)

        assert second.payload == "one"
        assert second.receipt != first.receipt
        assert second.attempt == (2 if broker.capabilities.counts_attempts else 1)

    def test_an_ended_lease_comes_back_while_a_broker_waits(self, open_another: Opener) -> None:
        broker = open_another(lease=SHORT_LEASE_SECONDS)
        broker.enqueue(messages("one"))
        broker.lease(1)

        assert payloads(broker.lease(1, wait=WAIT_SECONDS)) == ["one"]

    def test_ended_leases_come_back_in_front_of_what_waits(self, open_another: Opener) -> None:
        broker, patient = open_another(lease=SHORT_LEASE_SECONDS), open_another(lease=60)
        self.require(broker, "portable_receipts", "requeues_first")
        broker.enqueue(messages("1", "2", "3"))
        broker.lease(2)

        eventually(lambda: broker.size().ready == 3)

        assert payloads(patient.lease(10)) == ["1", "2", "3"]
        patient.close()

    def test_renewing_keeps_a_lease_beyond_its_first_end(self, open_another: Opener) -> None:
        lease, another = 2.0, open_another()
        broker = open_another(lease=lease)
        for _ in range(MAX_UNDISTURBED_TRIES):
            broker.enqueue(messages("one"))
            until = time.monotonic() + lease
            held = receipts(lease_all(broker, 1))
            end = time.monotonic() + 1.5 * lease
            while (began := time.monotonic()) < end:
                gone, taken = list(broker.renew(held)), another.lease(1)
                if time.monotonic() >= until:
                    break  # this machine has stood still for a lease: nothing can be said of this try
                assert (gone, list(taken)) == ([], [])
                until = began + lease
            else:
                break
            broker.acknowledge(held)
            another.acknowledge(receipts(taken))
        else:
            raise AssertionError(f"The machine stood still for {lease:g} seconds {MAX_UNDISTURBED_TRIES} times.")

        another.close()

    def test_renewing_names_the_receipts_that_are_gone(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3"))
        held = receipts(broker.lease(3))
        broker.acknowledge(held[1:2])

        assert list(broker.renew([*held, "nonsense"])) == [held[1], "nonsense"]
        assert list(broker.renew([])) == []

    def test_a_claim_that_is_made_after_its_last_moment_leases_nothing(self, broker: Broker) -> None:
        broker.enqueue(messages("one"))

        started = time.monotonic()
        assert list(broker.lease(1, wait=WAIT_SECONDS, not_after=started)) == []
        assert list(broker.lease(1, not_after=started)) == []
        assert time.monotonic() - started < WAIT_SECONDS
        assert payloads(lease_all(broker, 1)) == ["one"]

    def test_a_claim_ends_its_wait_at_its_last_moment(self, broker: Broker) -> None:
        started = time.monotonic()

        assert list(broker.lease(1, wait=WAIT_SECONDS, not_after=started + 0.3)) == []

        assert time.monotonic() - started < WAIT_SECONDS

    def test_a_claim_before_its_last_moment_leases_as_any_other(self, broker: Broker) -> None:
        broker.enqueue(messages("one"))

        later = time.monotonic() + WAIT_SECONDS
        assert payloads(broker.lease(1, wait=WAIT_SECONDS, not_after=later)) == ["one"]
