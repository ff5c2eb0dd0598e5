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

from django_cluster.testing.broker_contract.away import UnreachableContract
from django_cluster.testing.broker_contract.crowds import Crowds
from django_cluster.testing.broker_contract.endings import Endings
from django_cluster.testing.broker_contract.keeping import Keeping
from django_cluster.testing.broker_contract.leases import Leases
from django_cluster.testing.broker_contract.looking import Looking
from django_cluster.testing.broker_contract.steps import (
    PATIENCE,
    SHORT,
    Opener,
    eventually,
    lease_all,
    messages,
    payloads,
    receipts,
)
from django_cluster.testing.broker_contract.waiting import WaitingForMore

__all__ = [
    "PATIENCE",
    "SHORT",
    "BrokerContract",
    "Opener",
    "UnreachableContract",
    "eventually",
    "lease_all",
    "messages",
    "payloads",
    "receipts",
]


class BrokerContract(Keeping, Leases, Endings, WaitingForMore, Crowds, Looking):
    """Inherit, and give the fixture ``open_another``."""
