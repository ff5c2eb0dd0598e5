"""The queue port: what the cluster asks of a broker, and all that it asks.

Every verb is plural, so that one round trip serves a batch. An adapter turns the errors of its library
into ``BrokerUnavailable`` (try again later) or ``BrokerRefused`` (do not); nobody above the port catches
``redis.*`` or ``django.db.*``.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django_cluster.core.reprs import repr_of
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, PayloadTooLarge

MAX_ATTEMPTS = 1_000_000_000
"""The largest number of attempts that a message can bring along; with those of the server it fits into 31 bits."""
MAX_QUEUE_NAMES = 100
"""The most queues that ``Broker.queue_names`` lists."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a broker is given to keep."""

    payload: str = field(repr=False)
    """ASCII text; opaque to the broker."""
    priority: int = 0
    """-100 to 100; higher goes first, equals go in the order of enqueueing."""
    not_before: float | None = None
    """Unix time before which it may not be lent."""
    attempts: int = 0
    """How often it was lent before it came here, by another broker; the count goes on from there."""


class Delivery(NamedTuple):
    """What a broker lends."""

    receipt: str
    """Names this one lease of the message; a later lease of the same message has another."""
    payload: str
    attempt: int
    """How often the message has been lent, this time included (given-back, unbegun leases do not count)."""

    def __repr__(self) -> str:
        return repr_of(self, "receipt", "attempt")


def attempts_from(value: object) -> int:
    """A number of attempts as a message carries it (a number, or digits), where anybody may have written anything.

    0 for what is no number; never negative, and never more than every database can keep.
    """
    if isinstance(value, str | bytes):
        value = int(value) if value.isdigit() and value.isascii() and len(value) <= len(str(MAX_ATTEMPTS)) else 0
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return 0
    return int(min(max(value, 0), MAX_ATTEMPTS))


def payload_from(value: object) -> str:
    """A payload as a message carries it, where anybody may have written anything.

    Text as it is; of bytes those that are no ASCII as ``\\xff``; anything else as Python writes it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("ascii", "backslashreplace")
    try:
        return str(value)
    except Exception:  # noqa: BLE001  the value is another's, and so is what it does
        return f"({type(value).__name__})"


class QueuedMessage(NamedTuple):
    """One waiting message, for people to look at."""

    payload: str
    priority: int
    attempts: int
    """How often it has been lent so far."""
    due: float | None
    """Unix time: when a delayed one becomes ready, or a leased one comes back; None = ready."""
    leased: bool
    key: str = ""
    """Names the message at its broker, for ``cancel``; printable ASCII. Empty where it has no name."""

    def __repr__(self) -> str:
        return repr_of(self, "priority", "attempts", "due", "leased", "key")


@dataclass(frozen=True, slots=True)
class QueueSize:
    ready: int
    delayed: int
    leased: int

    @property
    def total(self) -> int:
        return self.ready + self.delayed + self.leased


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an adapter can do. The rest is refused or emulated above the port (see ``brokers.limits``), and always
    said: the page of brokers in the reference grows from these words."""

    bulk: int = 1000
    """The most messages in one call."""
    priority: bool = True
    delay: bool = True
    max_delay: float | None = None
    """Seconds of the longest ``not_before`` that the server keeps by itself; None = any."""
    max_payload: int | None = None
    """Bytes of the largest payload; None = more than anybody should send."""
    max_age: float | None = None
    """Seconds after which the server forgets a message that nobody has done; None = never."""
    peek: bool = True
    cancel: bool = False
    """A message that waits can be taken out by its key."""
    counts_attempts: bool = True
    blocking: bool = False
    """``lease`` sleeps in the server until something comes, instead of asking again and again."""
    atomic: bool = True
    """One call of ``enqueue`` keeps all of its messages or none; otherwise an error may leave the first of them."""
    fifo: bool = True
    """What has one priority is lent in the order of enqueueing; otherwise only roughly."""
    requeues_first: bool = True
    """What is given back, or comes back, goes first; otherwise behind what waits."""
    exact_size: bool = True
    """``size`` counts; otherwise it estimates, and may take what is delayed for leased."""
    refunds_attempts: bool = True
    """A receipt is enough to take a counted attempt back; otherwise ``release(…, refund_attempt=True)`` sends a
    copy."""
    fenced_receipts: bool = True
    """A receipt whose lease has ended does nothing; otherwise it may still acknowledge until the next lease."""
    portable_receipts: bool = True
    """A receipt works in every process; otherwise only where its message was lent, and there leases end by themselves
    only with the process or its connection."""

    @property
    def longest_delay(self) -> float:
        """Seconds; 0 for a server that delays nothing, infinity for one that delays anything."""
        if not self.delay:
            return 0.0
        return math.inf if self.max_delay is None else self.max_delay

    @property
    def limited(self) -> bool:
        """Whether there is anything that a message may ask for in vain."""
        return not self.priority or self.max_payload is not None or self.longest_delay < math.inf


