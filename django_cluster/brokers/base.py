"""The broker port: what a cluster asks of a broker, and all that it asks.

Every method takes and returns batches, so that one round trip serves many messages. An adapter raises
``BrokerUnavailable`` where trying again later may help, and ``BrokerRefused`` where it cannot. Exceptions of client
libraries never pass the port. What passes is defined in ``messages`` and ``capabilities``; the module of an adapter can
import it from here, too.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.core.events.servers import CLAIM_TOO_LATE
from django_cluster.core.renamed_names import refuse
from django_cluster.core.row_insert import RowInsert
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, PayloadTooLarge

__all__ = ["MAX_QUEUE_NAMES", "Broker", "Capabilities", "Delivery", "Message", "QueueSize", "QueuedMessage"]

__getattr__ = refuse(__name__, {"Waiting": "QueuedMessage"})

MAX_QUEUE_NAMES = 100
"""Most names that ``Broker.queue_names`` returns."""
LATE_CLAIM_INTERVAL = 60.0
"""Seconds between two records about claims that were answered too late."""


class Broker(ABC):
    """One queue on one server.

    An instance is used by one thread of one process. The constructor opens no connection; each method may, within the
    timeouts of the adapter. A forked child builds its own instance. Every method that asks the server raises
    ``BrokerUnavailable`` or ``BrokerRefused``.
    """

    capabilities: Capabilities = Capabilities()
    """Capabilities of the class. An instance may set its own if they depend on the server or the settings."""

    database: str | None = None
    """Alias of the Django database whose open transaction the writes of this broker are part of; None = no database."""

    def __init__(self, settings: BrokerSettings) -> None:
        """``settings.options``: what ``Q_CLUSTER`` says under the key of the adapter; not checked elsewhere."""
        self.settings = settings
        self.queue = settings.queue
        self._late_claim_said_at = -math.inf

    @property
    def title(self) -> str:
        """Name of the adapter, for messages to people."""
        return type(self).__name__

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def prepare(self) -> None:  # noqa: B027  few adapters need it
        """Create on the server what the queue needs: tables, indexes, the queue itself. Can be repeated.

        A cluster calls it before its first lease.
        """

    @abstractmethod
    def enqueue(self, messages: Sequence[Message]) -> None:
        """Keep the messages: all, or none and raise (see ``Capabilities.atomic``). Returns when the server has them."""

    def enqueue_with(self, messages: Sequence[Message], insert: RowInsert) -> bool:
        """Keep the messages, and carry out an INSERT into another table of the same database: both in one statement,
        or neither. False if the adapter cannot, and nothing was done. ``insert``: in the SQL of PostgreSQL."""
        return False

    def enqueue_unique(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        """Keep each message, unless a message of the same name was kept before and the name was not released since.

        ``names``: one for each message. For senders that may be killed before they note that they have sent. A broker
        that cannot remember names keeps the message again.
        """
        self.enqueue(messages)

    def release_unique(self, names: Sequence[str]) -> None:  # noqa: B027  an adapter without memory has nothing to do
        """Forget these names of ``enqueue_unique``: they will not be sent again."""

    def check_size(self, messages: Sequence[Message]) -> None:
        """Raise ``PayloadTooLarge``, which says both sizes, if one of the payloads exceeds ``max_payload``."""
        limit = self.capabilities.max_payload
        if limit is None:
            return
        largest = max((len(message.payload) for message in messages), default=0)
        if largest > limit:
            raise PayloadTooLarge(
                f"The task has {largest} bytes when it is packed, and {self.title} takes {limit}:"
                " pass a reference to large data instead of the data, or set compress."
            )

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        """Lease up to ``limit`` messages for ``settings.lease`` seconds, counting an attempt for each.

        Returns as soon as there is at least one, and waits up to ``wait`` seconds while there is none. Messages whose
        lease has ended are leased again.

        ``not_after``: moment of ``time.monotonic()`` after which the call must change nothing, neither lease a message
        nor end a lease. Until then all leases of the caller are certainly alive; later it must renew them before it
        leases more. A process, network or server that was suspended would otherwise lease to the caller what still
        runs in its own cluster. An adapter checks the moment before each request, also after each sleep. Where
        the server has a clock and conditions, it also refuses a request that it carries out later. A caller without
        leases passes nothing.
        """

    def claimed_too_late(self, asked: float, not_after: float) -> bool:
        """Whether messages must be released because the answer that leased them has taken too long.

        ``asked``: moment of ``time.monotonic()`` at which the request was sent. Half a lease later (at least a second),
        the lease may end before its first renewal. After ``not_after`` the caller must not be leased anything.
        """
        now = time.monotonic()
        seconds = now - asked
        if now < not_after and seconds <= max(self.settings.lease / 2, 1.0):
            return False
        if now >= self._late_claim_said_at + LATE_CLAIM_INTERVAL:
            # A broker that is always too slow delivers nothing, and every process waits in good order.
            CLAIM_TOO_LATE.log(queue=self.queue, seconds=seconds, limit_seconds=self.settings.lease)
            self._late_claim_said_at = now
        return True

    def wait_any(self, others: Sequence[Broker], seconds: float) -> bool:
        """Sleep until this queue or one of the others may have a message, at most for ``seconds``.

        Returns False immediately if this broker cannot be woken for all of them: they are of another kind, or on
        another server.
        """
        return False

    @property
    def can_wait_any(self) -> bool:
        """Whether the adapter implements ``wait_any``."""
        return type(self).wait_any is not Broker.wait_any

    @abstractmethod
    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        """Extend the leases to ``settings.lease`` seconds from now; return the receipts whose lease was lost."""

    # ── the end of a lease ───────────────────────────────────────────────────────────────────────

    @abstractmethod
    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Delete the messages: their tasks are done. Receipts whose lease was lost are ignored."""

    @abstractmethod
    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        """Return leased messages to the queue, to be leased again after ``delay`` seconds.

        Without a delay a message goes to the front of the queue (capability ``requeues_first``). Deliveries whose lease
        has ended are ignored. Repeating a call that has failed is safe.

        ``refund_attempt``: no run has started, so the attempt that the lease counted is taken back. Where the server
        counts by itself (capability ``refunds_attempts`` is False), a copy of the message is sent instead, and then the
        original is deleted: this needs the payload and the attempt as they were leased. In every other case
        ``Delivery.receipt`` is enough.
        """

    def discard(self, receipts: Sequence[str]) -> None:
        """Delete messages that can never be run."""
        self.acknowledge(receipts)

    # ── inspection ───────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        """Show up to ``limit`` messages without leasing them: ready ones in the order of leasing, then the delayed and
        leased ones by their due time. Empty without the capability ``peek``."""

    def cancel(self, keys: Sequence[str]) -> int:
        """Delete messages that are not leased, by their ``QueuedMessage.key``; return how many there were.

        Leased messages and unknown keys are ignored. Raises ``BrokerRefused`` without the capability ``cancel``.
        """
        raise BrokerRefused(f"{self.title} cannot cancel single messages.")

    @abstractmethod
    def size(self) -> QueueSize:
        """Count the messages of the queue (see ``Capabilities.exact_size``)."""

    def queue_names(self) -> Sequence[str]:
        """Names of the queues of this namespace that have messages on the server, this one included, as far as the
        adapter can list them; at most ``MAX_QUEUE_NAMES``."""
        return ()

    @abstractmethod
    def purge(self) -> int:
        """Delete every message of the queue, leased ones too; return how many there were."""

    @abstractmethod
    def ping(self) -> None:
        """Ask the server for an answer. Raises ``BrokerUnavailable`` if there is none."""

    def warnings(self) -> Sequence[str]:
        """Sentences about settings of the server that may lose messages. Asks the server."""
        return ()

    # ── the connection ───────────────────────────────────────────────────────────────────────────

    def keep_alive(self) -> None:  # noqa: B027  few adapters need it
        """Keep the connection alive. A process that holds leases calls it about twice a second."""

    def fileno(self) -> int | None:
        """File descriptor that becomes readable when there may be a message; ``lease`` need not wait then.

        None: there is none now. It may be another one after each call of the port.
        """
        return None

    def stop_prefetch(self) -> None:  # noqa: B027  few adapters fetch more than they lease
        """Return messages that were fetched and not leased. The caller leases nothing for a while."""

    @property
    def unconfirmed_acks(self) -> int:
        """Number of messages whose acknowledgement was lost: the server will deliver them again. Calling
        ``stop_prefetch`` until there are none acknowledges them again. Asks no server."""
        return 0

    def info(self) -> str:
        """One line about the server, for people: product, version, address without credentials."""
        return self.title

    def close(self) -> None:  # noqa: B027  an adapter without connections needs none
        """Close the connections. The next call opens new ones."""
