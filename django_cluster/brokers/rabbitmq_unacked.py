"""What one connection to RabbitMQ holds, and for whom: plain bookkeeping, no socket and no clock of its own.

A message that is not acknowledged goes back to the queue when its connection ends, and comes again, to us or to
others, marked as *redelivered*. Nobody knows whether it still runs somewhere: under a worker whose pusher has died,
or here, when only the connection was lost. So what is redelivered is not lent at once. It waits for as long as a
lease lasts, and whoever still holds its receipt claims it meanwhile: by renewing, acknowledging or giving it back.
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
"""Fates that are remembered of messages that are not here (any more)."""


@dataclass(slots=True, eq=False)
class ReceivedMessage:
    """A message as the server gave it, unacknowledged."""

    id: str
    payload: str = field(repr=False)
    earlier: int
    """Attempts before this delivery."""
    not_before: float
    tag: int
    redelivered: bool = False
    named: bool = False
    """Its sender may have sent it twice, under this id."""


@dataclass(slots=True, eq=False)
class UnackedMessage:
    """A message that is lent. ``tag`` is None while its connection is lost and it has not come again."""

    message: ReceivedMessage
    receipt: str
    attempt: int
    until: float
    tag: int | None


class Disposition(NamedTuple):
    """What is to become of a message when it comes (again)."""

    forget: bool
    """It is done; otherwise it is to be sent again, as follows."""
    earlier: int = 0
    not_before: float = 0.0


FORGET = Disposition(True)


class ArrivalAction(Enum):
    """What is to be done about a message that has arrived."""

    LEASE = auto()
    KEEP = auto()
    """It is held, or waits for its time."""
    FORGET = auto()
    """It is done, or a copy of what is held: acknowledge it."""
    ACK_DUPLICATE = auto()
    """Another of its id waits here: acknowledge this one, and no more."""
    REPUBLISH = auto()


def parse_receipt(receipt: str) -> tuple[str, int] | None:
    """(id of the message, attempt) that a receipt of ours names."""
    found = RECEIPT.fullmatch(receipt)
    return (found[1], int(found[2])) if found else None


@dataclass(slots=True)
class UnackedMessages:
    """``now`` is monotonic in leases, and Unix time in ``not_before``; both are given by the caller."""

    lease: float
    ready: deque[ReceivedMessage] = field(default_factory=deque)
    """To be lent next."""
    held: dict[str, UnackedMessage] = field(default_factory=dict)
    parked: dict[str, ReceivedMessage] = field(default_factory=dict)
    """Redelivered, or too early by a moment."""
    _due: list[tuple[float, str]] = field(default_factory=list)
    _claims: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Message → the receipt under which somebody holds it, as a predecessor has lent it."""
    _dispositions: OrderedDict[str, Disposition] = field(default_factory=OrderedDict)
    _unconfirmed_acks: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """Message whose acknowledgement the server may lack → the monotonic moment until which it may come again."""
    _never_leased: set[str] = field(default_factory=set)
    """Messages that a lost connection had brought, and that nobody had been lent."""

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
        """What has waited long enough becomes ready."""
        while self._due and self._due[0][0] <= now:
            message = self.parked.pop(heapq.heappop(self._due)[1], None)
            if message is not None:
                self.ready.append(message)

    def next_due(self) -> float:
        """The monotonic moment at which something becomes ready."""
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
        """Whether the message is still ours, as far as anybody can know here."""
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
        # A predecessor has lent it: it will come again, if it has not gone to others.
        self._remember(self._claims, known[0], receipt)
        return True

    def expired(self, now: float) -> list[UnackedMessage]:
        """Lent, and not renewed in time."""
        return [held for held in self.held.values() if held.until <= now and held.tag is not None]

    # ── going ────────────────────────────────────────────────────────────────────────────────────

    def take(self, receipt: str) -> UnackedMessage | None:
        """The message that is lent under this receipt, if it is here. It stays until ``forget``."""
        known = parse_receipt(receipt)
        if known is None:
            return None
        if known[0] in self.parked:
            self.renew(receipt, 0.0)
        held = self.held.get(known[0])
        return held if held is not None and held.receipt == receipt else None

    def decide(self, receipt: str, disposition: Disposition, now: float) -> None:
        """What is to become of a message that is lent under this receipt, and is not here now."""
        known = parse_receipt(receipt)
        if known is None or known[0] in self._dispositions:
            return
        held = self.held.get(known[0])
        if held is None or held.receipt == receipt:
            self._settle(known[0], disposition)
            if disposition.forget:
                self.expect_again(known[0], now)

    def expect_again(self, message_id: str, now: float) -> None:
        """It is done, and its connection was lost before the server was known to have heard of it."""
        self._remember(self._unconfirmed_acks, message_id, now + 2 * self.lease)

    def expected_again(self, now: float) -> int:
        """How many of these have not come again. After two leases the server has noticed that their connection was
        lost, and whatever it had kept has been lent to others."""
        while self._unconfirmed_acks and next(iter(self._unconfirmed_acks.values())) <= now:
            self._unconfirmed_acks.popitem(last=False)
        return len(self._unconfirmed_acks)

    def forget(self, message_id: str) -> None:
        """It is acknowledged. Should that get lost with the connection, it is acknowledged again."""
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
        """All that is not acknowledged will come again, under another tag."""
        self._never_leased = {message.id for message in self.ready}
        self._never_leased.update(message.id for message in self.parked.values() if not message.redelivered)
        self.ready.clear()
        self.parked.clear()
        self._due.clear()
        for held in self.held.values():
            held.tag = None
