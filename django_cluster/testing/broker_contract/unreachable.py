"""A server that is unavailable is an exception within a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from django_cluster.brokers.base import Broker
from django_cluster.errors import BrokerUnavailable
from django_cluster.testing.broker_contract.base import (
    messages,
)


class UnreachableContract:
    """For brokers with a server: inherit too, and give the fixture ``unreachable``."""

    gives_up_within = 10.0
    """Seconds."""

    some_receipt = "1:1"
    """A receipt in the format of the adapter, which may ignore others without asking its server."""

    @pytest.fixture
    def unreachable(self) -> Broker:
        """A broker whose server is away."""
        raise NotImplementedError("the test class of an adapter has to define the fixture unreachable")

    @pytest.mark.parametrize(
        "verb",
        [
            lambda broker, _: broker.ping(),
            lambda broker, _: broker.enqueue(messages("lost")),
            lambda broker, _: broker.lease(1, wait=0.1),
            lambda broker, receipt: broker.acknowledge([receipt]),
            lambda broker, _: broker.size(),
        ],
        ids=["ping", "enqueue", "lease", "acknowledge", "size"],
    )
    def test_a_server_that_is_unavailable_is_reported_in_time(
        self, unreachable: Broker, verb: Callable[[Broker, str], object]
    ) -> None:
        started = time.monotonic()

        with pytest.raises(BrokerUnavailable) as caught:
            verb(unreachable, self.some_receipt)

        assert time.monotonic() - started < self.gives_up_within
        assert caught.value.__cause__ is not None
