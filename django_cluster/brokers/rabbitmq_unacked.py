"""The unacknowledged messages of one connection to RabbitMQ: bookkeeping without a socket and without a clock.

A message that is not acknowledged is requeued when its connection ends, and delivered again, to this or to another
consumer, marked as *redelivered*. It may still run: in a worker whose pusher has died, or here, if only the connection
was lost. So a redelivered message is not leased immediately. It waits for the length of a lease; until then, a process
that has its receipt claims it by renewing, acknowledging or releasing it.
"""

from __future__ import annotations

import heapq
import re
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

MESSAGE_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
RECEIPT = re.compile(r"([0-9a-f]{32}):([0-9]{1,9})", re.ASCII)
MAX_REMEMBERED = 20_000
"""Most messages that are not here of which a disposition, claim or acknowledgement is remembered."""


@dataclass(slots=True, eq=False)
class ReceivedMessage:
    """A delivered message that is not acknowledged."""

    id: str
    payload: str = field(repr=False)
    earlier: int
    """Attempts before this delivery."""
    not_before: float
    tag: int
    redelivered: bool = False
    named: bool = False
    """Whether its id was derived from a name: its sender may have sent it twice under this id."""


@dataclass(slots=True, eq=False)
class UnackedMessage:
    """A leased message. ``tag`` is None after its connection was lost, until it is delivered again."""

    message: ReceivedMessage
    receipt: str
    attempt: int
    until: float
    tag: int | None


class Disposition(NamedTuple):
    """The decision about a message that is to be carried out when it is delivered (again)."""

    forget: bool
    """Acknowledge it: its task is done. Otherwise republish it with the following values."""
    earlier: int = 0
    not_before: float = 0.0


FORGET = Disposition(True)


class ArrivalAction(Enum):
    """The action that the broker takes for a delivered message."""

    LEASE = auto()
    KEEP = auto()
    """It is leased, or waits until it is due."""
    FORGET = auto()
    """Acknowledge it: its task is done, or it is a copy of a leased message."""
    ACK_DUPLICATE = auto()
    """Acknowledge it: another message with its id waits here."""
    REPUBLISH = auto()


def parse_receipt(receipt: str) -> tuple[str, int] | None:
    """(message id, attempt) of a receipt; None for other text."""
    found = RECEIPT.fullmatch(receipt)
    return (found[1], int(found[2])) if found else None


