"""``BrokerContract``: what every broker promises, as tests that each adapter inherits.

Needs pytest. A test module of an adapter says how it is opened, and gets the suite::

    class TestKafkaBroker(BrokerContract):
        @pytest.fixture
        def open_another(self, kafka_server):
            queue = uuid4().hex          # a queue of its own for each test

            def open_another(**changes):
                section = BrokerSettings(kind="my.kafka.KafkaBroker", queue=queue, options={...})
                return KafkaBroker(replace(section, **changes))

            return open_another

``open_another`` may be called often, in threads and in forked children: each call returns a new broker for
the same queue. Tests of what the adapter's ``capabilities`` deny are skipped. A broker with a server passes
``UnreachableContract`` as well.
"""

from __future__ import annotations

from django_cluster.testing.broker_contract.base import (
    SHORT_LEASE_SECONDS,
    WAIT_SECONDS,
    Opener,
    deliveries_of,
    eventually,
    lease_all,
    messages,
    payloads,
    receipts,
)
from django_cluster.testing.broker_contract.concurrency import ConcurrencyContract
from django_cluster.testing.broker_contract.delays import DelayContract
from django_cluster.testing.broker_contract.enqueue import EnqueueContract
from django_cluster.testing.broker_contract.inspection import InspectionContract
from django_cluster.testing.broker_contract.leases import LeaseContract
from django_cluster.testing.broker_contract.release import ReleaseContract
from django_cluster.testing.broker_contract.unreachable import UnreachableContract

__all__ = [
    "SHORT_LEASE_SECONDS",
    "WAIT_SECONDS",
    "BrokerContract",
    "Opener",
    "UnreachableContract",
    "deliveries_of",
    "eventually",
    "lease_all",
    "messages",
    "payloads",
    "receipts",
]


class BrokerContract(
    EnqueueContract, LeaseContract, ReleaseContract, DelayContract, ConcurrencyContract, InspectionContract
):
    """Inherit, and give the fixture ``open_another``."""
