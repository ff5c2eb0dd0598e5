"""Acknowledgements where a receipt is valid in one process only: the monitor asks the pusher, which leased it.

The monitor waits for the answer before it sends ``Recorded``. So whichever process dies in between, another still has
the outcome: a pusher that dies is asked again in its successor, a monitor that dies is sent the outcomes again by the
workers. Each step may be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from multiprocessing.connection import wait

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Delivery
from django_cluster.cluster.ipc.channel import ConnectionLost
from django_cluster.cluster.ipc.client import IpcClient
from django_cluster.cluster.ipc.protocol import Acknowledge, BrokerCall, BrokerReply, Release
from django_cluster.cluster.ipc.runtime_dir import SocketAddress
from django_cluster.errors import BrokerUnavailable

REPLY_SECONDS = 10.0
"""Seconds for the pusher to answer: more than a broker needs to say that it is unavailable."""
PUSHER_RESTART_SECONDS = 2.0
"""Seconds for a dead pusher to be replaced, before that counts as an outage."""
RECONNECT_SECONDS = 0.02
"""Seconds between two attempts to reach a pusher that is being replaced."""


class RemoteAcknowledger:
    """The monitor's side: used in place of the broker where outcomes are recorded."""

    database: str | None = None

    def __init__(self, pusher: SocketAddress) -> None:
        self._client = IpcClient(pusher)
        self._numbers = count(1)

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """See ``Broker.acknowledge``."""
        self._call(Acknowledge(0, list(receipts)))

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        """See ``Broker.release``."""
        self._call(Release(0, list(deliveries), delay, refund_attempt))

    def close(self) -> None:
        self._client.close()

    def _call(self, call: BrokerCall) -> None:
        """Returns when it is done. Raises ``BrokerUnavailable`` when that is unknown. A new pusher is asked again."""
        deadline = time.monotonic() + PUSHER_RESTART_SECONDS
        while True:
            numbered = call._replace(call=next(self._numbers))
            try:
                self._connect()
                self._client.send(numbered)
                return self._await_reply(numbered.call)
            except ConnectionLost as error:
                if time.monotonic() >= deadline:
                    raise BrokerUnavailable("There is no pusher that could acknowledge at the broker.") from error
                time.sleep(RECONNECT_SECONDS)

    def _connect(self) -> None:
        if not self._client.connected and not self._client.connect():
            raise ConnectionLost("no pusher listens")

    def _await_reply(self, number: int) -> None:
        deadline = time.monotonic() + REPLY_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            wait([self._client.fileno()], left)  # raises ConnectionLost when the pusher has gone
            for message in self._client.receive():
                match message:
                    case BrokerReply(call, None) if call == number:
                        return
                    case BrokerReply(call, str() as error) if call == number:
                        raise BrokerUnavailable(error)
        self.close()  # a late answer would be taken for that to another call
        raise BrokerUnavailable("The pusher did not acknowledge in time.")


def apply_broker_call(broker: Broker, call: BrokerCall) -> None:
    """The pusher's side of one call. Raises what the method of the broker raises."""
    match call:
        case Acknowledge(_, receipts):
            broker.acknowledge(receipts)
        case Release(_, deliveries, delay, refund_attempt):
            broker.release(deliveries, delay, refund_attempt=refund_attempt)