class Broker(ABC):
    """One named queue on one server.

    A broker belongs to one thread of one process. Its constructor opens no connection; each verb may,
    and does so within the time-outs of its settings. After a fork, a child builds its own.
    """

    capabilities: Capabilities = Capabilities()
    """Of the class; an instance may set its own, where they depend on the server."""

    database: str | None = None
    """The Django database alias whose open transaction the writes of this broker join, if any."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.queue = settings.queue

    @property
    def title(self) -> str:
        """The name of the adapter, for people."""
        return type(self).__name__

    def prepare(self) -> None:  # noqa: B027  few adapters need it
        """Set up on the server what lasts and helps; a cluster calls it once, before its first lease."""

    @abstractmethod
    def enqueue(self, messages: Sequence[Message]) -> None:
        """Keep the messages: all of them, or none and raise."""

    def enqueue_unique(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        """Keep each message, unless one of its name was kept before and the name was not forgotten since.

        For a sender that may die before it has noted that it sent. A broker that cannot remember keeps it again.
        """
        self.enqueue(messages)

    def release_unique(self, names: Sequence[str]) -> None:  # noqa: B027  who remembers nothing has nothing to forget
        """The messages of these names will never be sent again."""

    def check_size(self, messages: Sequence[Message]) -> None:
        """Raises ``PayloadTooLarge``, with both sizes, before any of them is sent."""
        limit = self.capabilities.max_payload
        if limit is None:
            return
        largest = max((len(message.payload) for message in messages), default=0)
        if largest > limit:
            raise PayloadTooLarge(
                f"The task has {largest} bytes when it is packed, and {self.title} takes {limit}:"
                " pass a reference to large data instead of the data, or set compress."
            )

    @abstractmethod
    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        """Lend up to ``limit`` messages for ``settings.lease`` seconds, counting an attempt for each.

        Returns as soon as there is at least one; waits up to ``wait`` seconds while there is none.
        Messages whose lease has run out are lent again.

        ``not_after``: moment of ``time.monotonic()`` in this process after which the claim must change nothing:
        neither lease a message nor take back a lease that has run out. Until then, every lease that the caller holds
        is certainly alive; later its own leases may have run out, and it must renew them before it claims again.
        After a pause of the process, the network or the server, a claim would otherwise take back what still runs in
        the caller's own cluster. An adapter checks it before each request (after each sleep, too) and returns nothing
        when it has passed; where the server has a clock and conditions, the server also refuses a request that it
        carries out later than that. A caller that holds no leases passes nothing.
        """

    def claimed_too_late(self, asked: float, not_after: float) -> bool:
        """Whether what a claim has leased must be given back, because its answer has taken too long.

        ``asked``, ``not_after``: moments of ``time.monotonic()``. Half a lease (at least a second) after the claim was
        sent, the lease may end before its first renewal; after ``not_after``, the caller must not be leased anything.
        """
        now = time.monotonic()
        return now >= not_after or now - asked > max(self.settings.lease / 2, 1.0)

    def wait_any(self, others: Sequence[Broker], seconds: float) -> bool:
        """Sleep until this queue or one of the others may have something to lend, for so long at most.

        False, at once, if this broker cannot be woken for all of them: they are of another kind, or elsewhere.
        """
        return False

    @property
    def can_wait_any(self) -> bool:
        """Whether ``wait_any`` may ever say True."""
        return type(self).wait_any is not Broker.wait_any

    @abstractmethod
    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        """Begin the lease anew, from now; returns the receipts that are no longer ours."""

    @abstractmethod
    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Forget the messages: their work is done. Receipts that are no longer ours are ignored."""

    @abstractmethod
    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        """Return leased messages to the queue, to be leased again after ``delay`` seconds.

        Without a delay a message goes to the front of the queue (capability ``requeues_first``). Deliveries whose lease
        has ended are ignored. Repeating a call that has failed is safe.

        ``refund_attempt``: no run has started, so the attempt that the lease has counted is taken back. Where the server
        counts by itself (capability ``refunds_attempts`` is False), a copy of the message is sent instead, and then the
        original is deleted: this needs the payload and the attempt as they were leased. In every other case
        ``Delivery.receipt`` is enough.
        """

    def discard(self, receipts: Sequence[str]) -> None:
        """Forget messages that can never be read."""
        self.acknowledge(receipts)

    @abstractmethod
    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        """What is in the queue, in the order in which it would be lent, without taking it."""

    def cancel(self, keys: Sequence[str]) -> int:
        """Forget messages that wait, named as ``peek`` names them; returns how many there were.

        What is lent at this moment stays, and so does what has gone in the meantime. Raises ``BrokerRefused``
        where the adapter cannot do it.
        """
        raise BrokerRefused(f"{self.title} cannot cancel single messages.")

    @abstractmethod
    def size(self) -> QueueSize:
        """How many messages there are."""

    def queue_names(self) -> Sequence[str]:
        """The queues of this namespace that have messages on this server, this one included, as far as it can list
        them; at most ``MAX_QUEUE_NAMES``."""
        return ()

    @abstractmethod
    def purge(self) -> int:
        """Delete every message of this queue, leased ones too; returns how many there were."""

    @abstractmethod
    def ping(self) -> None:
        """Return if the server answers; raise ``BrokerUnavailable`` if not."""

    def warnings(self) -> Sequence[str]:
        """What in the setting up of the server may lose messages, in sentences; asks the server."""
        return ()

    def keep_alive(self) -> None:  # noqa: B027  few adapters need it
        """Keep the connection alive; whoever holds leases calls it about twice a second."""

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when there may be something to lend; ``lease`` need not wait then.

        None: there is none, or not now. It may be another one after each verb.
        """
        return None

    def stop_prefetch(self) -> None:  # noqa: B027  few adapters take more than they lend
        """Nothing is wanted until the next ``lease``: what has come, and was not lent, goes back for others to take."""

    @property
    def unconfirmed_acks(self) -> int:
        """How many messages were acknowledged in vain so far: the server does not know it, and will lend them again,
        unless ``stop_prefetch`` is called until there are none. Asks no server."""
        return 0

    def info(self) -> str:
        """One line about the server, for people."""
        return self.title

    def close(self) -> None:  # noqa: B027  an adapter without connections needs none
        """Give connections back; the next verb opens new ones."""
