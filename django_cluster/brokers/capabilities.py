"""What a broker adapter can do."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an adapter can do.

    What it cannot do is refused or emulated above the port (``brokers.publisher``). The table of the reference page
    *Brokers* is generated from these values.
    """

    bulk: int = 1000
    """Most messages in one call."""
    priority: bool = True
    """``Message.priority`` is respected."""
    delay: bool = True
    """``Message.not_before`` is respected."""
    max_delay: float | None = None
    """Longest delay of a message in seconds; None = any."""
    max_payload: int | None = None
    """Largest payload in bytes; None = any."""
    max_age: float | None = None
    """Seconds after which the server deletes a message that was not acknowledged; None = never."""
    peek: bool = True
    """``Broker.peek`` shows messages."""
    cancel: bool = False
    """``Broker.cancel`` deletes single messages by their keys."""
    counts_attempts: bool = True
    """``Delivery.attempt`` grows with each lease."""
    blocking: bool = False
    """``Broker.lease`` sleeps in the server until a message comes, instead of asking every ``poll`` seconds."""
    atomic: bool = True
    """One call of ``enqueue`` keeps all of its messages or none. Otherwise some may be kept when it raises."""
    fifo: bool = True
    """Messages of one priority are leased in the order of ``enqueue``. Otherwise roughly in that order."""
    requeues_first: bool = True
    """Released messages, and those whose lease has ended, go to the front of the queue. Otherwise to its end."""
    exact_size: bool = True
    """``size`` counts. Otherwise it estimates, and may take delayed messages for leased ones."""
    refunds_attempts: bool = True
    """``release(…, refund_attempt=True)`` lowers the count of attempts. Otherwise it sends a copy of the message."""
    fenced_receipts: bool = True
    """A receipt whose lease has ended does nothing. Otherwise it may still acknowledge the message until the next
    lease."""
    portable_receipts: bool = True
    """A receipt works in every process. Otherwise only in the process that leased the message, and leases end by
    themselves only when that process or its connection ends."""

    @property
    def longest_delay(self) -> float:
        """Seconds: 0 where delays are not possible, infinity where any are."""
        if not self.delay:
            return 0.0
        return math.inf if self.max_delay is None else self.max_delay

    @property
    def limited(self) -> bool:
        """Whether a message may ask for anything that the adapter cannot do."""
        return not self.priority or self.max_payload is not None or self.longest_delay < math.inf
