"""Several brokers of one queue, in threads and in forked children."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

from django_cluster.brokers.base import Broker
from django_cluster.testing.broker_contract.base import (
    WAIT_SECONDS,
    ContractBase,
    Opener,
    lease_all,
    messages,
    payloads,
    receipts,
)


class ConcurrencyContract(ContractBase):
    def test_brokers_that_lease_at_the_same_time_share_each_message_once(
        self, broker: Broker, open_another: Opener
    ) -> None:
        names = [str(number) for number in range(min(400, self.many))]
        broker.enqueue(messages(*names))

        def take_all(_: int) -> list[str]:
            mine, taken = open_another(), []
            while deliveries := mine.lease(7):
                taken += payloads(deliveries)
                mine.acknowledge(receipts(deliveries))
            mine.close()
            return taken

        with ThreadPoolExecutor(4) as pool:
            taken = [name for names in pool.map(take_all, range(4)) for name in names]
        # A broker may see an empty queue while others hold its end; and what came with an answer that was lost on the
        # way, because the machine was busy, comes again when its lease has ended.
        deadline = time.monotonic() + broker.settings.lease + WAIT_SECONDS
        while len(taken) < len(names) and time.monotonic() < deadline:
            taken += payloads(broker.lease(400, wait=0.2))
        taken += payloads(broker.lease(400))

        assert sorted(taken, key=int) == names

    def test_many_can_enqueue_at_the_same_time(self, broker: Broker, open_another: Opener) -> None:
        def enqueue_some(number: int) -> None:
            mine = open_another()
            for place in range(25):
                mine.enqueue(messages(f"{number}-{place}"))
            mine.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(enqueue_some, range(4)))

        assert len(set(payloads(lease_all(broker, 100)))) == 100

    def test_a_forked_child_with_a_broker_of_its_own_does_not_disturb_its_parent(
        self, broker: Broker, open_another: Opener
    ) -> None:
        broker.enqueue(messages("before"))
        broker.close()
        child = multiprocessing.get_context("fork").Process(target=_use, args=(open_another,))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads have been
            child.start()
        broker.enqueue(messages("during"))
        child.join(WAIT_SECONDS)

        assert child.exitcode == 0
        broker.enqueue(messages("after"))
        assert "after" in payloads(lease_all(broker, 3))


def _use(open_another: Opener) -> None:
    """Body of the forked child: every kind of call, on its own connections."""
    broker = open_another()
    broker.enqueue(messages("from the child"))
    broker.acknowledge(receipts(broker.lease(1)))
    broker.close()