@dataclass(slots=True)
class UnackedMessages:
    """All times are arguments: ``now`` is ``time.monotonic()``, ``clock`` is Unix time."""

    lease: float
    ready: deque[ReceivedMessage] = field(default_factory=deque)
    """Messages to lease next."""
    held: dict[str, UnackedMessage] = field(default_factory=dict)
    parked: dict[str, ReceivedMessage] = field(default_factory=dict)
    """Redelivered messages, and messages that are due in a moment."""
    _due: list[tuple[float, str]] = field(default_factory=list)
    _claims: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Message id → receipt of a lease by an earlier pusher that a process still holds."""
    _dispositions: OrderedDict[str, Disposition] = field(default_factory=OrderedDict)
    _unconfirmed_acks: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """Id of a message whose acknowledgement may be lost → monotonic time until which it may be delivered again."""
    _never_leased: set[str] = field(default_factory=set)
    """Ids of messages that were fetched over a lost connection and never leased."""

    # ── coming ───────────────────────────────────────────────────────────────────────────────────

    def arrive(self, message: ReceivedMessage, now: float, clock: float) -> tuple[ArrivalAction, Disposition | None]:
        """``now``: monotonic; ``clock``: Unix time."""
        self._unconfirmed_acks.pop(message.id, None)
        if disposition := self._dispositions.get(message.id):
            return (ArrivalAction.FORGET if disposition.forget else ArrivalAction.REPUBLISH), disposition
        if held := self.held.get(message.id):
            if held.tag is not None:
                return ArrivalAction.FORGET, None
            held.tag = message.tag
            return ArrivalAction.KEEP, None
        if receipt := self._claims.pop(message.id, None):
            self._hold(message, receipt, now)
            return ArrivalAction.KEEP, None
        if message.id in self.parked or (message.named and any(each.id == message.id for each in self.ready)):
            return ArrivalAction.ACK_DUPLICATE, None
        never_leased = message.id in self._never_leased
        self._never_leased.discard(message.id)
        wait = max(self.lease if message.redelivered and not never_leased else 0.0, message.not_before - clock)
        if wait > 0:
            self.parked[message.id] = message
            heapq.heappush(self._due, (now + wait, message.id))
            return ArrivalAction.KEEP, None
        self.ready.append(message)
        return ArrivalAction.LEASE, None

    def promote(self, now: float) -> None:
        """Move messages that have waited long enough to ``ready``."""
        while self._due and self._due[0][0] <= now:
            message = self.parked.pop(heapq.heappop(self._due)[1], None)
            if message is not None:
                self.ready.append(message)

    def next_due(self) -> float:
        """Monotonic time at which the next message becomes ready; infinity if there is none."""
        return self._due[0][0] if self._due else float("inf")

    def lease_ready(self, limit: int, now: float) -> Iterator[UnackedMessage]:
        while limit > 0 and self.ready:
            limit -= 1
            message = self.ready.popleft()
            yield self._hold(message, f"{message.id}:{message.earlier + 1}", now)

    def _hold(self, message: ReceivedMessage, receipt: str, now: float) -> UnackedMessage:
        known = parse_receipt(receipt)
        attempt = known[1] if known else message.earlier + 1
        held = UnackedMessage(message, receipt, attempt, now + self.lease, message.tag)
        self.held[message.id] = held
        return held

    # ── keeping ──────────────────────────────────────────────────────────────────────────────────

    def renew(self, receipt: str, now: float) -> bool:
        """Extend a lease; False if it is known to be lost."""
        known = parse_receipt(receipt)
        if known is None or known[0] in self._dispositions:
            return False
        if held := self.held.get(known[0]):
            if held.receipt != receipt:
                return False
            held.until = now + self.lease
            return True
        if message := self.parked.pop(known[0], None):
            self._hold(message, receipt, now)
            return True
        # Leased by an earlier pusher: it will be delivered again, if not to another cluster.
        self._remember(self._claims, known[0], receipt)
        return True

    def expired(self, now: float) -> list[UnackedMessage]:
        """Leased messages that were not renewed in time."""
        return [held for held in self.held.values() if held.until <= now and held.tag is not None]

    # ── going ────────────────────────────────────────────────────────────────────────────────────

    def take(self, receipt: str) -> UnackedMessage | None:
        """The message that is leased under this receipt, if it is here. It stays until ``forget``."""
        known = parse_receipt(receipt)
        if known is None:
            return None
        if known[0] in self.parked:
            self.renew(receipt, 0.0)
        held = self.held.get(known[0])
        return held if held is not None and held.receipt == receipt else None

    def decide(self, receipt: str, disposition: Disposition, now: float) -> None:
        """Remember what to do with the message of this receipt, which is not here now, when it is delivered again."""
        known = parse_receipt(receipt)
        if known is None or known[0] in self._dispositions:
            return
        held = self.held.get(known[0])
        if held is None or held.receipt == receipt:
            self._settle(known[0], disposition)
            if disposition.forget:
                self.expect_again(known[0], now)

    def expect_again(self, message_id: str, now: float) -> None:
        """Its task is done, and the connection was lost before the server confirmed the acknowledgement."""
        self._remember(self._unconfirmed_acks, message_id, now + 2 * self.lease)

    def expected_again(self, now: float) -> int:
        """Number of messages whose acknowledgement may be lost and that were not delivered again. After two leases the
        server has noticed the lost connection, and has delivered them to others."""
        while self._unconfirmed_acks and next(iter(self._unconfirmed_acks.values())) <= now:
            self._unconfirmed_acks.popitem(last=False)
        return len(self._unconfirmed_acks)

    def forget(self, message_id: str) -> None:
        """It was acknowledged. If that gets lost with the connection, it is acknowledged again."""
        self._settle(message_id, FORGET)

    def _settle(self, message_id: str, disposition: Disposition) -> None:
        self.held.pop(message_id, None)
        self.parked.pop(message_id, None)
        self._claims.pop(message_id, None)
        self._remember(self._dispositions, message_id, disposition)

    @staticmethod
    def _remember(where: OrderedDict[str, Any], message_id: str, what: object) -> None:
        where[message_id] = what
        where.move_to_end(message_id)
        if len(where) > MAX_REMEMBERED:
            where.popitem(last=False)

    def connection_lost(self) -> None:
        """The connection was lost: all unacknowledged messages will be delivered again with other tags."""
        self._never_leased = {message.id for message in self.ready}
        self._never_leased.update(message.id for message in self.parked.values() if not message.redelivered)
        self.ready.clear()
        self.parked.clear()
        self._due.clear()
        for held in self.held.values():
            held.tag = None
