"""What passes through the broker port: messages, deliveries, and the size of a queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from django_cluster.core.reprs import repr_of

MAX_ATTEMPTS = 1_000_000_000
"""Largest number of attempts that a message can bring along; the server's own count on top still fits into 31 bits."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is given to a broker to keep."""

    payload: str = field(repr=False)
    """ASCII text, opaque to the broker."""
    priority: int = 0
    """-100 to 100. Higher is leased first, equals in the order of ``enqueue``."""
    not_before: float | None = None
    """Unix time in seconds before which the message is not leased; None = immediately."""
    attempts: int = 0
    """Leases that another broker has counted already; the count goes on from there."""


class Delivery(NamedTuple):
    """A leased message."""

    receipt: str
    """Names this lease of the message. A later lease of the same message has another receipt."""
    payload: str
    attempt: int
    """Number of this lease, from 1. Refunded leases are not counted (see ``Broker.release``)."""
    queue: str = ""
    """Queue from which it was leased, where one broker stands for several (``MultiQueueBroker``)."""

    def __repr__(self) -> str:
        return repr_of(self, "receipt", "attempt", "queue")


def attempts_from(value: object) -> int:
    """Attempts as a message on a server says them: a number or digits, 0 for anything else.

    The server may hold messages that other programs have written. The result is between 0 and ``MAX_ATTEMPTS``.
    """
    if isinstance(value, str | bytes):
        value = int(value) if value.isdigit() and value.isascii() and len(value) <= len(str(MAX_ATTEMPTS)) else 0
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return 0
    return int(min(max(value, 0), MAX_ATTEMPTS))


def payload_from(value: object) -> str:
    """Payload as a message on a server says it. Bytes that are no ASCII become ``\\xff``; other objects, their ``str``.

    The server may hold messages that other programs have written; verifying the payload will reject them.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("ascii", "backslashreplace")
    try:
        return str(value)
    except Exception:  # noqa: BLE001  the class is unknown, and so is what its __str__ raises
        return f"({type(value).__name__})"


class QueuedMessage(NamedTuple):
    """A message as ``Broker.peek`` shows it."""

    payload: str
    priority: int
    attempts: int
    """Leases so far."""
    due: float | None
    """Unix time in seconds at which a delayed message becomes ready, or at which a lease ends; None = ready."""
    leased: bool
    key: str = ""
    """Names the message for ``Broker.cancel``; printable ASCII. Empty where the broker cannot cancel."""

    def __repr__(self) -> str:
        return repr_of(self, "priority", "attempts", "due", "leased", "key")


@dataclass(frozen=True, slots=True)
class QueueSize:
    """Numbers of messages in a queue."""

    ready: int
    """Can be leased now; messages whose lease has ended are among them."""
    delayed: int
    leased: int

    @property
    def total(self) -> int:
        return self.ready + self.delayed + self.leased
