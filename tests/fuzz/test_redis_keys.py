"""A key of a queue in Redis that holds something else: it is said, the key is renamed, and what is sent is leased."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_cluster.brokers.messages import Message
from django_cluster.errors import BrokerError
from tests.brokers import opener
from tests.servers import RedisServer

KEYS = ["ready:0", "bands", "delayed", "leases", "leased", "attended"]
TRIES = len(KEYS)


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[Any]:
    broker = opener("redis", url=redis_server.url)()
    yield broker
    broker.close()


def at_last(act: Callable[[], Any]) -> Any:
    """What it returns, after errors of the port that name the fault."""
    for _ in range(TRIES):
        try:
            return act()
        except BrokerError as error:
            if "WRONGTYPE" not in str(error):
                raise
    pytest.fail("The key is still in the way.")


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_another_kind_is_renamed_and_no_message_that_was_taken_is_lost(broker: Any, key: str) -> None:
    name = f"{broker._base}:{key}"
    broker._connection.client.pfadd(name, "x") if key != "attended" else broker._connection.client.sadd(name, "x")

    at_last(lambda: broker.enqueue([Message("first")]))
    leased = {each.payload for _ in range(3) for each in at_last(lambda: broker.lease(10))}
    at_last(lambda: broker.enqueue([Message("second")]))
    leased |= {each.payload for _ in range(3) for each in at_last(lambda: broker.lease(10))}
    at_last(broker.size)
    at_last(broker.peek)

    assert leased == {"first", "second"}
    assert broker._connection.client.keys(f"*{broker.queue}*:{key}:foreign:*")
